"""Whoever else is served, and however memory and steps are divided: each request gets what it would get alone."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.tiny import (
    MODELS,
    VOCAB,
    Answer,
    Answers,
    add_outputs,
    held_blocks,
    make_config,
    run,
    steps,
    ticking,
    tiny_model,
    tokens_of,
)
from tramontane.engine.engine import Engine
from tramontane.engine.request import Request, SamplingParams, TokenLogprob

LONGEST = 60  # tokens of a prompt and its answer
MAX_TOKENS = 12

# Without the explain phase, which is slow here; the deadline is the test's own timeout.
FAST = settings(max_examples=100, deadline=None, phases=set(Phase) - {Phase.explain})
FULL = settings(FAST, max_examples=4000, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Ask:
    """One request of a scenario, and when it comes and goes."""

    prompt: tuple[int, ...]
    sampling: SamplingParams
    salt: str
    wait: int  # steps after the one before it
    patience: int | None  # steps after which it is cancelled
    hint: int | None  # its answer is predicted, more or less well; this tells how


@dataclass(frozen=True)
class Scenario:
    """Some requests, and an engine that is short of everything."""

    kind: str
    asks: tuple[Ask, ...]
    block_size: int
    max_step_tokens: int
    max_sequences: int
    spare_blocks: int
    clock: int


def samplings(always_greedy: bool) -> st.SearchStrategy[SamplingParams]:
    lengths = st.integers(1, MAX_TOKENS)
    choices = st.sampled_from([1, 1, 1, 2, 3])
    asked = st.builds(
        SamplingParams, temperature=st.just(0.0), max_tokens=lengths, n=choices,
        prompt_logprobs=st.sampled_from([None, None, None, 0, 2]), logprobs=st.sampled_from([None, None, 1]),
    )  # fmt: skip
    if always_greedy:
        return asked
    return st.builds(
        SamplingParams, temperature=st.sampled_from([0.5, 1.0, 1.0, 2.0]), max_tokens=lengths, n=choices,
        seed=st.integers(0, 3), top_p=st.sampled_from([1.0, 1.0, 0.9, 0.3]), top_k=st.sampled_from([0, 0, 1, 5]),
        presence_penalty=st.sampled_from([0.0, 0.0, 1.5]), frequency_penalty=st.sampled_from([0.0, 0.0, 0.7]),
        repetition_penalty=st.sampled_from([1.0, 1.0, 1.3]), logit_bias=st.sampled_from([{}, {}, {7: 2.0}]),
    ) | asked  # fmt: skip


@st.composite
def scenarios(draw: st.DrawFn, always_greedy: bool = True, kinds: tuple[str, ...] = MODELS) -> Scenario:
    # Prompts begin with one of two long texts, so that many of them share a prefix.
    asks = []
    for _ in range(draw(st.integers(1, 7))):
        shared = tokens_of(draw(st.integers(0, 1)), draw(st.integers(0, 36)))
        own = tokens_of(draw(st.integers(10, 13)), draw(st.integers(0 if shared else 1, 10)))
        asks.append(
            Ask(
                prompt=(*shared, *own),
                sampling=draw(samplings(always_greedy)),
                salt=draw(st.sampled_from(["", "", "", "b"])),
                wait=draw(st.integers(0, 4)),
                patience=draw(st.none() | st.none() | st.integers(0, 12)),
                hint=draw(st.none() | st.none() | st.integers(0, 5)),
            )
        )
    return Scenario(
        kind=draw(st.sampled_from(kinds)),
        asks=tuple(asks),
        block_size=draw(st.sampled_from([1, 2, 3, 4, 8, 16])),
        max_step_tokens=draw(st.sampled_from([1, 2, 5, 16, 64])),
        max_sequences=draw(st.sampled_from([1, 2, 3, 8])),
        spare_blocks=draw(st.sampled_from([0, 1, 3, 10, 1000])),
        clock=draw(st.integers(0, 5)),
    )


_ALONE: dict[str, Answers] = {}


def alone(kind: str, ask: Ask) -> Answers:
    """What a fresh engine answers that serves nobody else, and whose memory is no matter."""
    key = repr((kind, ask.prompt, ask.sampling))
    if key not in _ALONE:
        model = tiny_model(kind)
        _ALONE[key] = run(Engine(model, config=make_config(model)), Request("only", ask.prompt, ask.sampling))
    return _ALONE[key]


def prediction(kind: str, ask: Ask) -> list[int]:
    """What a caller may expect of the answer: some of it right, some left out, some made up."""
    if ask.hint is None:
        return []
    rng, tokens = random.Random(ask.hint), []
    for token in alone(kind, ask)["only", 0].tokens:
        match rng.choice(["right"] * (1 + 2 * ask.hint) + ["left out", "made up"]):
            case "right":
                tokens.append(token)
            case "made up":
                tokens += [rng.randrange(VOCAB), token]
    return tokens


def engine_of(scenario: Scenario) -> Engine:
    model = tiny_model(scenario.kind)
    config = make_config(
        model,
        holds=LONGEST,
        block_size=scenario.block_size,
        max_step_tokens=scenario.max_step_tokens,
        max_sequences=scenario.max_sequences,
        spare_blocks=scenario.spare_blocks,
    )
    return Engine(model, config=config, clock=ticking(scenario.clock))


def play(engine: Engine, scenario: Scenario) -> tuple[Answers, set[str]]:
    """The answers, and which requests were cancelled before their end."""
    answers: Answers = {}
    comes, leaves, at = {}, {}, 0
    for number, ask in enumerate(scenario.asks):
        at += ask.wait
        comes.setdefault(at, []).append(number)
        if ask.patience is not None:
            leaves.setdefault(at + ask.patience, []).append(str(number))
    cancelled: set[str] = set()
    for step in range(at + 1):
        for number in comes.get(step, []):
            ask = scenario.asks[number]
            hint = prediction(scenario.kind, ask)
            engine.submit(Request(str(number), ask.prompt, ask.sampling, salt=ask.salt, prediction=hint))
        cancelled |= leave(engine, leaves.pop(step, []))
        add_outputs(answers, engine.step())
        engine.check()
        salts_are_apart(engine, scenario)
    for step, _ in enumerate(steps(engine, answers), start=at + 1):
        salts_are_apart(engine, scenario)
        cancelled |= leave(engine, leaves.pop(step, []))
        engine.check()
    return answers, cancelled


def leave(engine: Engine, ids: list[str]) -> set[str]:
    open_ones = {name for name in ids if engine.open_choices(name)}
    for name in ids:
        engine.cancel(name)
        assert not held_blocks(engine, name)
    return open_ones


def salts_are_apart(engine: Engine, scenario: Scenario) -> None:
    held: dict[str, set[int]] = {}
    for number, ask in enumerate(scenario.asks):
        held.setdefault(ask.salt, set()).update(held_blocks(engine, str(number)))
    assert not held.get("", set()) & held.get("b", set())


def check(scenario: Scenario) -> None:
    """Everyone got what they would have got alone; who was cancelled, the beginning of it."""
    answers, cancelled = play(engine_of(scenario), scenario)
    for number, ask in enumerate(scenario.asks):
        for (_, index), expected in alone(scenario.kind, ask).items():
            got = answers.get((str(number), index), Answer())
            if str(number) in cancelled:
                assert got.tokens == expected.tokens[: len(got.tokens)]
                continue
            assert got.tokens == expected.tokens
            assert got.last is not None
            assert expected.last is not None
            assert got.reason == expected.reason == "length"
            assert got.last.usage is not None
            assert got.last.usage.prompt == len(ask.prompt)
            assert got.last.usage.output == len(got.tokens)
            assert same_logprobs(got.logprobs, expected.logprobs)
            assert same_logprobs(got.prompt_logprobs, expected.prompt_logprobs)


def same_logprobs(got: list[TokenLogprob] | None, expected: list[TokenLogprob] | None) -> bool:
    if got is None or expected is None:
        return got is expected
    if [ids(one) for one in got] != [ids(one) for one in expected]:
        return False
    return all(
        numbers(one) == pytest.approx(numbers(other), abs=1e-9) for one, other in zip(got, expected, strict=True)
    )


def ids(one: TokenLogprob) -> list[int]:
    return [one.token_id, *(token for token, _ in one.top)]


def numbers(one: TokenLogprob) -> list[float]:
    return [one.logprob, *(value for _, value in one.top)]


@FAST
@given(scenarios())
def test_greedy_tokens_are_those_of_the_request_alone(scenario: Scenario) -> None:
    check(scenario)


@FAST
@given(scenarios(always_greedy=False))
def test_seeded_draws_are_those_of_the_request_alone(scenario: Scenario) -> None:
    check(scenario)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@FULL
@given(scenarios(always_greedy=False))
def test_any_request_gets_what_it_would_get_alone(scenario: Scenario) -> None:
    check(scenario)


def test_the_scenarios_reach_what_they_are_for() -> None:
    """A property that no example comes near proves nothing: the same scenarios do preempt, and share prefixes."""
    reached = {"preemptions": 0, "hits": 0, "cancelled": 0, "guessed": 0, "missed": 0}

    @settings(FAST, max_examples=100, database=None, derandomize=True)
    @given(scenarios())
    def play_some(scenario: Scenario) -> None:
        engine = engine_of(scenario)
        reached["cancelled"] += len(play(engine, scenario)[1])
        reached["preemptions"] += engine.metrics.num_preemptions
        reached["hits"] += engine.metrics.prefix_cache_hits
        reached["guessed"] += engine.metrics.predictions_accepted
        reached["missed"] += engine.metrics.predictions_rejected

    play_some()
    assert reached["preemptions"] >= 10
    assert reached["hits"] >= 50
    assert reached["cancelled"] >= 5
    assert reached["guessed"] >= 100
    assert reached["missed"] >= 50
