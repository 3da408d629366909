"""Pulling, against a hub that speaks as the real one does and fails as networks do."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.catalogue.fake_hub import FakeHub, Repository, release
from tramontane.catalogue.hub import pull
from tramontane.catalogue.store import LocalModel, ModelStore
from tramontane.errors import CheckpointError, TramontaneError
from tramontane.model.checkpoint import Checkpoint
from tramontane.tokenizer.tokenizer import Tokenizer

NAME = "winds/Tramontane-8M"
WEIGHTS = "model.safetensors"
PICKLES_AND_CODE = (
    "pytorch_model.bin", "consolidated.00.pth", "optimizer.pt", "state.pkl", "modeling_x.py", "all.zip", "all.tar.gz",
    "tokenizer.json", "README.py", "model.safetensors.py", "original/consolidated.safetensors", "tramontane.json",
)  # fmt: skip


class Progress:
    """Remembers all that was said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.updates: list[tuple[str, int, int]] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def expect(self, total: int) -> None:
        self.expected = total

    def update(self, path: str, total: int, done: int) -> None:
        self.updates.append((path, total, done))


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path)


@pytest.fixture
def repository(fake_hub: FakeHub, hf_files: dict[str, bytes]) -> Repository:
    made = fake_hub.repositories[NAME] = Repository(dict(hf_files))
    return made


def run(hub: FakeHub, store: ModelStore, progress: Progress | None = None, revision: str = "main") -> LocalModel:
    return pull(NAME, store, revision=revision, progress=progress or Progress(), endpoint=hub.url)


def test_a_pulled_model_opens(fake_hub: FakeHub, repository: Repository, store: ModelStore) -> None:
    progress = Progress()
    model = run(fake_hub, store, progress)
    assert model.folder == store.folder(NAME)
    assert {path.name: path.read_bytes() for path in model.folder.iterdir() if path.name != "tramontane.json"} == (
        repository.files
    )
    checkpoint = Checkpoint.open(model.folder)
    Tokenizer.from_folder(model.folder).check_fits(checkpoint.config.vocab_size)
    parameters = sum(prod(checkpoint.shape(name)) for name in checkpoint.names())
    assert (model.layout, model.dtype, model.parameters) == ("hf", "bfloat16", parameters)
    assert (model.licence, model.revision) == ("apache-2.0", repository.commit)
    assert store.list() == [model]
    total = sum(map(len, repository.files.values()))
    assert progress.expected == total
    assert progress.sentences == [f"{NAME} at commit aaaaaaaaaaaa: licence apache-2.0; 5 files, {total / 1e9:.2f} GB."]


def test_progress_rises_to_the_whole_of_each_file(fake_hub: FakeHub, repository: Repository, store: ModelStore) -> None:
    progress = Progress()
    run(fake_hub, store, progress)
    for path, content in repository.files.items():
        dones = [done for name, _, done in progress.updates if name == path]
        assert dones == sorted(dones)
        assert dones[-1] == len(content)
        assert {total for name, total, _ in progress.updates if name == path} == {len(content)}
    assert len({done for name, _, done in progress.updates if name == WEIGHTS}) > 4


def test_the_record_tells_where_it_came_from(fake_hub: FakeHub, repository: Repository, store: ModelStore) -> None:
    record = json.loads((run(fake_hub, store).folder / "tramontane.json").read_text())
    assert (record["repository"], record["commit"]) == (NAME, repository.commit)
    assert record["pulled_at"].endswith("+00:00")
    digests = {file["path"]: file["digest"].partition(":")[0] for file in record["files"]}
    assert digests[WEIGHTS] == "sha256"
    assert digests["config.json"] == "git"


def test_nothing_is_downloaded_twice(fake_hub: FakeHub, repository: Repository, store: ModelStore) -> None:
    first, progress = run(fake_hub, store), Progress()
    fake_hub.seen.clear()
    assert run(fake_hub, store, progress) == first
    assert fake_hub.seen == []
    assert progress.sentences == [f"{NAME} is here already, at commit aaaaaaaaaaaa; nothing was downloaded."]


def test_a_file_that_went_missing_is_fetched_again(
    fake_hub: FakeHub, repository: Repository, store: ModelStore
) -> None:
    (run(fake_hub, store).folder / "config.json").unlink()
    fake_hub.seen.clear()
    Checkpoint.open(run(fake_hub, store).folder)
    assert fake_hub.asked() == ["config.json"]


def test_a_new_commit_brings_only_what_changed(fake_hub: FakeHub, repository: Repository, store: ModelStore) -> None:
    run(fake_hub, store)
    fake_hub.seen.clear()
    repository.commit = "b" * 40
    repository.files["README.md"] = b"# Better\n"
    model = run(fake_hub, store)
    assert fake_hub.asked() == ["README.md"]
    assert model.revision == "b" * 40
    assert (model.folder / "README.md").read_bytes() == b"# Better\n"
    assert not (model.folder.parent / ".trash").exists()


# ── interruptions ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_interrupted_pull_goes_on_where_it_stopped(
    fake_hub: FakeHub, repository: Repository, store: ModelStore
) -> None:
    repository.cut[WEIGHTS] = [3 << 20, 0]
    with pytest.raises(TramontaneError, match="goes on where it stopped"):
        run(fake_hub, store)
    (part,) = store.partial(NAME).glob(f"{WEIGHTS}.*.part")
    had = part.stat().st_size
    assert had >= 2 << 20
    assert store.list() == []
    fake_hub.seen.clear()
    progress = Progress()
    Checkpoint.open(run(fake_hub, store, progress).folder)
    size = len(repository.files[WEIGHTS])
    assert [(seen.path, seen.range) for seen in fake_hub.seen] == [(WEIGHTS, f"bytes={had}-{size - 1}")]
    assert next(done for path, _, done in progress.updates if path == WEIGHTS) == had


def test_a_broken_connection_is_made_again_while_bytes_come(
    fake_hub: FakeHub, repository: Repository, store: ModelStore
) -> None:
    repository.cut[WEIGHTS] = [3 << 20, 3 << 20]
    Checkpoint.open(run(fake_hub, store).folder)
    ranges = [seen.range for seen in fake_hub.seen if seen.path == WEIGHTS]
    assert len(ranges) == 3
    assert len(set(ranges)) == len(ranges)


def test_a_server_without_ranges_sends_all_again(fake_hub: FakeHub, repository: Repository, store: ModelStore) -> None:
    repository.knows_ranges = False
    repository.cut[WEIGHTS] = [3 << 20, 0]
    with pytest.raises(TramontaneError):
        run(fake_hub, store)
    Checkpoint.open(run(fake_hub, store).folder)


def test_a_window_at_a_time(
    fake_hub: FakeHub, repository: Repository, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tramontane.catalogue.transfer._WINDOW", 1 << 20)
    run(fake_hub, store)
    size = len(repository.files[WEIGHTS])
    ranges = [seen.range for seen in fake_hub.seen if seen.path == WEIGHTS]
    assert ranges[:2] == ["bytes=0-1048575", "bytes=1048576-2097151"]
    assert ranges[-1] == f"bytes={size >> 20 << 20}-{size - 1}"


def test_what_another_commit_left_is_not_mixed_in(
    fake_hub: FakeHub, repository: Repository, store: ModelStore, tmp_path: Path
) -> None:
    repository.cut[WEIGHTS] = [3 << 20, 0]
    with pytest.raises(TramontaneError):
        run(fake_hub, store)
    newer = release("hf", tmp_path / "newer", seed=1)
    fake_hub.repositories[NAME] = Repository(newer, commit="b" * 40)
    model = run(fake_hub, store)
    assert (model.folder / WEIGHTS).read_bytes() == newer[WEIGHTS]
    assert {path.name for path in model.folder.iterdir()} == {*newer, "tramontane.json"}


def test_two_pulls_at_once(fake_hub: FakeHub, repository: Repository, store: ModelStore) -> None:
    with store.lock(NAME), pytest.raises(TramontaneError, match="is being pulled already"):
        run(fake_hub, store)
    run(fake_hub, store)


# ── what does not arrive as announced ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", [WEIGHTS, "config.json"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content[:-100],
        lambda content: content + b"more",
        lambda content: b"",
    ],
    ids=["digest", "short", "long", "empty"],
)
def test_a_spoilt_file_is_deleted(
    fake_hub: FakeHub, repository: Repository, store: ModelStore, path: str, spoil: Callable[[bytes], bytes]
) -> None:
    repository.served[path] = spoil(repository.files[path])
    repository.knows_ranges = len(repository.served[path]) <= len(repository.files[path])  # a range brings no more
    with pytest.raises(
        TramontaneError, match=rf"{path} did not arrive as the hub announced it .* run the command again"
    ):
        run(fake_hub, store)
    assert not list(store.partial(NAME).glob(f"{path}*"))
    assert store.list() == []
    repository.served.clear()
    Checkpoint.open(run(fake_hub, store).folder)


def test_a_finished_part_is_verified_before_it_is_used(
    fake_hub: FakeHub, repository: Repository, store: ModelStore
) -> None:
    store.partial(NAME).mkdir(parents=True)
    (store.partial(NAME) / WEIGHTS).write_bytes(bytes(len(repository.files[WEIGHTS])))
    Checkpoint.open(run(fake_hub, store).folder)


# ── what is not pulled ──────────────────────────────────────────────────────────────────────────────────────────────


def test_pickles_code_and_archives_stay_where_they_are(
    fake_hub: FakeHub, repository: Repository, store: ModelStore
) -> None:
    wanted = set(repository.files)
    repository.files |= dict.fromkeys(PICKLES_AND_CODE, b"import os; os.system('true')")
    model = run(fake_hub, store)
    assert set(fake_hub.asked()) == wanted
    assert {path.name for path in model.folder.iterdir()} == {*wanted, "tramontane.json"}


@pytest.mark.parametrize("path", ["../x", "/etc/cron.d/x", "a/../../x", "..\\x", "a//b", "./x", "x\n", ""])
def test_a_hostile_file_name_refuses_the_repository(
    fake_hub: FakeHub, repository: Repository, store: ModelStore, path: str
) -> None:
    repository.files[path] = b"x"
    with pytest.raises(TramontaneError, match="leads out of its folder"):
        run(fake_hub, store)
    assert fake_hub.seen == []


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda files: files.pop(WEIGHTS), "no complete safetensors weights"),
        (lambda files: files.update({"pytorch_model.bin": files.pop(WEIGHTS)}), "only pickled weights"),
        (lambda files: files.update({"model-00001-of-00002.safetensors": files.pop(WEIGHTS)}), "no complete"),
        (lambda files: files.pop("config.json"), "no complete safetensors weights"),
        (lambda files: files.pop("tokenizer.model.v3"), f"{NAME} has no tokenizer"),
        (lambda files: files.update({"tokenizer.json": files.pop("tokenizer.model.v3")}), "only a Hugging Face"),
    ],
)  # fmt: skip
def test_refused_before_a_byte(
    fake_hub: FakeHub,
    repository: Repository,
    store: ModelStore,
    edit: Callable[[dict[str, bytes]], object],
    complaint: str,
) -> None:
    edit(repository.files)
    with pytest.raises(TramontaneError, match=complaint):
        run(fake_hub, store)
    assert fake_hub.seen == []


def test_no_room_on_the_disk(
    fake_hub: FakeHub, repository: Repository, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(TramontaneError, match="make room"):
        run(fake_hub, store)
    assert fake_hub.seen == []


def test_an_architecture_that_is_not_supported_is_refused_before_its_weights(
    fake_hub: FakeHub, repository: Repository, store: ModelStore
) -> None:
    config = json.loads(repository.files["config.json"]) | {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
    }
    repository.files["config.json"] = json.dumps(config).encode()
    with pytest.raises(CheckpointError, match=rf"^{NAME}: config.json"):
        run(fake_hub, store)
    assert WEIGHTS not in fake_hub.asked()


# ── layouts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_two_layouts_the_native_one(
    fake_hub: FakeHub, store: ModelStore, hf_files: dict[str, bytes], native_files: dict[str, bytes]
) -> None:
    fake_hub.repositories[NAME] = Repository(hf_files | native_files)
    progress = Progress()
    model = run(fake_hub, store, progress)
    assert model.layout == "native"
    assert WEIGHTS not in fake_hub.asked()
    assert "the native one" in progress.sentences[1]


def test_an_incomplete_native_layout_gives_way(
    fake_hub: FakeHub, store: ModelStore, hf_files: dict[str, bytes], native_files: dict[str, bytes]
) -> None:
    files = hf_files | native_files
    files["consolidated-00001-of-00002.safetensors"] = files.pop("consolidated.safetensors")
    fake_hub.repositories[NAME] = Repository(files)
    assert run(fake_hub, store).layout == "hf"
    assert not any(path.startswith("consolidated") for path in fake_hub.asked())


def test_shards_come_with_their_index(fake_hub: FakeHub, store: ModelStore, tmp_path: Path) -> None:
    files = release("hf", tmp_path / "sharded", max_shard_bytes=5 << 20)
    assert "model.safetensors.index.json" in files
    fake_hub.repositories[NAME] = Repository(files)
    assert run(fake_hub, store).layout == "hf"


# ── what the hub answers ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        ((401, "GatedRepo"), "accept its licence at http://127.0.0.1:.*/winds/Tramontane-8M, set HF_TOKEN"),
        ((403, "GatedRepo"), "accept its licence"),
        ((401, ""), "accept its licence"),
        ((403, ""), "accept its licence"),
        ((401, "RepoNotFound"), "has no repository winds/Tramontane-8M, or it is private"),
        ((404, ""), "has no repository"),
        ((500, ""), "answered with status 500; run the command again later"),
    ],
)
def test_answers_become_sentences(
    fake_hub: FakeHub, repository: Repository, store: ModelStore, status: tuple[int, str], complaint: str
) -> None:
    repository.status = status
    with pytest.raises(TramontaneError, match=complaint):
        run(fake_hub, store)
    assert store.list() == []


def test_no_such_revision(fake_hub: FakeHub, repository: Repository, store: ModelStore) -> None:
    with pytest.raises(TramontaneError, match="has no revision 'v9'"):
        run(fake_hub, store, revision="v9")
    assert run(fake_hub, store, revision=repository.commit).revision == repository.commit


def test_no_network(store: ModelStore) -> None:
    with pytest.raises(TramontaneError, match="cannot be reached"):
        pull(NAME, store, progress=Progress(), endpoint="http://127.0.0.1:1")


def test_the_token_goes_to_the_hub_and_no_further(
    fake_hub: FakeHub, repository: Repository, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.token = "hf_canary"
    with pytest.raises(TramontaneError, match="accept its licence"):
        run(fake_hub, store)
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    run(fake_hub, store)
    assert {seen.path: seen.authorized for seen in fake_hub.seen}[WEIGHTS] is False  # it came from the CDN
    assert {seen.path: seen.authorized for seen in fake_hub.seen}["config.json"] is True


def test_the_hub_is_told_nothing_of_this_machine(fake_hub: FakeHub, repository: Repository, store: ModelStore) -> None:
    run(fake_hub, store)
    assert not any("torch" in seen.user_agent or "agent" in seen.user_agent.lower() for seen in fake_hub.seen)
    assert not any("harness" in path for path in fake_hub.paths)


@pytest.mark.parametrize(
    "name", ["x", "../x", "a/b/c", "a/..", "/a/b", "a--b/c", "a/-b", "a/b.", ".a/b", "a/" + "b" * 97]
)
def test_a_name_that_is_none(store: ModelStore, name: str) -> None:
    with pytest.raises(TramontaneError, match="is not the name of a model"):
        pull(name, store, progress=Progress(), endpoint="http://127.0.0.1:1")
    assert not store.partial(NAME).parent.exists()
