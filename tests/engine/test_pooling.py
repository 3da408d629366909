"""An embedding is that of the prompt's own forward pass, however the prompt was computed."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
import torch.nn.functional as F

from tests.tiny import (
    MODELS,
    Answers,
    add_outputs,
    forward,
    greedy,
    make_config,
    run,
    steps,
    ticking,
    tiny_model,
    tokens_of,
)
from tramontane.engine.engine import Engine
from tramontane.engine.request import Request
from tramontane.model.pooling import Pooling

MODES: tuple[Literal["last", "mean"], ...] = ("last", "mean")


def expected(kind: str, prompt: list[int], pooling: Pooling) -> list[float]:
    hidden = forward(tiny_model(kind), prompt)
    vector = hidden[-1] if pooling.mode == "last" else hidden.mean(0)
    return (F.normalize(vector, dim=0) if pooling.normalize else vector).tolist()


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("max_step_tokens", [1, 7, 512])
def test_the_vector_is_that_of_a_forward_pass(
    kind: str, mode: Literal["last", "mean"], normalize: bool, max_step_tokens: int
) -> None:
    model, pooling = tiny_model(kind), Pooling(mode, normalize)
    engine = Engine(model, config=make_config(model, max_step_tokens=max_step_tokens))
    prompts = {str(length): tokens_of(length, length) for length in (1, 2, 16, 45)}
    answers = run(engine, *(Request(name, prompt, pooling=pooling) for name, prompt in prompts.items()))
    for name, prompt in prompts.items():
        last = answers[name, 0].last
        assert last is not None
        assert last.embedding == pytest.approx(expected(kind, prompt, pooling), abs=1e-9)
        assert last.finish_reason == "stop"
        assert last.usage is not None
        assert (last.usage.prompt, last.usage.output) == (len(prompt), 0)
        if normalize:
            assert torch.tensor(last.embedding).norm().item() == pytest.approx(1)


@pytest.mark.parametrize("mode", MODES)
def test_a_known_prefix_changes_nothing(mode: Literal["last", "mean"]) -> None:
    model, pooling, prompt = tiny_model(), Pooling(mode, False), tokens_of(1, 30)
    engine = Engine(model, config=make_config(model))
    run(engine, Request("before", prompt, greedy(2)))
    last = run(engine, Request("again", prompt, pooling=pooling))["again", 0].last
    assert last is not None
    assert last.usage is not None
    # The mean needs every hidden state, and the cache has none; the last token is never taken from the cache.
    assert last.usage.cached == (28 if mode == "last" else 0)
    assert last.embedding == pytest.approx(expected("dense", prompt, pooling), abs=1e-9)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("mode", MODES)
def test_preemption_changes_nothing(kind: str, mode: Literal["last", "mean"]) -> None:
    """Embeddings that are half done give their memory up, and begin again."""
    model, pooling, prompt = tiny_model(kind), Pooling(mode, True), tokens_of(1, 40)
    engine = Engine(model, config=make_config(model, max_step_tokens=12, block_size=2), clock=ticking())
    answers: Answers = {}
    for name in "012":
        engine.submit(Request(name, prompt, pooling=pooling))
    for _ in range(3):
        add_outputs(answers, engine.step())
    half_done = [sequence for sequence in engine._scheduler.running if 0 < sequence.num_computed < len(prompt)]
    assert half_done
    for sequence in reversed(half_done):
        engine._scheduler._preempt(sequence)
    for _ in steps(engine, answers):
        pass
    for name in "012":
        last = answers[name, 0].last
        assert last is not None
        assert last.embedding == pytest.approx(expected(kind, prompt, pooling), abs=1e-9)


def test_embeddings_and_answers_share_a_step() -> None:
    model, prompt = tiny_model(), tokens_of(1, 10)
    engine = Engine(model, config=make_config(model))
    engine.submit(Request("embed", prompt, pooling=Pooling("mean", False)))
    engine.submit(Request("answer", prompt, greedy(1)))
    answers: Answers = {}
    add_outputs(answers, engine.step())
    assert {key for key, answer in answers.items() if answer.last} == {("embed", 0), ("answer", 0)}
