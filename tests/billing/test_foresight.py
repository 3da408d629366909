"""A hold is counted on where there was plenty just now, and not oftener than there is money for."""

from __future__ import annotations

from tests.billing.tenants import Tenant
from tramontane.billing.foresight import Foresight
from tramontane.billing.pricing import worst_case
from tramontane.billing.requests import NO_LIMIT, Ask, Granted
from tramontane.catalogue.prices import Price

PRICE = Price("price", 2_000_000_000, 500_000_000, 6_000_000_000)
MONEY = worst_case(PRICE, 100, 50)


def ask(model: str = "m", key: str = "key", output: int = 50) -> Ask:
    principal = Tenant("organisation", "user", ("workspace",), (key,)).principal()
    return Ask("request", principal, "/v1/chat/completions", model, "offering", PRICE, 100, output)


def granted(money: int, tokens: int = NO_LIMIT) -> Granted:
    return Granted(50, MONEY, money, tokens)


def test_plenty_is_counted_on_and_each_time_there_is_less_of_it() -> None:
    foresight = Foresight(lambda: 0.0)
    assert not foresight.counts_on(ask()), "nobody knows this payer"
    foresight.note(ask(), granted(22 * MONEY))
    assert [foresight.counts_on(ask()) for _ in range(5)] == [True, True, True, False, False]
    foresight.note(ask(), granted(100 * MONEY, tokens=20 * 150))
    assert [foresight.counts_on(ask()) for _ in range(2)] == [True, False]
    assert not foresight.counts_on(ask(output=500))


def test_what_is_known_of_one_key_and_model_says_nothing_of_others() -> None:
    foresight = Foresight(lambda: 0.0)
    foresight.note(ask(), granted(100 * MONEY))
    assert not foresight.counts_on(ask(model="other"))
    assert not foresight.counts_on(ask(key="other"))
    assert foresight.counts_on(ask())


def test_it_is_forgotten_after_five_seconds_and_with_the_first_refusal() -> None:
    moment = 0.0
    foresight = Foresight(lambda: moment)
    foresight.note(ask(), granted(100 * MONEY))
    moment = 5.0
    assert foresight.counts_on(ask())
    moment = 5.1
    assert not foresight.counts_on(ask())
    foresight.note(ask(), granted(100 * MONEY))
    foresight.note(ask(), None)
    assert not foresight.counts_on(ask())
