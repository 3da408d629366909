"""Prompts get what decoding can spare: never nothing, never so much that a step takes twice its quiet time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tramontane.engine.pacing import PromptPacer

MAX_TOKENS = 512


@dataclass(frozen=True)
class Costs:
    """Seconds of a step on a machine that exists on paper only."""

    fixed: float = 0.02
    decoding: float = 0.0005  # a sequence
    prompt: float = 0.0005  # a token
    context: float = 0.0  # a prompt token, for each token before it

    def quiet(self, num_decoding: int) -> float:
        return self.fixed + self.decoding * num_decoding

    def step(self, num_decoding: int, num_prompt_tokens: int, position: int) -> float:
        return self.quiet(num_decoding) + num_prompt_tokens * (self.prompt + self.context * position)


MACHINES = {
    "bound by memory": Costs(fixed=0.05, prompt=0.0001),
    "bound by arithmetic": Costs(fixed=0.001, prompt=0.001, decoding=0.001),
    "slow at long contexts": Costs(context=1e-6),
    "prompts cost far more than answers": Costs(prompt=0.004),
}


def contend(pacer: PromptPacer, costs: Costs, num_decoding: int, num_steps: int, position: int = 0) -> list[int]:
    """Steps in which prompts take whatever they may have; the chunks."""
    chunks = []
    for _ in range(num_steps):
        chunk = pacer.cap(num_decoding)
        pacer.observe(num_decoding, chunk, costs.step(num_decoding, chunk, position))
        position += chunk
        chunks.append(chunk)
    return chunks


def rest(pacer: PromptPacer, costs: Costs, num_decoding: int, num_steps: int = 10) -> None:
    """Steps in which nobody has a prompt."""
    for _ in range(num_steps):
        pacer.observe(num_decoding, 0, costs.quiet(num_decoding))


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("num_decoding", [4, 32])
def test_steps_stay_below_twice_the_quiet_time(name: str, num_decoding: int) -> None:
    costs, pacer = MACHINES[name], PromptPacer(MAX_TOKENS)
    rest(pacer, costs, num_decoding)
    position = 0
    chunks = contend(pacer, costs, num_decoding, 300)
    for number, chunk in enumerate(chunks):
        if number >= 20:
            assert costs.step(num_decoding, chunk, position) < 2 * costs.quiet(num_decoding)
        position += chunk


@pytest.mark.parametrize("name", MACHINES)
def test_prompts_get_most_of_what_is_allowed(name: str) -> None:
    costs, pacer = MACHINES[name], PromptPacer(MAX_TOKENS)
    rest(pacer, costs, 16)
    *before, chunk = contend(pacer, costs, 16, 100)
    assert chunk == MAX_TOKENS or costs.step(16, chunk + 2, sum(before)) > 1.4 * costs.quiet(16)


def test_the_chunk_grows_again_once_prompts_are_cheap() -> None:
    pacer = PromptPacer(MAX_TOKENS)
    rest(pacer, Costs(), 8)
    contend(pacer, Costs(prompt=0.01), 8, 50)
    assert contend(pacer, Costs(prompt=0.01), 8, 1)[0] < 4
    rest(pacer, Costs(), 8)
    assert contend(pacer, Costs(prompt=0.00001), 8, 100)[-1] > 256


def test_a_crowd_that_came_meanwhile_is_the_new_measure() -> None:
    """Prompts without a pause leave no quiet step to measure; the chunk must still not stay at its least."""
    costs, pacer = Costs(), PromptPacer(MAX_TOKENS)
    rest(pacer, costs, 1)
    contend(pacer, costs, 1, 50)
    chunks = contend(pacer, costs, 300, 200)
    assert costs.step(300, chunks[-1], 0) < 2 * costs.quiet(300)
    assert costs.step(300, chunks[-1] * 2, 0) > 1.7 * costs.quiet(300)


def test_whole_steps_while_nobody_decodes() -> None:
    pacer = PromptPacer(MAX_TOKENS)
    assert pacer.cap(0) == MAX_TOKENS
    rest(pacer, Costs(), 8)
    contend(pacer, Costs(prompt=1), 8, 50)
    assert pacer.cap(8) < 4
    assert pacer.cap(0) == MAX_TOKENS


@pytest.mark.parametrize("max_tokens", [1, 3, MAX_TOKENS])
def test_prompts_never_starve_nor_get_more_than_a_step_holds(max_tokens: int) -> None:
    for costs in (Costs(prompt=100), Costs(prompt=0)):
        pacer = PromptPacer(max_tokens)
        rest(pacer, costs, 2)
        chunks = contend(pacer, costs, 2, 170)
        assert max(chunks) <= max_tokens
        assert sum(chunk == 0 for chunk in chunks) <= 10  # the steps that measure how long decoding takes alone


def test_prompts_without_a_pause_are_paused_to_measure() -> None:
    costs, pacer = Costs(prompt=0.002), PromptPacer(MAX_TOKENS)
    contend(pacer, costs, 8, 40)  # no quiet step has come before
    assert pacer.quiet_seconds == pytest.approx(costs.quiet(8))


def test_one_slow_step_does_not_undo_the_adaptation() -> None:
    costs, pacer = Costs(), PromptPacer(MAX_TOKENS)
    rest(pacer, costs, 8)
    before = contend(pacer, costs, 8, 90)[-1]
    pacer.observe(8, before, 60.0)
    assert pacer.cap(8) >= 0.6 * before


def test_steps_without_decoding_teach_nothing() -> None:
    pacer = PromptPacer(MAX_TOKENS)
    pacer.observe(0, 512, 3.0)
    pacer.observe(0, 0, 3.0)
    assert pacer.quiet_seconds is None
