"""What the engine promises: right tokens, honest ends, refused mistakes, and neighbours that go unnoticed."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import pytest
import torch

from tests.engine.test_prefix_cache import Colliding
from tests.tiny import (
    MODELS,
    VOCAB,
    WINDOW,
    Answers,
    add_outputs,
    answer,
    attend_to_all,
    greedy,
    greedy_tokens,
    held_blocks,
    is_empty,
    make_config,
    run,
    scores,
    steps,
    ticking,
    tiny_model,
    tokens_of,
)
from tramontane.engine.attention import Batch, Prepare, reference, sdpa
from tramontane.engine.engine import Engine, EngineConfig
from tramontane.engine.grammar import GrammarStateError, Regex
from tramontane.engine.kv_cache import KVCache
from tramontane.engine.request import Request, SamplingParams
from tramontane.errors import InvalidRequestError, QueueFullError, TramontaneError
from tramontane.model.pooling import Pooling
from tramontane.model.transformer import Attend, Transformer
from tramontane.tokenizer.tokenizer import Tokenizer


def tiny_engine(kind: str = "dense", **limits: Any) -> Engine:
    model = tiny_model(kind)
    return Engine(model, config=make_config(model, **limits), clock=ticking())


# ── the right tokens ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("max_step_tokens", [3, 512])
def test_answers_are_those_of_whole_forward_passes(kind: str, max_step_tokens: int) -> None:
    engine = tiny_engine(kind, max_step_tokens=max_step_tokens)
    prompts = {str(length): tokens_of(length, length) for length in (1, 4, 5, 23)}
    answers = run(engine, *(Request(name, prompt, greedy(12)) for name, prompt in prompts.items()))
    for name, prompt in prompts.items():
        assert answers[name, 0].tokens == greedy_tokens(tiny_model(kind), prompt, 12)


def test_the_choices_of_a_request_share_its_prompt() -> None:
    engine, prompt = tiny_engine(block_size=4), tokens_of(1, 22)
    engine.submit(Request("r", prompt, SamplingParams(n=3, seed=1, max_tokens=8)))
    answers: Answers = {}
    add_outputs(answers, engine.step())
    for _ in steps(engine, answers):
        if len(tables := [sequence.tables[0] for sequence in engine._live.get("r", []) if sequence.tables[0]]) == 3:
            assert tables[0][:5] == tables[1][:5] == tables[2][:5]
            assert len({table[5] for table in tables}) == 3
    assert len({tuple(answers["r", index].tokens) for index in range(3)}) == 3
    assert [answers["r", index].last.usage.cached for index in range(3)] == [0, 20, 20]


def test_without_a_seed_each_time_is_another() -> None:
    engine, prompt = tiny_engine(), tokens_of(1, 5)
    first, second = (answer(engine, prompt, SamplingParams(max_tokens=30)).tokens for _ in range(2))
    assert first != second


@pytest.mark.parametrize("bias", [100, -100])
def test_a_bias_of_100_decides(bias: float) -> None:
    engine, prompt = tiny_engine(), tokens_of(1, 5)
    favourite = answer(engine, prompt, greedy(1)).tokens[0]
    token = favourite if bias < 0 else (favourite + 1) % VOCAB
    tokens = answer(engine, prompt, SamplingParams(max_tokens=20, seed=0, logit_bias={token: bias})).tokens
    assert (set(tokens) == {token}) if bias > 0 else (token not in tokens)


# ── log-probabilities ───────────────────────────────────────────────────────────────────────────────────────────────


def assert_logprobs(got: list[Any], rows: torch.Tensor, tokens: list[int], num_top: int) -> None:
    assert [one.token_id for one in got] == tokens
    for one, row in zip(got, rows.log_softmax(-1), strict=True):
        assert one.logprob == pytest.approx(row[one.token_id].item(), abs=1e-9)
        values, ids = row.topk(num_top)
        assert [token for token, _ in one.top] == ids.tolist()
        assert [value for _, value in one.top] == pytest.approx(values.tolist(), abs=1e-9)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("num_top", [0, 4])
def test_logprobs_are_the_models_own(kind: str, num_top: int) -> None:
    """Penalties, bias and temperature choose; they do not change what the model thinks."""
    prompt = tokens_of(1, 11)
    sampling = SamplingParams(
        temperature=3, seed=1, max_tokens=6, logprobs=num_top, presence_penalty=2, repetition_penalty=2,
        logit_bias={4: 3.0}, top_k=20,
    )  # fmt: skip
    got = answer(tiny_engine(kind), prompt, sampling)
    rows = scores(tiny_model(kind), prompt + got.tokens)[len(prompt) - 1 : -1]
    assert_logprobs(got.logprobs, rows, got.tokens, num_top)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("max_step_tokens", [1, 4, 512])
def test_prompt_logprobs_are_those_of_one_pass_over_the_prompt(kind: str, max_step_tokens: int) -> None:
    engine, prompt = tiny_engine(kind, max_step_tokens=max_step_tokens), tokens_of(1, 150)
    answer(engine, prompt, greedy(2))  # its blocks are cached now
    got = answer(engine, prompt, greedy(2, prompt_logprobs=3, n=2))
    rows = scores(tiny_model(kind), prompt)[:-1]
    assert got.prompt_logprobs is not None
    assert_logprobs(got.prompt_logprobs, rows, prompt[1:], 3)
    assert got.tokens == answer(engine, prompt, greedy(2)).tokens


def test_prompt_logprobs_survive_preemption() -> None:
    engine = tiny_engine(holds=40, max_step_tokens=7)
    prompts = [tokens_of(number, 20) for number in range(4)]
    answers = run(engine, *(Request(str(i), p, greedy(18, prompt_logprobs=2)) for i, p in enumerate(prompts)))
    assert engine.metrics.num_preemptions
    for number, prompt in enumerate(prompts):
        got = answers[str(number), 0].prompt_logprobs
        assert got is not None
        assert_logprobs(got, scores(tiny_model(), prompt)[:-1], prompt[1:], 2)


def test_a_prompt_of_one_token_has_no_logprobs() -> None:
    assert answer(tiny_engine(), [5], greedy(2, prompt_logprobs=2)).prompt_logprobs == []
    assert answer(tiny_engine(), [5], greedy(2)).prompt_logprobs is None


# ── how answers end ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_end_of_text_stops(spm: Tokenizer, speaker: Transformer) -> None:
    engine = Engine(speaker, spm, make_config(speaker))
    ends = {spm.eos_id: 100.0}
    got = answer(engine, [1, 5, 6], greedy(9, logit_bias=ends))
    assert (got.tokens, got.text, got.reason) == ([spm.eos_id], "", "stop")
    assert got.last.usage.output == 1


def test_not_before_the_least_length_nor_where_it_is_ignored(spm: Tokenizer, speaker: Transformer) -> None:
    engine = Engine(speaker, spm, make_config(speaker))
    ends = {spm.eos_id: 100.0}
    least = answer(engine, [1, 5, 6], greedy(9, min_tokens=3, logit_bias=ends))
    assert (len(least.tokens), least.tokens.count(spm.eos_id), least.reason) == (4, 1, "stop")
    ignored = answer(engine, [1, 5, 6], greedy(9, ignore_eos=True, logit_bias=ends))
    assert (len(ignored.tokens), ignored.tokens.count(spm.eos_id), ignored.reason) == (9, 0, "length")


def test_the_longest_that_was_asked_for_and_the_longest_that_fits() -> None:
    engine = tiny_engine(num_blocks=12, block_size=4)
    assert engine.max_context == 48
    asked = answer(engine, tokens_of(1, 40), greedy(8))
    assert (len(asked.tokens), asked.reason) == (8, "length")
    for max_tokens in (9, 1000, None):
        fits = answer(engine, tokens_of(1, 40), greedy(max_tokens))
        assert (len(fits.tokens), fits.reason) == (8, "model_length")
    assert answer(engine, tokens_of(1, 47), greedy(5)).reason == "model_length"


@pytest.mark.parametrize("start", range(0, 40, 7))
def test_a_stop_string_ends_the_text_before_it(spm: Tokenizer, speaker: Transformer, start: int) -> None:
    engine, prompt = Engine(speaker, spm, make_config(speaker)), spm.encode("Le vent", bos=True)
    whole = answer(engine, prompt, greedy(20)).text
    assert len(whole) > 50
    stop = whole[start : start + 8]  # wherever tokens begin and end
    got = answer(engine, prompt, greedy(20, stop=("never seen", stop)))
    assert got.text == whole[: whole.index(stop)]
    assert (got.reason, got.last.detail) == ("stop", stop)
    assert len(got.tokens) < 20


def test_text_held_back_comes_at_the_end(spm: Tokenizer, speaker: Transformer) -> None:
    engine, prompt = Engine(speaker, spm, make_config(speaker)), spm.encode("Le vent", bos=True)
    whole = answer(engine, prompt, greedy(20)).text
    got = answer(engine, prompt, greedy(20, stop=(whole[-10:] + "…",)))
    assert (got.text, got.reason) == (whole, "length")


def test_usage_counts_what_was_computed_and_what_was_known() -> None:
    engine, prompt = tiny_engine(block_size=4), tokens_of(1, 13)
    usages = [answer(engine, prompt, greedy(5)).last.usage for _ in range(2)]
    assert [(usage.prompt, usage.cached, usage.output) for usage in usages] == [(13, 0, 5), (13, 12, 5)]
    assert engine.metrics.generation_tokens == 10
    assert engine.metrics.prefix_cache_hits == 12
    assert engine.metrics.prefix_cache_queries == 26


# ── prefixes ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", MODELS)
def test_a_known_prefix_is_not_computed_again(kind: str) -> None:
    engine, prompt = tiny_engine(kind, block_size=4), tokens_of(1, 30)
    answer(engine, prompt, greedy(2))
    again = answer(engine, prompt[:24] + tokens_of(2, 10), greedy(10))
    # What fell out of a window was given back, and is known until it is taken for something else.
    assert again.last.usage.cached == 24
    assert again.tokens == greedy_tokens(tiny_model(kind), prompt[:24] + tokens_of(2, 10), 10)
    longer = answer(engine, prompt + tokens_of(3, 10), greedy(10))
    assert longer.last.usage.cached == 28
    assert longer.tokens == greedy_tokens(tiny_model(kind), prompt + tokens_of(3, 10), 10)


def test_at_least_one_token_is_computed() -> None:
    engine, prompt = tiny_engine(block_size=4), tokens_of(1, 16)
    answer(engine, prompt, greedy(1))
    again = answer(engine, prompt, greedy(3))
    assert again.last.usage.cached == 12
    assert again.tokens == greedy_tokens(tiny_model(), prompt, 3)


def test_an_answer_is_a_prefix_too() -> None:
    engine, prompt = tiny_engine(block_size=4), tokens_of(1, 10)
    first = answer(engine, prompt, greedy(11))
    assert answer(engine, prompt + first.tokens + [3], greedy(1)).last.usage.cached == 20


def test_salts_share_no_block() -> None:
    engine, prompt = tiny_engine(), tokens_of(1, 30)
    for salt in ("a", "b"):
        engine.submit(Request(salt, prompt, greedy(20), salt=salt))
    engine.step()
    assert held_blocks(engine, "a")
    assert not held_blocks(engine, "a") & held_blocks(engine, "b")
    list(steps(engine, {}))
    assert answer(engine, prompt, greedy(1), salt="c").last.usage.cached == 0
    assert answer(engine, prompt, greedy(1), salt="a").last.usage.cached == 28


def test_a_collision_of_hashes_shares_nothing() -> None:
    model = tiny_model()
    engine = Engine(model, config=make_config(model), prefix_key=Colliding)
    for seed in (1, 2, 3):
        prompt = tokens_of(seed, 30)
        got = answer(engine, prompt, greedy(6))
        assert got.last.usage.cached == 0
        assert got.tokens == greedy_tokens(model, prompt, 6)
    assert answer(engine, tokens_of(2, 30), greedy(6)).last.usage.cached == 28


# ── windows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_windows_give_their_blocks_back() -> None:
    engine, block_size = tiny_engine("windowed", block_size=4), 4
    engine.submit(Request("r", tokens_of(1, 9), greedy(200)))
    for _ in steps(engine, {}):
        assert len(held_blocks(engine, "r")) <= WINDOW // block_size + 2


def test_only_the_layers_that_see_everything_grow() -> None:
    engine, block_size = tiny_engine("interleaved", block_size=4), 4
    engine.submit(Request("r", tokens_of(1, 9), greedy(200)))
    for _ in steps(engine, {}):
        for sequence in engine._live.get("r", []):
            growing = -(-(sequence.num_computed + 1) // block_size) + 2
            assert len(sequence.held_blocks()) <= growing + 3 * (WINDOW // block_size + 2)


def test_windows_hold_a_context_that_the_pool_does_not() -> None:
    engine = tiny_engine("windowed", num_blocks=6, block_size=4, max_step_tokens=8)
    assert engine.max_context == 256
    prompt = tokens_of(1, 100)
    got = answer(engine, prompt, greedy(120))
    assert got.tokens[:20] == greedy_tokens(tiny_model("windowed"), prompt, 20)
    assert len(got.tokens) == 120


def test_interleaved_windows_leave_their_memory_to_the_others() -> None:
    engine = tiny_engine("interleaved", num_blocks=64, block_size=4, max_step_tokens=8)
    assert engine.max_context > 64 * 4 // 4 * 2  # twice what four full layers would hold
    prompt = tokens_of(1, engine.max_context - 20)
    got = answer(engine, prompt, greedy(None))
    assert got.reason == "model_length"
    assert got.tokens[:3] == greedy_tokens(tiny_model("interleaved"), prompt, 3)


# ── bad input ───────────────────────────────────────────────────────────────────────────────────────────────────────

BAD_SAMPLING: list[tuple[str, dict[str, Any]]] = [
    ("temperature", {"temperature": -0.1}),
    ("temperature", {"temperature": math.nan}),
    ("temperature", {"temperature": math.inf}),
    ("top_p", {"top_p": 0.0}),
    ("top_p", {"top_p": 1.1}),
    ("top_p", {"top_p": math.nan}),
    ("top_k", {"top_k": -1}),
    ("top_k", {"top_k": VOCAB + 1}),
    ("n", {"n": 0}),
    ("n", {"n": 1000}),
    ("max_tokens", {"max_tokens": 0}),
    ("min_tokens", {"min_tokens": -1}),
    ("min_tokens", {"min_tokens": 5, "max_tokens": 4}),
    ("presence_penalty", {"presence_penalty": 2.5}),
    ("frequency_penalty", {"frequency_penalty": math.nan}),
    ("repetition_penalty", {"repetition_penalty": 0.0}),
    ("stop", {"stop": ("ok", "")}),
    ("stop", {"stop": ("no tokenizer",)}),
    ("logit_bias", {"logit_bias": {VOCAB: 1.0}}),
    ("logit_bias", {"logit_bias": {-1: 1.0}}),
    ("logit_bias", {"logit_bias": {3: 101.0}}),
    ("logit_bias", {"logit_bias": {3: math.nan}}),
    ("logprobs", {"logprobs": -1}),
    ("prompt_logprobs", {"prompt_logprobs": 1000}),
]


@pytest.mark.parametrize(("field", "bad"), BAD_SAMPLING, ids=lambda value: str(value)[:30])
def test_a_bad_parameter_is_refused_by_its_name(field: str, bad: dict[str, Any]) -> None:
    engine = tiny_engine()
    engine.submit(Request("good", [1, 2, 3], greedy(3)))
    with pytest.raises(InvalidRequestError) as caught:
        engine.submit(Request("bad", [1], SamplingParams(**bad)))
    assert caught.value.field == field
    answers: Answers = {}
    list(steps(engine, answers))
    assert set(answers) == {("good", 0)}
    assert answers["good", 0].tokens == greedy_tokens(tiny_model(), [1, 2, 3], 3)


@pytest.mark.parametrize("prompt", [[], [VOCAB], [1, -1], [1] * 256, [1] * 10_000], ids=lambda p: f"{p[:2]}…{len(p)}")
def test_a_bad_prompt_is_refused(prompt: list[int]) -> None:
    engine = tiny_engine()
    with pytest.raises(InvalidRequestError) as caught:
        engine.submit(Request("bad", prompt, greedy(1)))
    assert caught.value.field == "prompt"
    assert not engine.has_work


def test_a_prompt_may_fill_the_context_but_for_the_answers_first_token() -> None:
    engine = tiny_engine()
    assert answer(engine, [1] * 255, greedy(5)).reason == "model_length"
    whole = run(engine, Request("whole", [1] * 256, pooling=Pooling("last", False)))["whole", 0]
    assert whole.reason == "stop"


def test_one_of_sampling_and_pooling_is_asked_for() -> None:
    for both in ({}, {"sampling": greedy(), "pooling": Pooling("last", False)}):
        with pytest.raises(InvalidRequestError) as caught:
            Request("bad", [1], **both)  # type: ignore[arg-type]
        assert caught.value.field == "sampling"


def test_a_grammar_needs_a_tokenizer() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        tiny_engine().submit(Request("bad", [1], greedy(), grammar=Regex("a")))
    assert caught.value.field == "grammar"


def test_an_id_is_served_once_at_a_time() -> None:
    engine, prompt = tiny_engine(), [1, 2]
    engine.submit(Request("twice", prompt, greedy(3)))
    with pytest.raises(InvalidRequestError) as caught:
        engine.submit(Request("twice", [5], greedy(3)))
    assert caught.value.field == "id"
    answers: Answers = {}
    list(steps(engine, answers))
    assert answers["twice", 0].tokens == greedy_tokens(tiny_model(), prompt, 3)
    assert run(engine, Request("twice", prompt, greedy(3)))["twice", 0].tokens == answers["twice", 0].tokens


def test_memory_for_less_than_two_blocks_is_refused() -> None:
    model = tiny_model()
    with pytest.raises(TramontaneError, match="give at least"):
        Engine(model, config=EngineConfig(kv_memory_bytes=1000))


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(spm: Tokenizer) -> None:
    with pytest.raises(TramontaneError, match="do not belong together"):
        Engine(tiny_model(), spm)


# ── the queue, and who gives up ─────────────────────────────────────────────────────────────────────────────────────


def test_a_full_queue_refuses_at_once_and_nobody_else_notices() -> None:
    engine = tiny_engine(max_sequences=1, max_queue=2)
    answers: Answers = {}
    engine.submit(Request("0", [1, 2], greedy(6)))
    add_outputs(answers, engine.step())
    for name in "12":
        engine.submit(Request(name, [1, 2], greedy(6)))
    with pytest.raises(QueueFullError):
        engine.submit(Request("3", [1, 2], greedy(6)))
    assert engine.metrics.admission_rejections == 1
    list(steps(engine, answers))
    assert {name for name, _ in answers} == {"0", "1", "2"}
    assert all(got.tokens == greedy_tokens(tiny_model(), [1, 2], 6) for got in answers.values())
    assert len(answer(engine, [1, 2], greedy(6)).tokens) == 6


def test_who_gives_up_leaves_the_queue() -> None:
    engine = tiny_engine(max_sequences=1, max_queue=1)
    engine.submit(Request("0", [1], greedy(6)))
    engine.step()
    engine.submit(Request("1", [1], greedy(6)))
    engine.cancel("1")
    engine.submit(Request("2", [1], greedy(6)))
    answers: Answers = {}
    list(steps(engine, answers))
    assert {name for name, _ in answers} == {"0", "2"}


@pytest.mark.parametrize("kind", MODELS)
def test_blocks_are_free_as_soon_as_a_request_is_cancelled(kind: str) -> None:
    engine = tiny_engine(kind, max_step_tokens=5)
    engine.submit(Request("r", tokens_of(1, 12), greedy(50, n=2)))
    for _ in range(6):
        engine.step()
    assert held_blocks(engine, "r")
    engine.cancel("r")
    assert is_empty(engine)
    engine.check()
    assert not engine.has_work
    engine.cancel("r")  # nothing happens
    engine.cancel("never heard of")


def test_the_gauges_show_an_engine_at_rest() -> None:
    engine = tiny_engine()
    engine.submit(Request("r", tokens_of(1, 12), greedy(50)))
    engine.step()
    assert engine.metrics.num_requests_running == 1
    assert engine.metrics.kv_cache_usage_perc > 0
    engine.cancel("r")
    engine.step()
    assert engine.metrics.num_requests_running == 0
    assert engine.metrics.kv_cache_usage_perc == 0


# ── what goes wrong inside ──────────────────────────────────────────────────────────────────────────────────────────


class Faulty:
    """Attention that breaks when told to."""

    def __init__(self, prepare: Prepare = sdpa) -> None:
        self.prepare, self.broken = prepare, False

    def __call__(self, cache: KVCache, batch: Batch) -> Attend:
        if self.broken:
            raise RuntimeError("the machine is on fire")
        return self.prepare(cache, batch)


def test_a_step_that_fails_ends_its_requests_and_no_others() -> None:
    model, faulty, prompt = tiny_model(), Faulty(), tokens_of(1, 20)
    engine = Engine(model, config=make_config(model, max_sequences=2), attention=faulty)
    answers: Answers = {}
    for name in "abc":
        engine.submit(Request(name, prompt, greedy(9)))
    add_outputs(answers, engine.step())
    faulty.broken = True
    add_outputs(answers, engine.step())
    faulty.broken = False
    assert is_empty(engine)
    engine.check()
    list(steps(engine, answers))
    for name in "ab":
        last = answers[name, 0].last
        assert last.finish_reason == "error"
        assert last.detail == "The engine failed while it computed this request: the machine is on fire"
    assert answers["c", 0].tokens == greedy_tokens(model, prompt, 9)
    assert engine.metrics.failed_steps == 1


def test_a_step_that_fails_leaves_nothing_in_the_prefix_cache() -> None:
    model, faulty, prompt = tiny_model(), Faulty(), tokens_of(1, 20)
    engine = Engine(model, config=make_config(model), attention=faulty)
    faulty.broken = True
    assert answer(engine, prompt, greedy(9)).reason == "error"
    faulty.broken = False
    again = answer(engine, prompt, greedy(9))
    assert (again.last.usage.cached, again.tokens) == (0, greedy_tokens(model, prompt, 9))


@pytest.mark.parametrize("prepare", [sdpa, reference])
@pytest.mark.parametrize("sampling", [greedy(5), SamplingParams(max_tokens=5), SamplingParams(max_tokens=5, top_p=0.9)])
def test_numbers_that_are_none_end_their_own_request_only(prepare: Prepare, sampling: SamplingParams) -> None:
    """A prompt whose computation overflows does not reach its neighbours, though they share one memory."""
    model = copy.deepcopy(tiny_model())
    model.tok_embeddings.weight[7] = math.nan
    engine = Engine(model, config=make_config(model), attention=prepare)
    engine.submit(Request("broken", [7, 1], sampling))
    prompts = {"short": [1], "long": [1] * 20}  # lengths that are padded to each other
    for name, prompt in prompts.items():
        engine.submit(Request(name, prompt, greedy(5, logit_bias={7: -100.0})))
    answers: Answers = {}
    list(steps(engine, answers))
    last = answers["broken", 0].last
    assert (last.finish_reason, last.token_ids) == ("error", [])
    assert last.detail == "The model's scores leave no token to choose."
    for name, prompt in prompts.items():
        assert answers[name, 0].tokens == greedy_tokens(tiny_model(), prompt, 5)


class Stuck:
    """A grammar's state that fails where llguidance gives up: filling a mask, or moving on."""

    is_finished = is_accepting = False

    def __init__(self, where: str) -> None:
        self.where = where

    def fill_mask(self, row: torch.Tensor) -> None:
        if self.where == "mask":
            raise GrammarStateError("too many states")

    def accept(self, token: int) -> None:
        if self.where == "accept":
            raise GrammarStateError("too many states")


@pytest.mark.parametrize("where", ["mask", "accept"])
def test_a_grammar_that_breaks_ends_its_own_request_only(where: str) -> None:
    engine = tiny_engine()
    for name in ("before", "broken", "after"):
        engine.submit(Request(name, [1, 2, 3], greedy(4)))
    engine._live["broken"][0].grammar = Stuck(where)  # type: ignore[assignment]
    answers: Answers = {}
    list(steps(engine, answers))
    last = answers["broken", 0].last
    assert (last.finish_reason, last.detail) == ("error", "too many states")
    for name in ("before", "after"):
        assert answers[name, 0].tokens == greedy_tokens(tiny_model(), [1, 2, 3], 4)


def test_a_grammar_binds_its_own_request_only(spm: Tokenizer, speaker: Transformer) -> None:
    engine, prompt = Engine(speaker, spm, make_config(speaker)), spm.encode("Le vent", bos=True)
    free = answer(engine, prompt, greedy(8)).tokens
    answers = run(
        engine,
        Request("free", prompt, greedy(8)),
        Request("bound", prompt, SamplingParams(seed=1, n=2), grammar=Regex("[0-9]{3}-[a-z]{5}")),
    )
    assert answers["free", 0].tokens == free
    for index in range(2):
        got = answers["bound", index]
        assert got.reason == "stop"
        digits, _, letters = got.text.partition("-")
        assert digits.isdigit()
        assert (len(digits), len(letters)) == (3, 5)
    assert answers["bound", 0].text != answers["bound", 1].text


def test_an_answer_that_was_begun_goes_on_in_its_grammar(spm: Tokenizer, speaker: Transformer) -> None:
    engine, begun = Engine(speaker, spm, make_config(speaker)), spm.encode("123-a")
    request = Request(
        "r", spm.encode("Le vent 123-a", bos=True), SamplingParams(seed=1), grammar=Regex("[0-9]{3}-[a-z]{5}")
    )
    request.begun, request.continues_text = begun, True
    text = run(engine, request)["r", 0].text
    assert re.fullmatch("[a-z]{4}", text)
    request.begun = spm.encode("12a")
    with pytest.raises(InvalidRequestError, match="begins with this prefix") as refused:
        engine.submit(request)
    assert refused.value.field == "prefix"


def test_how_long_a_request_waited_is_told(spm: Tokenizer, speaker: Transformer) -> None:
    engine = Engine(speaker, spm, make_config(speaker, max_sequences=1))
    answers = run(engine, Request("first", [1, 2], greedy(20)), Request("second", [3, 4], greedy(2)))
    first, second = (answers[name, 0].last for name in ("first", "second"))
    assert first is not None
    assert second is not None
    assert first.usage is not None
    assert second.usage is not None
    assert 0 <= first.usage.queue_seconds < second.usage.queue_seconds


# ── the oracle itself ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_pass_that_everything_is_compared_with_is_causal() -> None:
    """It must not be wrong in the same way: what comes after a token, or lies behind its window, changes nothing."""
    q, kv = torch.rand(9, 4, 4, dtype=torch.float64), torch.rand(2, 9, 2, 4, dtype=torch.float64)
    changed = kv.clone()
    changed[:, 0] += 1
    changed[:, 8] += 1
    for kind, same in (("windowed", [7]), ("dense", [])):
        attend = attend_to_all(tiny_model(kind).config)
        before, after = attend(0, q, *kv), attend(0, q, *changed)
        equal = [row for row in range(9) if torch.equal(before[row], after[row])]
        assert equal == same
