"""A workspace's rule on where its requests may go: which regions, whose machines, and in which order they are tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tramontane.catalogue.regions import known_rule
from tramontane.errors import InvalidRequestError

Order = Literal["price", "latency", "listed"]

_MOST = 100  # entries of a list
_FIELDS = ("regions", "operators", "order")


@dataclass(frozen=True, slots=True)
class Policy:
    """None: all regions, declared or not; all operators. `price`: the cheapest first."""

    regions: tuple[str, ...] | None = None
    operators: tuple[str, ...] | None = None
    order: Order = "price"


ANY = Policy()
"""Of a workspace that has no policy."""


def parse_policy(given: Mapping[str, Any] | None) -> Policy:
    """Raises InvalidRequestError with the path of what is wrong: a rule that is not understood is no rule."""
    if given is None:
        return ANY
    unknown = next((name for name in given if name not in _FIELDS), None)
    if unknown is not None:
        raise InvalidRequestError(
            f"policy.{unknown}"[:100], f"A policy has no field {str(unknown)[:60]!r}; there is {', '.join(_FIELDS)}."
        )
    regions = _names("regions", given.get("regions"))
    for region in regions or ():
        if not known_rule(region):
            message = f"{region[:60]!r} is no region: name a country's code in capitals (FR), EU or EEA."
            raise InvalidRequestError("policy.regions", message)
    order = given.get("order") or "price"
    for known in get_args(Order):
        if order == known:
            return Policy(regions, _names("operators", given.get("operators")), known)
    message = f"{str(order)[:60]!r} is no order; choose {', '.join(get_args(Order))}."
    raise InvalidRequestError("policy.order", message)


def _names(field: str, given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) and name for name in given):
        raise InvalidRequestError(f"policy.{field}", f"The {field} of a policy are a list of names, or null for all.")
    if not 1 <= len(given) <= _MOST:
        message = f"A policy names 1 to {_MOST} {field}; null allows all, and an empty list would allow nothing."
        raise InvalidRequestError(f"policy.{field}", message)
    return tuple(given)
