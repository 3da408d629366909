"""Why a request is not held for, in a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Collection

from tramontane.billing.books import CountKey
from tramontane.billing.months import beginning, following
from tramontane.billing.pricing import in_euros
from tramontane.billing.rates import OWNERS, Cap
from tramontane.errors import PaymentRequiredError, RateLimitedError, TramontaneError
from tramontane.storage.base import now

_BUSY_RETRY = 5.0  # seconds


def no_money(needed: int, left: int) -> PaymentRequiredError:
    """Nothing that is held would be enough either."""
    return PaymentRequiredError(
        f"This request costs {in_euros(needed)} at least and {in_euros(left)} is left for its model: "
        "add credit, buy a commitment or allow pay-as-you-go.",
        "no_money",
    )


def spend_cap_reached(cap: Cap) -> PaymentRequiredError:
    """Until the next month."""
    return PaymentRequiredError(
        f"The monthly spend of {OWNERS[cap.scope]}, {in_euros(cap.spend_per_month or 0)} at most, leaves nothing for "
        "this request: raise the limit, or wait for the next month.",
        "cap_reached",
    )


def token_cap_reached(cap: Cap, month: str) -> RateLimitedError:
    """Until the next month."""
    wait = beginning(following(month)) - now()
    return RateLimitedError(
        f"The limit of {OWNERS[cap.scope]}, {cap.tokens_per_month:,} tokens a month, leaves too few for this request: "
        "raise the limit, or wait for the next month.",
        max(1.0, wait.total_seconds()),
    )


def waited_in_vain(lacking: Collection[str | CountKey]) -> TramontaneError:
    """Lots are known by their ids, monthly counts by their keys."""
    if any(isinstance(of, str) for of in lacking):
        return PaymentRequiredError(
            "All money that is left is held for requests that run: try again when they have ended, or add credit.",
            "no_money",
        )
    return RateLimitedError(
        "All that the month's limit leaves is held for requests that run: try again when they have ended.", _BUSY_RETRY
    )
