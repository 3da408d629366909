"""A policy is understood whole, or refused by the name of what was not."""

from __future__ import annotations

from typing import Any

import pytest

from tramontane.errors import InvalidRequestError
from tramontane.gateway.policy import ANY, Policy, parse_policy


def test_no_policy_allows_all() -> None:
    assert parse_policy(None) == parse_policy({}) == ANY == Policy(None, None, "price")


def test_a_policy_says_where_by_whom_and_in_which_order() -> None:
    given = {"regions": ["EU", "CH"], "operators": ["Winds"], "order": "latency"}
    assert parse_policy(given) == Policy(("EU", "CH"), ("Winds",), "latency")
    assert parse_policy({"regions": None, "operators": None, "order": None}) == ANY


@pytest.mark.parametrize(
    ("given", "field", "named"),
    [
        ({"region": ["EU"]}, "policy.region", "'region'"),
        ({"regions": ["Europe"]}, "policy.regions", "'Europe'"),
        ({"regions": ["fr"]}, "policy.regions", "'fr'"),
        ({"regions": "EU"}, "policy.regions", "list of names"),
        ({"regions": []}, "policy.regions", "empty list"),
        ({"regions": [None]}, "policy.regions", "list of names"),
        ({"operators": [""]}, "policy.operators", "list of names"),
        ({"operators": []}, "policy.operators", "empty list"),
        ({"order": "fastest"}, "policy.order", "'fastest'"),
        ({"order": ["price"]}, "policy.order", "price"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(given: dict[str, Any], field: str, named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named) as refused:
        parse_policy(given)
    assert refused.value.field == field
