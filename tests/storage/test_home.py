"""The data folder."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tramontane.storage.errors import StorageError
from tramontane.storage.home import home_folder


def test_is_made_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAMONTANE_HOME", str(tmp_path / "deep" / "home"))
    home = home_folder()
    assert home == tmp_path / "deep" / "home"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_an_existing_folder_stays_as_its_owner_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o750)
    monkeypatch.setenv("TRAMONTANE_HOME", str(tmp_path))
    assert stat.S_IMODE(home_folder().stat().st_mode) == 0o750


@pytest.mark.parametrize("chosen", ["", None])
def test_without_a_choice_it_is_the_platforms(
    chosen: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("TRAMONTANE_HOME", raising=False)
    if chosen is not None:
        monkeypatch.setenv("TRAMONTANE_HOME", chosen)
    assert home_folder() == tmp_path / "tramontane"


def test_what_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("TRAMONTANE_HOME", str(path))
        with pytest.raises(StorageError, match=f"{path} cannot be made .*: set TRAMONTANE_HOME"):
            home_folder()
