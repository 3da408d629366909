from __future__ import annotations

from collections import Counter

from tramontane.catalogue.known import known_licence, known_models, known_names
from tramontane.catalogue.repositories import folder_name, is_repository, repository_of


def test_names_are_unique_plain_and_lower_case() -> None:
    counts = Counter(name for model in known_models() for name in model.names)
    assert set(counts.values()) == {1}
    assert all(name == name.lower() and "/" not in name and "=" not in name and ":" not in name for name in counts)
    assert set(known_names()) == set(counts)


def test_repositories_are_unique_and_well_formed() -> None:
    repositories = [model.repository for model in known_models()]
    assert len(set(repositories)) == len(repositories)
    for repository in repositories:
        assert is_repository(repository)
        assert repository_of(folder_name(repository)) == repository
        assert known_licence(repository)


def test_each_half_of_a_name_may_be_long() -> None:
    assert is_repository(f"{'o' * 96}/{'n' * 96}")
    assert not is_repository(f"{'o' * 97}/n")
    assert not is_repository(f"o/{'n' * 97}")
    assert not is_repository("o/n\n")


def test_what_nobody_knows_has_no_licence() -> None:
    assert known_licence("winds/unknown") is None
