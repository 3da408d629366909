"""The data on the family: every name means one model, and whatever it points to exists."""

from __future__ import annotations

import re
from collections import Counter

from tramontane.catalogue.family import by_name, family, find
from tramontane.catalogue.lifecycle import STAGES
from tramontane.catalogue.repositories import is_repository
from tramontane.storage.base import now

ABILITIES = {"chat", "completion", "fim", "tools", "reasoning", "embeddings", "vision", "code"}


def test_every_name_means_one_model() -> None:
    counts = Counter(name for model in family() for name in model.names)
    assert set(counts.values()) == {1}
    for name in counts:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]+", name)
        assert by_name()[name] is find(name)
    for alias in ("mistral-small-latest", "mistral-large-latest", "open-mixtral-8x7b", "codestral-latest"):
        assert alias in counts


def test_what_is_pointed_to_exists() -> None:
    for model in family():
        if model.announced.replacement is not None:
            assert by_name()[model.announced.replacement].name == model.announced.replacement != model.name
        if model.repository is not None:
            assert is_repository(model.repository)
            assert find(model.repository) is find(model.repository.upper()) is model  # as the hub takes it
        urls = [document.url for document in model.documents] + [model.licence.url or ""]
        assert all(re.match(r"https://(mistral\.ai|legal\.mistral\.ai|huggingface\.co|arxiv\.org|www\.apache\.org)/", u)
                   for u in urls)  # fmt: skip


def test_facts_are_consistent() -> None:
    for model in family():
        assert model.maker == "Mistral AI"
        assert model.summary.endswith(".")
        assert model.abilities
        assert set(model.abilities) <= ABILITIES
        assert len(set(model.languages)) == len(model.languages)
        assert (model.repository is None) == (model.file_formats == ()) == (model.licence.name == "Commercial terms")
        if model.parameters is not None:
            assert 10**9 < (model.active_parameters or 0) <= model.parameters
        assert model.max_context is None or 4096 <= model.max_context <= 10**6
        assert model.released is not None
        dates = [d for d in (model.announced.deprecated_at, model.announced.retired_at) if d is not None]
        assert dates == sorted(dates)
        assert all(date.date() > model.released for date in dates)
        assert model.announced.stage in STAGES


def test_weights_that_were_published_are_never_retired_by_their_makers() -> None:
    for model in family():
        stage = model.lifecycle.at(now())
        if model.repository is not None:
            assert stage in ("preview", "available", "legacy")
        elif model.announced.retired_at is not None and model.announced.retired_at <= now():
            assert stage == "retired"
    mixtral = by_name()["open-mixtral-8x7b"]
    assert mixtral.lifecycle.at(now()) == "legacy"
    assert mixtral.lifecycle.legacy_at == mixtral.announced.deprecated_at


def test_which_licences_are_to_be_accepted() -> None:
    free = find("mistral-small-3.2")
    assert free is not None
    assert not free.licence.needs_acceptance
    assert find("winds/unknown") is None
    for name in ("codestral-22b", "mistralai/Codestral-22B-v0.1"):
        model = find(name)
        assert model is not None
        licence = model.licence
        assert (licence.name, licence.allows_production, licence.needs_acceptance) == ("MNPL-0.1", False, True)
    assert all(model.licence.needs_acceptance for model in family() if not model.licence.allows_production)
