from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tramontane.catalogue.regions import EEA, EU, is_within, known, known_rule

codes = st.sampled_from(["FR", "DE", "NO", "IS", "CH", "GB", "US", "EU"])


def test_the_unions() -> None:
    assert len(EU) == 27
    assert {"IS", "LI", "NO"} == EEA - EU
    assert all(known(code) and known_rule(code) for code in EEA)
    assert known("EU")
    assert not known("EEA")  # nothing is somewhere in it without being in a country or the Union
    assert known_rule("EEA")
    assert not any(known(text) or known_rule(text) for text in ("", "fr", "XX", "Europe", "UK", "EU-WEST"))


@given(st.none() | codes, st.lists(codes | st.just("EEA")))
def test_within_means_named_or_a_member(region: str | None, allowed: list[str]) -> None:
    by_hand = region in allowed or (
        ("EU" in allowed and (region in EU)) or ("EEA" in allowed and (region in EEA or region == "EU"))
    )
    assert is_within(region, allowed) == (region is not None and by_hand)


def test_what_is_not_declared_is_nowhere() -> None:
    assert not is_within(None, ["EU", "FR"])
    assert not is_within("EU", ["FR", "DE"])  # somewhere in the Union may be elsewhere in it
    assert is_within("EU", ["EU"])
    assert not is_within("CH", ["EEA"])
