"""What comes before the first step: made once, checked before anything is learnt, refused in a sentence."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.training.data import WITH_DATA, turn, write_lines
from tests.training.runs import RECIPE, small_run
from tramontane.evaluation.texts import texts_in
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.errors import RecipeError, SampleError, SourceError, TrainingError
from tramontane.training.log import read_log
from tramontane.training.recipe import Recipe, parse_recipe
from tramontane.training.record import read_record

SOURCE = """[[source]]
folder = "{folder}"
language = "fr"
licence = "CC0-1.0"
origin = "https://example.org/textes"
obtained = "2026-11-24"
megabytes = {megabytes}
"""


def with_source(folder: Path, text: str = RECIPE, megabytes: float = 0.02) -> Recipe:
    """The small recipe with text in its first stage; of the folder, which is written, so much is read: a third."""
    folder.mkdir(exist_ok=True)
    for number in range(12):
        words = " ".join(f"mot{number}x{place}" for place in range(400))
        (folder / f"{number}.txt").write_text(words)
    source = SOURCE.format(folder=folder, megabytes=megabytes)
    text = text.replace("[[stage]]", f"{source}[[stage]]", 1).replace("{ repeat = 1.0", "{ text = 1.0, repeat = 1.0", 1)
    return parse_recipe(text, str(folder.parent / "small.toml"))


def with_data(folder: Path) -> Recipe:
    return parse_recipe(WITH_DATA, str(folder / "small.toml"))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """What a full disk is to whoever writes a file: no more than `size` bytes of it are taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# ── data files ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a data file, from its beginning to its end."""
    folder = tmp_path_factory.mktemp("learnt")
    lines = [turn(f"Wo ist {number}?", f"Bei {number * 7}.") for number in range(40)]
    text = {"text": "Ein ganzer Text von a.b@example.org."}
    write_lines(folder / "support.jsonl", text, *lines, turn("x", "y " * 400))
    run, watcher = small_run(folder / "run", recipe=with_data(folder))
    assert run.run()
    assert watcher.shown[0].origin.endswith("support.jsonl, line 1")
    assert any("1 of the 42 lines" in sentence for sentence in watcher.sentences)
    assert any("1 e-mail addresses" in sentence for sentence in watcher.sentences)
    return folder


def test_what_was_learnt_of_a_data_file_is_on_the_record(learnt: Path) -> None:
    record = read_record(learnt / "run" / "model" / "training_record.json")
    (source,) = record.sources
    assert (source.name, source.licence, source.documents, source.share) == ("support", "ours", 42, 1.0)
    assert (source.personal_data_hits, source.personal_data_masked) == (1, False)
    (support,) = (sample for sample in record.samples if sample.kind == "support")
    assert support.language == "fr"
    assert 0 < support.learnt_tokens < support.tokens
    card = (learnt / "run" / "model" / "README.md").read_text()
    assert "| support (our help desk) |  | ours | fr | 42 |" in card
    assert "| support | fr |" in card


def test_the_tokenizer_knows_the_words_of_a_data_file(learnt: Path) -> None:
    tokenizer = Tokenizer.from_folder(learnt / "run" / "tokenizer")
    assert len(tokenizer.encode("Wo ist ")) < len("Wo ist ")


def test_stopped_and_resumed_the_same_lines_come(learnt: Path, tmp_path: Path) -> None:
    for steps in (3, None):
        run, _ = small_run(tmp_path / "run", steps=steps, workers=1, recipe=with_data(learnt))
        assert run.run() is (steps is None)
    logs = [read_log(folder / "run" / "log.jsonl") for folder in (tmp_path, learnt)]
    assert [report.loss for report in logs[0]] == [report.loss for report in logs[1]]


def test_a_file_that_changed_does_not_go_on(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "support.jsonl", *(turn(f"a{n}", f"b{n}") for n in range(30)))
    assert small_run(tmp_path / "run", recipe=with_data(tmp_path))[0].run("corpus")
    before = path.read_text()
    path.write_text(before.replace("a3", "c3"))
    with pytest.raises(TrainingError, match=r"support\.jsonl is not what it was when this run began: put it back"):
        small_run(tmp_path / "run", recipe=with_data(tmp_path))[0].run()
    path.write_text(before)
    assert small_run(tmp_path / "run", recipe=with_data(tmp_path))[0].run("corpus")


def test_a_wrong_line_is_said_before_anything_is_learnt(tmp_path: Path) -> None:
    good = [turn(f"a{n}", f"b{n}") for n in range(30)]
    write_lines(tmp_path / "support.jsonl", *good, "{")
    with pytest.raises(SampleError, match=r"support\.jsonl, line 31: it is not JSON"):
        small_run(tmp_path / "run", recipe=with_data(tmp_path))[0].run()
    assert not (tmp_path / "run" / "tokenizer").exists()
    write_lines(tmp_path / "support.jsonl", *good, turn("a", "b", weight=0))  # which only the template can tell
    with pytest.raises(SampleError, match=r"support\.jsonl, line 31: no token of it is learnt"):
        small_run(tmp_path / "run", recipe=with_data(tmp_path))[0].run()
    assert not (tmp_path / "run" / "checkpoints").exists()
    write_lines(tmp_path / "support.jsonl", *good)  # put right, the same command goes on
    assert small_run(tmp_path / "run", steps=1, recipe=with_data(tmp_path))[0].run() is False


def test_a_missing_file_and_a_generators_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"The data file .*support\.jsonl cannot be read \(No such file"):
        small_run(tmp_path / "run", recipe=with_data(tmp_path))[0].run()
    recipe = parse_recipe(WITH_DATA.replace("support", "talk-fr"), str(tmp_path / "small.toml"))
    with pytest.raises(RecipeError, match="The data file talk-fr has the name of a generator"):
        small_run(tmp_path / "other", recipe=recipe)[0].run()


# ── sources and what is held out of them ──────────────────────────────────────────────────────────────────────────────


def test_text_is_held_out_once_and_of_runs_that_were_begun_without_it(tmp_path: Path) -> None:
    recipe = with_source(tmp_path / "texts")
    assert small_run(tmp_path / "run", recipe=recipe)[0].run("corpus")
    held_out = tmp_path / "run" / "held_out"
    written = (held_out / "fr.txt").read_bytes()
    assert len(texts_in(held_out)["fr"]) > 3
    corpus = {path.name: path.read_bytes() for path in (tmp_path / "run" / "corpus").iterdir()}
    for path in held_out.iterdir():
        path.unlink()
    run, watcher = small_run(tmp_path / "run", recipe=recipe)
    assert run.run("corpus")
    assert (held_out / "fr.txt").read_bytes() == written
    assert {path.name: path.read_bytes() for path in (tmp_path / "run" / "corpus").iterdir()} == corpus
    assert watcher.sentences[0] == "looking for text to hold out"
    run, watcher = small_run(tmp_path / "run", recipe=recipe)
    assert run.run("corpus")
    assert not watcher.sentences


def test_a_corpus_without_its_sources_goes_on(tmp_path: Path) -> None:
    recipe = with_source(tmp_path / "texts")
    assert small_run(tmp_path / "run", recipe=recipe)[0].run("corpus")
    (tmp_path / "run" / "held_out" / "held_out.json").unlink()
    (tmp_path / "texts").rename(tmp_path / "elsewhere")
    run, watcher = small_run(tmp_path / "run", recipe=recipe)
    assert run.run("corpus")
    assert any("no text is held out: The source folder" in sentence for sentence in watcher.sentences)


def test_a_corrupt_source_is_named_and_put_right_the_run_goes_on(tmp_path: Path) -> None:
    recipe = with_source(tmp_path / "texts")
    broken = tmp_path / "texts" / "3.txt"
    whole = broken.read_bytes()
    broken.write_bytes(b"\x00\xff" * 400)
    with pytest.raises(SourceError, match=r"3\.txt is not text; take it out of its source"):
        small_run(tmp_path / "run", recipe=recipe)[0].run()
    broken.write_bytes(whole)
    assert small_run(tmp_path / "run", recipe=recipe)[0].run("corpus")


def test_a_source_of_another_licence_is_refused_before_the_corpus(tmp_path: Path) -> None:
    with_source(tmp_path / "texts")
    text = RECIPE.replace("[[stage]]", SOURCE.format(folder=tmp_path / "texts", megabytes=1) + "[[stage]]", 1)
    for wrong, said in (("CC-BY-NC-4.0", "has the licence 'CC-BY-NC-4.0', which is not on the list"), ("", "names no")):
        recipe = parse_recipe(text.replace("CC0-1.0", wrong))
        with pytest.raises(SourceError, match=said):
            small_run(tmp_path / f"run{wrong}", recipe=recipe)[0].run()
        assert not (tmp_path / f"run{wrong}" / "corpus" / "corpus.json").exists()


# ── full disks ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("size", "made"), [(0, None), (4000, "run.json"), (60_000, "tokenizer/tekken.json")])
def test_a_full_disk_is_said_with_the_command_that_goes_on(tmp_path: Path, size: int, made: str | None) -> None:
    recipe = with_source(tmp_path / "texts", megabytes=1)
    with (
        largest_file(size),
        pytest.raises(TrainingError, match=r"was stopped by its disk .* make room, .* go on with: resume me"),
    ):
        small_run(tmp_path / "run", recipe=recipe)[0].run("corpus")
    assert made is None or (tmp_path / "run" / made).exists()
    assert not (tmp_path / "run" / "corpus" / "corpus.json").exists()
    assert not list((tmp_path / "run").rglob(".*"))
    assert small_run(tmp_path / "run", recipe=recipe)[0].run("corpus")


def test_where_the_model_cannot_be_written_the_run_is_kept(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model").write_text("in the way")
    with pytest.raises(TrainingError, match=r"was stopped by its disk \(.*File exists: .*model'\); its checkpoints"):
        small_run(tmp_path / "run")[0].run()
    (tmp_path / "run" / "model").unlink()
    run, watcher = small_run(tmp_path / "run")
    assert run.run()
    assert not watcher.reports  # nothing is learnt twice
    assert (tmp_path / "run" / "model" / "config.json").exists()
