"""From scores to tokens: each parameter against its formula written out, and each row whatever its neighbours."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tramontane.engine.request import Request, SamplingParams
from tramontane.engine.sampler import logprobs_of, sample
from tramontane.engine.sequence import Sequence

EOS = 2


def sequence_of(params: SamplingParams, prompt: list[int] | None = None, output: list[int] | None = None) -> Sequence:
    """A sequence that has got `output` so far."""
    sequence = Sequence(Request("r", prompt or [1], params), 0, 1)
    for token in output or []:
        sequence.append(token)
    return sequence


class Preset(Random):
    """Draws the number it was given."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


def distribution(row: Tensor, params: SamplingParams, num_draws: int) -> list[float]:
    """How often each token comes, over numbers that lie evenly between 0 and 1."""
    sequences = [sequence_of(params) for _ in range(num_draws)]
    for number, sequence in enumerate(sequences):
        sequence.random = Preset((number + 0.5) / num_draws)
    counts = Counter(sample(row.repeat(num_draws, 1), sequences, None))
    return [counts[token] / num_draws for token in range(len(row))]


def naive_distribution(row: Tensor, params: SamplingParams) -> list[float]:
    """Temperature, then top_k, then top_p, as they are defined."""
    weights = [math.exp((score - max(row.tolist())) / params.temperature) for score in row.tolist()]
    order = sorted(range(len(weights)), key=lambda token: -weights[token])[: params.top_k or None]
    total = sum(weights[token] for token in order)
    kept, reached = [], 0.0
    for token in order:
        if reached >= params.top_p:
            break
        kept.append(token)
        reached += weights[token] / total
    total = sum(weights[token] for token in kept)
    return [weights[token] / total if token in set(kept) else 0.0 for token in range(len(weights))]


def random_logits(seed: int, *shape: int, spread: float = 2.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * spread


def test_temperature_0_takes_the_best() -> None:
    logits = random_logits(0, 5, 100)
    expected = logits.argmax(-1).tolist()
    assert sample(logits, [sequence_of(SamplingParams(temperature=0)) for _ in range(5)], None) == expected


@pytest.mark.parametrize("temperature", [1e-300, 1e-45, 1e-9])
def test_the_smallest_temperatures_take_the_best_too(temperature: float) -> None:
    logits = random_logits(0, 5, 100)
    expected = logits.argmax(-1).tolist()
    assert sample(logits, [sequence_of(SamplingParams(temperature=temperature)) for _ in range(5)], None) == expected


@pytest.mark.parametrize("params", [SamplingParams(), SamplingParams(temperature=0.5), SamplingParams(top_p=0.9)])
def test_seeded_draws_follow_the_softmax(params: SamplingParams) -> None:
    """Pearson's test at 0.1 %, on draws that each come from a request's own seed."""
    row, num_draws = random_logits(1, 12, spread=1), 4000
    sequences = [
        sequence_of(SamplingParams(temperature=params.temperature, top_p=params.top_p, seed=seed))
        for seed in range(num_draws)
    ]
    counts = Counter(sample(row.repeat(num_draws, 1), sequences, None))
    expected = {t: p * num_draws for t, p in enumerate(naive_distribution(row, params)) if p > 0}
    assert set(counts) <= set(expected)
    statistic = sum((counts[token] - number) ** 2 / number for token, number in expected.items())
    assert statistic < 31.3  # 11 degrees of freedom; fewer only make it smaller


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(),
        SamplingParams(top_k=1),
        SamplingParams(top_k=7, temperature=2),
        SamplingParams(top_p=0.5),
        SamplingParams(top_p=0.9, top_k=20, temperature=0.7),
        SamplingParams(top_p=1e-9),
        SamplingParams(top_k=40),  # the whole vocabulary
    ],
    ids=lambda params: f"k{params.top_k}-p{params.top_p:g}-t{params.temperature:g}",
)
@pytest.mark.parametrize("seed", [0, 1])
def test_top_k_and_top_p_are_exact(params: SamplingParams, seed: int) -> None:
    row = random_logits(seed, 40)
    assert distribution(row, params, 5000) == pytest.approx(naive_distribution(row, params), abs=1 / 5000)


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(top_p=0.9),
        SamplingParams(top_p=0.99),
        SamplingParams(top_k=1500),
        SamplingParams(top_k=1500, top_p=0.9),  # 90 % of the 1500, not of the first 1024
        SamplingParams(top_k=1024, top_p=0.9),
        SamplingParams(top_k=100, top_p=0.9),
    ],
    ids=lambda params: f"k{params.top_k}-p{params.top_p:g}-t{params.temperature:g}",
)
def test_they_are_exact_also_where_many_tokens_are_likely(params: SamplingParams) -> None:
    row = random_logits(0, 2000, spread=0.2)
    got, expected = distribution(row, params, 4000), naive_distribution(row, params)
    assert got == pytest.approx(expected, abs=1 / 4000)
    last = min((p, token) for token, p in enumerate(expected) if p > 0)[1]
    # Dropped tokens never come, and the last that is kept does, where numbers are dense enough.
    assert all(got[token] == 0 for token, p in enumerate(expected) if p == 0)
    worst = sequence_of(params)
    worst.random = Preset(1 - 2**-53)
    if params.top_p < 1 or params.top_k:
        assert sample(row[None].clone(), [worst], None) == [last]


@pytest.mark.parametrize("value", [0.0, 0.5, 1 - 2**-53])
def test_a_token_without_probability_never_comes(value: float) -> None:
    row = torch.full((3000,), -math.inf)
    row[[5, 700, 2500]] = torch.tensor([1.0, 2.0, 1.0])
    for params in (SamplingParams(), SamplingParams(top_p=0.999), SamplingParams(top_k=2000), SamplingParams(top_k=9)):
        sequence = sequence_of(params)
        sequence.random = Preset(value)
        assert sample(row[None].clone(), [sequence], None)[0] in (5, 700, 2500)


any_params = st.builds(
    SamplingParams, temperature=st.sampled_from([0, 0.3, 1, 5]), top_p=st.sampled_from([1, 0.95, 0.5, 0.01]),
    top_k=st.sampled_from([0, 0, 1, 50, 1024, 1100, 1300]), seed=st.integers(0, 1000),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(any_params, min_size=1, max_size=5), seed=st.integers(0, 100), spread=st.sampled_from([0.1, 2, 9]))
def test_a_row_does_not_depend_on_its_neighbours(rows: list[SamplingParams], seed: int, spread: float) -> None:
    # Rounded as models in bfloat16 round: many tokens have equal scores.
    logits = random_logits(seed, len(rows), 1300, spread=spread).bfloat16().float()
    together = sample(logits.clone(), [sequence_of(params) for params in rows], None)
    for row, params in enumerate(rows):
        assert sample(logits[row : row + 1].clone(), [sequence_of(params)], None) == [together[row]]


def test_equal_seeds_draw_alike_and_choices_do_not() -> None:
    params = SamplingParams(seed=7, n=2)
    logits = torch.zeros(1, 10_000)

    def draws(index: int) -> list[int]:
        sequence = Sequence(Request("r", [1], params), index, 1)
        return [sample(logits.clone(), [sequence], None)[0] for _ in range(5)]

    assert draws(0) == draws(0)
    assert draws(0) != draws(1)


def scores_after(row: Tensor, sequence: Sequence) -> list[float]:
    """The scores as `sample` leaves them, which it chooses from."""
    logits = row[None].clone()
    sample(logits, [sequence], EOS)
    return logits[0].tolist()


@settings(deadline=None, max_examples=50)
@given(
    prompt=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    output=st.lists(st.integers(0, 9), max_size=6),
    presence=st.sampled_from([0, -2, 0.5, 2]),
    frequency=st.sampled_from([0, -1, 0.25, 2]),
    repetition=st.sampled_from([1, 0.5, 1.5]),
    bias=st.dictionaries(st.integers(0, 9), st.sampled_from([-100, -1, 3, 100]), max_size=3),
    min_tokens=st.integers(0, 8),
    ignore_eos=st.booleans(),
    seed=st.integers(0, 5),
)
def test_penalties_follow_their_formulas(
    prompt: list[int], output: list[int], presence: float, frequency: float, repetition: float,
    bias: dict[int, float], min_tokens: int, ignore_eos: bool, seed: int,
) -> None:  # fmt: skip
    """OpenAI's presence and frequency count what was generated; CTRL's repetition also what was asked."""
    params = SamplingParams(
        temperature=0, presence_penalty=presence, frequency_penalty=frequency, repetition_penalty=repetition,
        logit_bias=bias, min_tokens=min_tokens, ignore_eos=ignore_eos,
    )  # fmt: skip
    row = random_logits(seed, 10)
    expected = []
    for token, score in enumerate(row.tolist()):
        if token in prompt or token in output:
            score = score / repetition if score > 0 else score * repetition
        score -= presence * (token in output) + frequency * output.count(token) - bias.get(token, 0)
        expected.append(-math.inf if token == EOS and (ignore_eos or len(output) < min_tokens) else score)
    assert scores_after(row, sequence_of(params, prompt, output)) == pytest.approx(expected, abs=1e-4)


def test_parameters_of_one_row_leave_the_others_alone() -> None:
    logits = random_logits(3, 3, 10)
    before = logits.clone()
    params = SamplingParams(temperature=0, repetition_penalty=2, presence_penalty=1, logit_bias={3: 5.0}, min_tokens=9)
    plain = SamplingParams(temperature=0)
    sample(logits, [sequence_of(plain), sequence_of(params, [4], [5]), sequence_of(plain)], EOS)
    assert torch.equal(logits[[0, 2]], before[[0, 2]])
    assert not torch.equal(logits[1], before[1])


@pytest.mark.parametrize("num_top", [0, 3, 100])
def test_logprobs_are_the_softmax_of_the_scores(num_top: int) -> None:
    logits, tokens = random_logits(2, 4, 10).double(), [0, 9, 3, 3]
    for row, token, entry in zip(logits, tokens, logprobs_of(logits, tokens, num_top), strict=True):
        expected = row.log_softmax(-1).tolist()
        assert entry.token_id == token
        assert entry.logprob == pytest.approx(expected[token])
        best = sorted(range(10), key=lambda t: -expected[t])[:num_top]
        assert [t for t, _ in entry.top] == best
        assert [value for _, value in entry.top] == pytest.approx([expected[t] for t in best])
