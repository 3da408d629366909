"""lm-eval's tasks through our engine: what they come to is what transformers computes on the same checkpoint."""

from __future__ import annotations

import functools
import json
import math
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager
from sentencepiece import SentencePieceProcessor
from transformers import MistralConfig, MistralForCausalLM
from typer.testing import CliRunner

from tests.tokenizers import SPM_V3
from tramontane.cli.eval_tasks import LocalWriter
from tramontane.cli.main import cli
from tramontane.errors import TramontaneError
from tramontane.evaluation.lm_eval_model import LmEvalModel
from tramontane.gateway.providers.local.provider import LocalOptions, LocalProvider
from tramontane.gateway.providers.local.sources import open_folder

CONTEXT = 64
QUESTIONS = [
    ("What blows from the north-west?", ["the mistral", "a stone", "the bread of Nyons"], 0),
    ("What is baked in the morning?", ["wind", "bread", "thirty-two old stones"], 1),
    ("Where is the market?", ["in Nyons", "in the sea", "under a cloud that has no name"], 0),
    ("Who rings the bell?", ["nobody", "Mireille", "the tramontane"], 2),
]
TEXTS = [
    "The mistral blows from the north-west.",
    "Le marché de Nyons se tient le jeudi.",
    "A longer text. " * 40,
    "Ciel!",
]


class Reference:
    """The same checkpoint in transformers, and the same tokenizer in sentencepiece."""

    def __init__(self, folder: Path) -> None:
        self.model = MistralForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.pieces = SentencePieceProcessor(model_file=str(SPM_V3))

    def encode(self, text: str) -> list[int]:
        return [1, *self.pieces.encode(text)]

    @torch.inference_mode()
    def judge(self, tokens: list[int], first: int) -> tuple[float, bool]:
        scores = self.model(torch.tensor([tokens[:-1]])).logits[0].log_softmax(-1)[first - 1 :]
        judged = torch.tensor(tokens[first:])
        return scores.gather(1, judged[:, None]).sum().item(), bool((scores.argmax(-1) == judged).all())

    def judge_after(self, context: str, continuation: str) -> tuple[float, bool]:
        return self.judge(self.encode(context + continuation), len(self.encode(context)))

    def judge_text(self, text: str) -> float:
        """In windows of what the context holds beside the one token that the engine makes."""
        tokens, room = self.encode(text), CONTEXT - 1
        total, at = self.judge(tokens[:room], 1)[0], room
        while at < len(tokens):
            to = min(at + room - 1, len(tokens))
            total += self.judge(tokens[to - room : to], room - (to - at))[0]
            at = to
        return total

    @torch.inference_mode()
    def write(self, context: str, num_tokens: int) -> str:
        tokens = self.encode(context)
        written = self.model.generate(torch.tensor([tokens]), max_new_tokens=num_tokens, do_sample=False)
        all_of_it, before = self.pieces.decode(written[0].tolist()), self.pieces.decode(tokens)
        return all_of_it[len(before) :]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    config = MistralConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        intermediate_size=64,
        vocab_size=32_768,
        max_position_embeddings=CONTEXT,
        sliding_window=None,
        initializer_range=0.2,  # so that the model has opinions
    )
    MistralForCausalLM(config).save_pretrained(folder)
    shutil.copy(SPM_V3, folder / "tokenizer.model.v3")
    return folder


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Reference:
    return Reference(checkpoint)


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """On every processor: bfloat16 would hide an error of a token."""
    monkeypatch.setattr("tramontane.model.weights.best_dtype", lambda device: torch.float32)


@pytest.fixture
def model(checkpoint: Path) -> Iterator[LmEvalModel]:
    source = open_folder("random", checkpoint)
    provider = LocalProvider([source], LocalOptions(device=torch.device("cpu"), kv_memory_bytes=64 << 20))
    provider.load()
    yield LmEvalModel(LocalWriter(provider, source))
    provider.close()


@pytest.fixture
def own_tasks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the fourteen thousand that come with lm-eval takes seconds."""
    monkeypatch.setattr("lm_eval.tasks.TaskManager", functools.partial(TaskManager, include_defaults=False))


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where anything tried to connect to, in vain."""
    tried: list[Any] = []

    def refuse(_: socket.socket, address: Any) -> None:
        tried.append(address)
        raise OSError("This test has no network.")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory, reference: Reference) -> Path:
    """A folder with three tasks over one file of questions, and some that cannot be run."""
    folder = tmp_path_factory.mktemp("tasks")
    lines = [
        {
            "question": question,
            "choices": choices,
            "answer": answer,
            "text": text,
            # Every second answer is what a greedy model writes.
            "written": reference.write(f"Question: {question}\nAnswer:", 4).strip() if number % 2 else "something",
        }
        for number, ((question, choices, answer), text) in enumerate(zip(QUESTIONS, TEXTS, strict=True))
    ]
    (folder / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    asked = {"doc_to_text": "Question: {{question}}\nAnswer:"}
    write_task(
        folder, "my_choice", output_type="multiple_choice", doc_to_target="answer", doc_to_choice="choices",
        metric_list=[{"metric": "acc"}], **asked,
    )  # fmt: skip
    writing = {"output_type": "generate_until", "doc_to_target": "written", **asked}
    options = {"max_gen_toks": 4, "until": [], "num_beams": 1}
    exact = {"metric": "exact_match"}
    filters = [{"name": "stripped", "filter": [{"function": "regex", "regex_pattern": r"^\s*(.*?)\s*$"}]}]
    write_task(folder, "my_writing", generation_kwargs=options, metric_list=[exact], filter_list=filters, **writing)
    write_task(
        folder, "my_perplexity", output_type="loglikelihood_rolling", doc_to_text="", doc_to_target="text",
        metric_list=[{"metric": "bits_per_byte"}],
    )  # fmt: skip
    write_task(folder, "my_foreign", metric_list=[{"metric": "somebody/metric"}], **writing)
    write_task(folder, "my_unsafe", metric_list=[exact], unsafe_code=True, **writing)
    write_task(folder, "my_lost", data="nowhere.jsonl", metric_list=[exact], **writing)
    write_task(folder, "my_hub", metric_list=[exact], **writing, dataset_path="somebody/data", dataset_kwargs={})
    return folder


def write_task(folder: Path, name: str, data: str = "lines.jsonl", **given: Any) -> None:
    kwargs = {"data_files": {"test": str(folder / data)}, "cache_dir": str(folder / "cache")}
    common = {"task": name, "dataset_path": "json", "dataset_kwargs": kwargs, "test_split": "test"}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({**common, **given}), encoding="utf-8")


def run(checkpoint: Path, folder: Path, names: str, *arguments: str) -> dict[str, Any]:
    command = ["eval", str(checkpoint), "--tasks", names, "--include-path", str(folder), "--json", *arguments]
    done = CliRunner().invoke(cli, [*command, "--device", "cpu", "--kv-memory", "64MiB"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(done.stdout)
    return result | {"notes": done.stderr}


def refusal(checkpoint: Path, *arguments: str) -> str:
    done = CliRunner().invoke(cli, ["eval", str(checkpoint), *arguments])
    assert done.exit_code == 1
    assert isinstance(done.exception, TramontaneError), done.exception
    return str(done.exception)


def instances(kind: str, *arguments: tuple[Any, ...]) -> list[Instance]:
    return [Instance(kind, {}, given, number) for number, given in enumerate(arguments)]


# ── parity ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_log_likelihoods_are_those_of_transformers(model: LmEvalModel, reference: Reference) -> None:
    pairs = [
        (f"Question: {question}\nAnswer:", f" {choice}") for question, choices, _ in QUESTIONS for choice in choices
    ]
    greedy = [(context, reference.write(context, 1)) for context, _ in pairs[:3]]
    ours = model.loglikelihood(instances("loglikelihood", *pairs, *greedy))
    theirs = [reference.judge_after(context, continuation) for context, continuation in (*pairs, *greedy)]
    assert [best for _, best in ours] == [best for _, best in theirs]
    assert {best for _, best in ours} == {True, False}
    torch.testing.assert_close(*(torch.tensor([one for one, _ in of]) for of in (ours, theirs)), rtol=1e-5, atol=1e-4)


def test_blanks_between_context_and_continuation_are_the_continuations(
    model: LmEvalModel, reference: Reference
) -> None:
    moved, plain, empty, none = model.loglikelihood(
        instances("loglikelihood", ("The wind ", "blows"), ("The wind", " blows"), ("", "blows"), ("The wind", ""))
    )
    assert moved == plain
    assert empty[0] == pytest.approx(reference.judge_after("", "blows")[0], abs=1e-4)
    assert none == (0.0, True)


def test_a_continuation_that_merges_with_its_context_is_judged_with_it(
    model: LmEvalModel, reference: Reference
) -> None:
    whole = reference.encode("wind")
    assert len(whole) == len(reference.encode("win")) == 2  # <s> and one token
    [(logprob, _)] = model.loglikelihood(instances("loglikelihood", ("win", "d")))
    assert logprob == pytest.approx(reference.judge(whole, 1)[0], abs=1e-4)


def test_a_long_context_loses_its_beginning(model: LmEvalModel, reference: Reference) -> None:
    context = "A stone and a cloud. " * 20
    [(logprob, _)] = model.loglikelihood(instances("loglikelihood", (context, " Bread")))
    tokens, room = reference.encode(context.rstrip() + " " + " Bread"), CONTEXT - 1
    first = len(reference.encode(context.rstrip())) - len(tokens) + room
    assert logprob == pytest.approx(reference.judge(tokens[-room:], first)[0], abs=1e-4)
    assert model.num_cut == 1


def test_a_continuation_longer_than_the_context_is_refused(model: LmEvalModel) -> None:
    with pytest.raises(TramontaneError, match="the model's context holds 64"):
        model.loglikelihood(instances("loglikelihood", ("Words:", " stone" * 100)))


def test_a_text_is_judged_in_windows(model: LmEvalModel, reference: Reference) -> None:
    ours = model.loglikelihood_rolling(instances("loglikelihood_rolling", *((text,) for text in TEXTS)))
    assert len(reference.encode(TEXTS[2])) > 2 * CONTEXT
    torch.testing.assert_close(
        torch.tensor(ours), torch.tensor([reference.judge_text(text) for text in TEXTS]), rtol=1e-5, atol=1e-4
    )


def test_writing_is_greedy_and_ends_at_stop_strings(model: LmEvalModel, reference: Reference) -> None:
    context = "Question: What blows?\nAnswer:"
    whole = reference.write(context, 12)
    stop = whole[len(whole) // 2 : len(whole) // 2 + 2]
    many = [f"never {number}" for number in range(20)]  # more than the engine takes
    ends: list[dict[str, Any]] = [{}, {"until": [stop]}, {"until": [*many, stop]}, {"until": stop, "do_sample": False}]
    given = [(context, {"max_gen_toks": 12, **one}) for one in ends]
    cut = whole[: whole.index(stop)]
    assert model.generate_until(instances("generate_until", *given)) == [whole, cut, cut, cut]


def test_sampling_differs_from_one_request_to_the_next_and_not_from_run_to_run(model: LmEvalModel) -> None:
    requests = instances("generate_until", *[("A", {"max_gen_toks": 8, "do_sample": True, "temperature": 1.0})] * 3)
    first = model.generate_until(requests)
    assert len(set(first)) == 3
    assert model.generate_until(requests) == first


def test_a_question_keeps_half_the_context_whatever_the_task_wants_to_have_written(model: LmEvalModel) -> None:
    short, long = model.generate_until(
        instances("generate_until", *((text, {"max_gen_toks": 4096}) for text in ("Say it.", TEXTS[2])))
    )
    assert short
    assert long
    assert model.num_cut == 1


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("own_tasks_only")
def test_figures_of_tasks_over_a_local_file(
    checkpoint: Path, tasks: Path, reference: Reference, addresses: list[Any]
) -> None:
    result = run(checkpoint, tasks, "my_choice,my_writing, my_perplexity")
    figures = {(one["task"], one["measure"], one["filter"]): one for one in result["figures"]}
    best = [
        max(range(3), key=lambda at: reference.judge_after(f"Question: {question}\nAnswer:", f" {choices[at]}")[0])
        for question, choices, _ in QUESTIONS
    ]
    right = sum(at == answer for at, (_, _, answer) in zip(best, QUESTIONS, strict=True))
    assert figures["my_choice", "acc", "none"]["value"] == right / 4
    assert figures["my_choice", "acc", "none"]["samples"] == 4
    assert figures["my_writing", "exact_match", "stripped"]["value"] == 0.5
    num_bytes = sum(len(text.encode()) for text in TEXTS)
    bits = -sum(map(reference.judge_text, TEXTS)) / num_bytes / math.log(2)
    assert figures["my_perplexity", "bits_per_byte", "none"]["value"] == pytest.approx(bits, abs=1e-5)
    assert "Tasks set num_beams, which had no effect." in result["notes"]
    assert not addresses


@pytest.mark.usefixtures("own_tasks_only")
def test_a_limit_and_a_pattern(checkpoint: Path, tasks: Path) -> None:
    result = run(checkpoint, tasks, "*choice", "--limit", "2")
    assert [(one["task"], one["samples"]) for one in result["figures"]] == [("my_choice", 2)]


@pytest.mark.usefixtures("own_tasks_only")
def test_a_table_for_people(checkpoint: Path, tasks: Path) -> None:
    command = ["eval", str(checkpoint), "--tasks", str(tasks / "my_choice.yaml"), "--kv-memory", "64MiB"]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert "my_choice" in done.stdout
    assert "acc" in done.stdout


@pytest.mark.usefixtures("own_tasks_only", "addresses")
@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("my_foreign", "needs the metric 'somebody/metric', a program"),
        ("my_unsafe", "runs programs that a model wrote"),
        ("my_lost", "The task my_lost or its data cannot be loaded: .*nowhere.jsonl"),
        ("my_hub", "The task my_hub or its data cannot be loaded: .*somebody/data"),
        ("my_chioce", "knows no task 'my_chioce'; the nearest are my_choice"),
        (",", "--tasks names no task"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    checkpoint: Path, tasks: Path, task: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)  # else it tries again and again
    said = refusal(checkpoint, "--tasks", task, "--include-path", str(tasks))
    assert "\n" not in said
    with pytest.raises(TramontaneError, match=sentence):
        raise TramontaneError(said)


@pytest.mark.heavy
def test_the_tasks_that_come_with_lm_eval_are_known(checkpoint: Path) -> None:
    said = refusal(checkpoint, "--tasks", "arc_eazy")
    assert said.startswith("lm-eval knows no task 'arc_eazy'; the nearest are ")
    assert "arc_easy" in said


def test_a_folder_that_is_not_there(checkpoint: Path, tasks: Path) -> None:
    assert "There is no folder" in refusal(
        checkpoint, "--tasks", "my_choice", "--include-path", str(tasks / "elsewhere")
    )


def test_without_lm_eval_the_command_that_installs_it_is_named(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    assert "run `pip install 'lm-eval" in refusal(checkpoint, "--tasks", "arc_easy")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--limit", "3"], "--include-path and --limit belong to --tasks"),
        (["--tasks", "arc_easy", "--write"], "--write is for the held-out questions"),
    ],
)
def test_options_that_do_not_go_together(checkpoint: Path, arguments: list[str], sentence: str) -> None:
    assert sentence in refusal(checkpoint, *arguments)
