"""What the ledger is asked for: to hold money for a request, and to end the hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tramontane.accounts.principal import Principal
from tramontane.billing.rates import Cap
from tramontane.billing.tables import Outcome
from tramontane.catalogue.prices import Price

NO_LIMIT = 2**62
"""Tokens, where no cap says how many."""


class Counts(NamedTuple):
    """Tokens of a request so far. The cached ones are part of the prompt's."""

    prompt: int
    cached: int
    output: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that is to be held for.

    `prompt_tokens` is an upper bound where they cannot be counted; `max_output` is of all choices together, and 0 for
    what has no output.
    """

    request_id: str
    principal: Principal
    route: str
    model: str
    offering_id: str
    price: Price
    prompt_tokens: int
    max_output: int
    caps: Sequence[Cap] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """A hold that is to end: charged for what was delivered, or released.

    `counts` None: those that were kept last. `outcome` None: nothing was delivered, so nothing is charged.
    """

    hold_id: str
    counts: Counts | None
    outcome: Outcome | None
    is_estimate: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What has been delivered of a request that runs."""

    hold_id: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Granted:
    """A hold that was placed: how much output its amount pays for, and what is left for others."""

    max_output: int
    amount: int
    money_left: int  # of the lots that may pay, and below the caps
    tokens_left: int  # below the caps, or about `NO_LIMIT`
