from __future__ import annotations

from pathlib import Path

import pytest

from tramontane.catalogue.references import named, parse_published, parse_reference
from tramontane.errors import TramontaneError

REPOSITORY = "mistralai/Mistral-7B-Instruct-v0.3"


def checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_a_folder(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "my-model")
    reference = parse_reference(str(folder), tmp_path)
    assert (reference.kind, reference.name, reference.require_folder()) == ("folder", "my-model", folder)
    assert parse_reference("../my-model/.", tmp_path).name == "my-model"
    assert parse_reference("../my-model", tmp_path).require_folder().samefile(folder)


def test_a_folder_without_a_checkpoint_is_for_the_checkpoint_to_complain_of(tmp_path: Path) -> None:
    assert parse_reference(str(tmp_path), tmp_path).require_folder() == tmp_path


def test_a_folder_with_a_name(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "a=b")
    named = parse_reference(f"wind:2026/v1={folder}", tmp_path)
    assert (named.kind, named.name, named.require_folder()) == ("folder", "wind:2026/v1", folder)
    assert parse_reference(str(folder), tmp_path).name == "a=b"  # the folder is there as it is written


@pytest.mark.parametrize("text", ["=folder", "a b=folder", "-x=folder", "\x1b=folder", "name="])
def test_a_malformed_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(TramontaneError, match="name=folder"):
        parse_reference(text, tmp_path)


def test_a_short_name_is_served_as_typed(tmp_path: Path) -> None:
    reference = parse_reference("open-mistral-7b", tmp_path)
    assert (reference.kind, reference.name, reference.repository) == ("hub", "open-mistral-7b", REPOSITORY)
    assert reference.folder == tmp_path / "models" / "mistralai--Mistral-7B-Instruct-v0.3"
    assert parse_reference("Open-Mistral-7B", tmp_path).repository == REPOSITORY


def test_a_repository(tmp_path: Path) -> None:
    reference = parse_reference("winds/Mistral-1M", tmp_path)
    assert (reference.kind, reference.name, reference.repository) == ("hub", "winds/Mistral-1M", "winds/Mistral-1M")


@pytest.mark.parametrize("text", ["open-mistral-7b", "winds/Mistral-1M"])
def test_nothing_is_downloaded_unasked(tmp_path: Path, text: str) -> None:
    reference = parse_reference(text, tmp_path)
    with pytest.raises(TramontaneError, match=f"run `tramontane pull {text}` first"):
        reference.require_folder()
    assert reference.folder is not None
    reference.folder.mkdir(parents=True)
    assert reference.require_folder() == reference.folder


def test_a_folder_wins_over_a_repository_only_with_a_checkpoint(tmp_path: Path) -> None:
    folder = Path("winds/Mistral-1M")
    folder.mkdir(parents=True)
    assert parse_reference("winds/Mistral-1M", tmp_path).kind == "hub"
    (folder / "params.json").touch()
    assert parse_reference("winds/Mistral-1M", tmp_path).kind == "folder"


def test_random_weights_of_a_shape(tmp_path: Path) -> None:
    reference = parse_reference("random:tiny-15m", tmp_path)
    assert (reference.kind, reference.name, reference.shape) == ("random", "tiny-15m", "tiny-15m")
    with pytest.raises(TramontaneError, match="random weights"):
        reference.require_folder()
    with pytest.raises(TramontaneError, match="no model is called 'tiny'"):
        parse_reference("random:tiny", tmp_path)


def test_who_may_not_look_around_names_no_folder(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "my-model")
    checkpoint(Path("winds/Mistral-1M"))
    for text in (str(folder), f"x={folder}", "../my-model", ".", "~", "", "random:tiny-15m/../x"):
        with pytest.raises(TramontaneError):
            parse_published(text, tmp_path)
    assert parse_published("winds/Mistral-1M", tmp_path).kind == "hub"  # whatever lies in the server's folder
    assert parse_published("random:tiny-15m", tmp_path).kind == "random"
    assert parse_published("brise", tmp_path).require_folder()
    renamed = named(parse_published("open-mistral-7b", tmp_path), "winds/seven")
    assert (renamed.name, renamed.repository) == ("winds/seven", REPOSITORY)
    with pytest.raises(TramontaneError, match="letters"):
        named(renamed, "a b")


def test_an_unknown_word_gets_the_nearest_names(tmp_path: Path) -> None:
    with pytest.raises(TramontaneError, match=r"No model is called 'mistrl-smal': did you mean mistral-small"):
        parse_reference("mistrl-smal", tmp_path)
    with pytest.raises(TramontaneError, match="write a folder, owner/name, or a short name"):
        parse_reference("zzzz", tmp_path)
    with pytest.raises(TramontaneError, match="No model is called ''"):
        parse_reference("", tmp_path)


@pytest.mark.parametrize("text", ["/nowhere", "./nowhere", "~/nowhere-at-all", "name=/nowhere"])
def test_a_folder_that_is_not_there(tmp_path: Path, text: str) -> None:
    with pytest.raises(TramontaneError, match="No model folder"):
        parse_reference(text, tmp_path).require_folder()
