"""Guesses from a predicted text: right ones save steps, wrong ones change nothing, a lost answer is found again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny import Answer, Answers, add_outputs, make_config, run, tiny_model, tokens_of
from tramontane.engine.engine import Engine
from tramontane.engine.prediction import PredictedText, Prediction
from tramontane.engine.request import Request, SamplingParams
from tramontane.errors import InvalidRequestError

PROMPT = tokens_of(1, 9)
LENGTH = 48
DRAWN = SamplingParams(temperature=1.0, seed=5, max_tokens=LENGTH)  # greedy tiny models repeat themselves


def engine() -> Engine:
    model = tiny_model()
    return Engine(model, config=make_config(model))


def served(prediction: list[int]) -> tuple[Answer, int]:
    """The answer, and the steps that it took."""
    one, steps = engine(), 0
    answers: Answers = {}
    one.submit(Request("r", PROMPT, DRAWN, prediction=prediction))
    while one.has_work:
        add_outputs(answers, one.step())
        one.check()
        steps += 1
    return answers["r", 0], steps


def plain() -> list[int]:
    return run(engine(), Request("r", PROMPT, DRAWN))["r", 0].tokens


def test_a_right_prediction_takes_a_fraction_of_the_steps_and_says_so() -> None:
    answer, steps = served(plain())
    assert answer.tokens == plain()
    assert steps < 12
    assert answer.last is not None
    assert answer.last.usage is not None
    assert answer.last.usage.accepted_predictions > 36
    assert answer.last.usage.rejected_predictions == 0


def test_a_wrong_prediction_changes_nothing_and_costs_no_step() -> None:
    answer, steps = served([plain()[0], *tokens_of(7, 60)])
    assert answer.tokens == plain()
    assert steps <= LENGTH
    assert answer.last is not None
    assert answer.last.usage is not None
    assert answer.last.usage.rejected_predictions > 0


@pytest.mark.parametrize("gone", [slice(0, 6), slice(10, 14), slice(20, 30)])
def test_an_answer_is_found_again_behind_what_was_left_out_or_changed(gone: slice) -> None:
    expected = plain()
    shortened = [*expected[: gone.start], 0, 0, 0, *expected[gone.stop :]]
    answer, steps = served(shortened)
    assert answer.tokens == expected
    assert steps < 36


@given(st.lists(st.integers(0, 3), max_size=30), st.lists(st.integers(0, 3), max_size=30), st.integers(0, 20))
def test_whatever_is_predicted_and_said_the_counts_add_up(text: list[int], said: list[int], most: int) -> None:
    prediction, guessed = Prediction(PredictedText(text)), 0
    at = 0
    while at < len(said):
        guess = prediction.guess(most)
        assert len(guess) <= most
        guessed += len(guess)
        for token in [*guess, None]:  # as the engine does: on as long as the guess comes true, and one token more
            prediction.follow(said[at])
            at += 1
            if at == len(said) or token != said[at - 1]:
                break
        assert prediction.num_accepted + prediction.num_rejected == guessed


def test_nobody_is_preempted_for_a_guess() -> None:
    for seed in range(12):
        counts = {}
        for name, hint in (("plain", []), ("wrong", [*tokens_of(seed, 4) * 10])):
            model = tiny_model()
            one = Engine(model, config=make_config(model, 5, block_size=8))
            for number, (prompt, length) in enumerate([(12, 9), (14, 5)]):
                sampling = SamplingParams(temperature=1.0, seed=seed, max_tokens=length)
                one.submit(Request(str(number), tokens_of(number, prompt), sampling, prediction=hint))
            while one.has_work:
                one.step()
                one.check()
            counts[name] = one.metrics.num_preemptions
        assert counts["wrong"] == counts["plain"]


def test_a_prediction_longer_than_the_context_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="longer than the context") as refused:
        engine().submit(Request("r", PROMPT, DRAWN, prediction=[1] * 300))
    assert refused.value.field == "prediction"
