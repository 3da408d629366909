"""Whether a hold will be granted, in all likelihood, before it is.

A hold costs a commit. Who knows beforehand that it will come may begin to compute beside it, and wait for it only
before the first byte is delivered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from tramontane.billing.pricing import worst_case
from tramontane.billing.requests import Ask, Granted

_AMPLE = 20  # times what a request may take has to be left: others ask at the same time
_FRESH = 5.0  # seconds; other processes spend too
_MOST = 10_000  # payers remembered

_Payer = tuple[str, str | None, str]


@dataclass(slots=True)
class _Left:
    money: int
    tokens: int
    fresh_until: float


class Foresight:
    """What the last holds have left over, by who asked and for which model: lots and limits may differ in both."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._left: dict[_Payer, _Left] = {}  # in the order of their freshness

    def note(self, ask: Ask, granted: Granted | None) -> None:
        """What became of an ask; None: it was refused, has to wait, or took so long that the next one may as well."""
        payer = _payer(ask)
        self._left.pop(payer, None)
        if granted is not None:
            self._left[payer] = _Left(granted.money_left, granted.tokens_left, self._clock() + _FRESH)
            if len(self._left) > _MOST:
                del self._left[next(iter(self._left))]

    def counts_on(self, ask: Ask) -> bool:
        """Whether so much was left just now that nothing but a great change can refuse this one.

        If so, it counts as taken: who asks a hundred times at once is believed for what there is, not a hundred times.
        """
        left = self._left.get(_payer(ask))
        if left is None or left.fresh_until < self._clock():
            return False
        money, tokens = worst_case(ask.price, ask.prompt_tokens, ask.max_output), ask.prompt_tokens + ask.max_output
        if _AMPLE * money > left.money or _AMPLE * tokens > left.tokens:
            return False
        left.money -= money
        left.tokens -= tokens
        return True


def _payer(ask: Ask) -> _Payer:
    return ask.principal.workspace_id, ask.principal.key_id, ask.model
