"""One function for all prices, and it is exact."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from hypothesis import given
from hypothesis import strategies as st

from tramontane.billing.pricing import affordable_output, cost, in_euros, worst_case
from tramontane.catalogue.prices import Price

_amounts = st.one_of(st.integers(0, 5), st.integers(0, 10**7), st.integers(0, 9 * 10**15))
_tokens = st.one_of(st.integers(0, 3), st.integers(0, 200_000))
prices = st.builds(lambda first, second, output: Price("price", max(first, second), min(first, second), output),
                   _amounts, _amounts, _amounts)  # fmt: skip


@given(prices, _tokens, st.floats(0, 1), _tokens)
def test_a_cost_is_the_exact_one_rounded_half_up(price: Price, prompt: int, share: float, output: int) -> None:
    cached = int(prompt * share)
    exact = (
        (prompt - cached) * Decimal(price.input) + cached * Decimal(price.cached_input) + output * Decimal(price.output)
    )
    assert cost(price, prompt, cached, output) == (exact / 10**6).quantize(Decimal(1), ROUND_HALF_UP)
    assert cost(price, prompt, cached, output) <= worst_case(price, prompt, output)


@given(prices, _tokens, _tokens, _amounts)
def test_what_an_amount_pays_for(price: Price, prompt: int, most: int, amount: int) -> None:
    output = affordable_output(price, prompt, most, amount)
    if output == -1:
        assert worst_case(price, prompt, 0) > amount
    else:
        assert 0 <= output <= most
        assert worst_case(price, prompt, output) <= amount
        assert output == most or worst_case(price, prompt, output + 1) > amount


def test_half_a_nano_euro_is_one() -> None:
    half = Price("price", 500_000, 0, 0)
    assert [cost(half, prompt, 0, 0) for prompt in range(4)] == [0, 1, 1, 2]  # 0, 0.5, 1, 1.5


def test_amounts_in_sentences() -> None:
    assert [in_euros(amount) for amount in (0, 1, 12_500_000, 10**9, 1_234_567_000_000_000, -5 * 10**8)] == [
        "0 €", "0.000000001 €", "0.0125 €", "1 €", "1,234,567 €", "-0.5 €",
    ]  # fmt: skip
