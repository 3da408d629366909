from __future__ import annotations

from pathlib import Path

import pytest

from tramontane.catalogue.record import Facts, HubFile, Record, read_record
from tramontane.catalogue.store import ModelStore
from tramontane.errors import TramontaneError

NAME = "winds/Mistral-1M"


def record(*paths: str, facts: Facts | None = None) -> Record:
    files = tuple(HubFile(path, 3, "git:" + "0" * 40) for path in paths)
    return Record(NAME, "c" * 40, "apache-2.0", "2026-11-01T00:00:00+00:00", files, facts)


def put(store: ModelStore, *paths: str) -> None:
    """A model with these files of three bytes."""
    for path in paths:
        file = store.partial(NAME) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"xyz")
    store.install(record(*paths))


def test_an_empty_home_has_no_models(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "not-yet")
    assert store.list() == []
    assert store.find(NAME) is None


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = record("a", "1_Pooling/config.json", facts=Facts("native", "bfloat16", 7_000_000_000))
    written.write(tmp_path)
    assert read_record(tmp_path) == written


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 1}', "null", "\udcff"])
def test_a_spoilt_record_is_no_record_and_the_model_still_listed(tmp_path: Path, text: str) -> None:
    store = ModelStore(tmp_path)
    put(store, "a")
    (store.folder(NAME) / "tramontane.json").write_bytes(text.encode(errors="surrogateescape"))
    (model,) = store.list()
    assert (model.name, model.revision, model.parameters) == (NAME, None, None)
    store.delete(NAME)
    assert store.list() == []


def test_installing_leaves_only_what_the_record_names(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    for stale in ("old.part", "old/deep/file"):
        (store.partial(NAME) / stale).parent.mkdir(parents=True, exist_ok=True)
        (store.partial(NAME) / stale).touch()
    put(store, "a", "1_Pooling/config.json")
    found = {str(path.relative_to(store.folder(NAME))) for path in store.folder(NAME).rglob("*") if path.is_file()}
    assert found == {"a", "1_Pooling/config.json", "tramontane.json"}
    assert not (store.folder(NAME) / "old").exists()


def test_only_folders_that_the_store_named_are_models(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    put(store, "a")
    models = tmp_path / "models"
    for other in ("plain", "a--b--c", "--", ".partial", "a--"):
        (models / other).mkdir(exist_ok=True)
    (models / "owner--link").symlink_to(tmp_path)
    (models / "owner--file").touch()
    assert [model.name for model in store.list()] == [NAME]
    assert store.find("owner/link") is None


def test_delete(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    put(store, "a")
    (store.partial(NAME)).mkdir()
    (store.partial(NAME) / "x.part").touch()
    store.delete(NAME)
    assert store.list() == []
    assert not store.partial(NAME).exists()
    assert not (tmp_path / "models" / ".trash").exists()
    with pytest.raises(TramontaneError, match="No model 'winds/Mistral-1M' is here"):
        store.delete(NAME)


@pytest.mark.parametrize("name", ["../../precious", "..", "a/../../precious", "/precious", "precious", "a/b/../c", ""])
def test_delete_cannot_be_led_out_by_a_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "precious").mkdir()
    with pytest.raises(TramontaneError, match="is not the name of a model"):
        ModelStore(tmp_path / "home").delete(name)
    assert (tmp_path / "precious").is_dir()


def test_delete_cannot_be_led_out_by_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    store = ModelStore(tmp_path / "home")
    store.folder(NAME).parent.mkdir(parents=True)
    store.folder(NAME).symlink_to(precious)
    with pytest.raises(TramontaneError, match="No model"):
        store.delete(NAME)
    store.folder(NAME).unlink()
    put(store, "a")
    (store.folder(NAME) / "inside").symlink_to(precious)
    store.delete(NAME)
    assert (precious / "file").is_file()


def test_no_delete_during_a_pull(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    put(store, "a")
    with store.lock(NAME), pytest.raises(TramontaneError, match="is being pulled already"):
        store.delete(NAME)
    assert store.find(NAME) is not None
