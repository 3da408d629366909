"""Where a request may go, in which order, and why not elsewhere: pure functions of what is known at the moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tramontane.catalogue.directory import Offering, Resolved
from tramontane.catalogue.prices import Price
from tramontane.catalogue.regions import is_within
from tramontane.errors import (
    NotAllowedError,
    PaymentRequiredError,
    TramontaneError,
    UnavailableError,
    UnknownModelError,
)
from tramontane.gateway.policy import Policy

Why = Literal["retired", "rule", "off", "price", "down"]

Hindrance = tuple[Literal["off", "down"], str]
"""Why an offering cannot serve at the moment, by choice or not; the reason is a clause."""

# Of the tokens of a usual request three are prompt for each one that is answer.
_PROMPT_SHARE = 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offering that a request may go to, at this price; `reason` says, as a clause, what its place is owed to."""

    offering: Offering
    price: Price
    reason: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An offering that it may not or cannot go to; `reason` is a clause."""

    offering: Offering
    why: Why
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The offerings to be tried, in this order, and the others."""

    order: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]


def plan(
    resolved: Resolved,
    offerings: Iterable[Offering],
    policy: Policy,
    moment: datetime,
    hindrances: Mapping[str, Hindrance],
    latencies: Mapping[str, float],
) -> Plan:
    """`hindrances` and `latencies`, in seconds to the first token, are by the offerings' ids."""
    candidates: list[Candidate] = []
    left_out: list[LeftOut] = []
    for offering in offerings:
        found = _judge(resolved, offering, policy, moment, hindrances.get(offering.id))
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            candidates.append(Candidate(offering, found, _merit(policy, found, latencies.get(offering.id))))
    match policy.order:
        case "price":
            candidates.sort(key=lambda candidate: blended(candidate.price))
        case "latency":  # what has not been measured is tried, else it never would be
            candidates.sort(key=lambda candidate: latencies.get(candidate.offering.id, 0.0))
    return Plan(tuple(candidates), tuple(left_out))


def _merit(policy: Policy, price: Price, latency: float | None) -> str:
    match policy.order:
        case "price":
            return (
                f"by price: {blended(price) / (_PROMPT_SHARE + 1) / 1e9:.4g} € for a million tokens, as they are mixed"
            )
        case "latency":
            measured = "not measured yet" if latency is None else f"{latency * 1e3:.0f} ms"
            return f"by time to the first token: {measured}"
    return "in the order in which they were made"


def blended(price: Price) -> int:
    """By what prices are compared: three tokens of input for each one of output."""
    return _PROMPT_SHARE * price.input + price.output


def refusal(resolved: Resolved, made: Plan) -> TramontaneError | None:
    """Why a request for a model can go nowhere; None where it can. What would be right the soonest comes first."""
    reasons = {why: _joined(made, why) for why in ("down", "price", "rule", "retired", "off")}
    model = resolved.model[:200]
    if made.order:
        return None
    if reasons["down"]:
        return UnavailableError(f"No offering of {model!r} can serve now: {reasons['down']}.", "no_route_available")
    if reasons["price"]:
        return PaymentRequiredError(f"{model!r} has no price at present, so it serves nobody.", "no_price")
    if reasons["rule"]:
        message = f"This workspace's policy allows no offering of {model!r}: {reasons['rule']}."
        return NotAllowedError(message, "no_route_allowed")
    if reasons["retired"]:
        instead = f": use {resolved.replacement!r}" if resolved.replacement else ""
        return UnknownModelError(f"The model {model!r} has been retired{instead}.")
    return UnknownModelError(f"The model {model!r} is known, and nothing serves it here now: {reasons['off']}.")


def _joined(made: Plan, why: Why) -> str:
    reasons = dict.fromkeys(left.reason for left in made.left_out if left.why == why)
    return "; ".join(reasons)


def _judge(
    resolved: Resolved, offering: Offering, policy: Policy, moment: datetime, hindrance: Hindrance | None
) -> Price | LeftOut:
    """Its price, where a request may go there. Rules come first: nothing else is said of what may not be used."""
    if resolved.stage == "retired":
        return LeftOut(offering, "retired", "the model has been retired")
    broken = _broken_rule(offering, policy)
    if broken is not None:
        return LeftOut(offering, "rule", broken)
    if not offering.provider.enabled:
        return LeftOut(offering, "off", "its provider is switched off")
    if not offering.enabled:
        return LeftOut(offering, "off", "it is switched off")
    price = offering.price_at(moment)
    if price is None:
        return LeftOut(offering, "price", "it has no price at present")
    if hindrance is not None:
        return LeftOut(offering, *hindrance)
    return price


def _broken_rule(offering: Offering, policy: Policy) -> str | None:
    """The rule that keeps a request from an offering; the fuzz in the tests holds this to its word."""
    region, operator = offering.provider.region, offering.provider.operator
    if policy.regions is not None and not is_within(region, policy.regions):
        allowed = ", ".join(policy.regions)
        if region is None:
            return f"its region is not declared, and only {allowed} is allowed"
        return f"its region {region} is not within {allowed}"
    if policy.operators is not None and operator not in policy.operators:
        return f"its operator {operator} is not among those that are allowed ({', '.join(policy.operators)})"
    return None
