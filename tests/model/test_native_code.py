"""C sources are compiled once, into a folder that only the user can write to; without a compiler, that is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tramontane.model.native_code import NoCompilerError, load_library


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "answer.c"
    path.write_text("int answer(void) { return 42; }")
    return path


def built(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "tramontane" / "native").iterdir())


def test_compiles_once(source: Path, tmp_path: Path) -> None:
    assert load_library(source, ()).answer() == 42
    (library,) = built(tmp_path)
    written = library.stat().st_mtime_ns
    assert load_library(source, ()).answer() == 42
    assert built(tmp_path) == [library]
    assert library.stat().st_mtime_ns == written


def test_a_changed_source_or_flag_is_compiled_anew(source: Path, tmp_path: Path) -> None:
    load_library(source, ())
    source.write_text("int answer(void) { return ANSWER; }")
    assert load_library(source, ("-DANSWER=43",)).answer() == 43
    assert len(built(tmp_path)) == 2


def test_a_source_that_does_not_compile_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    source.write_text("this is not C")
    with pytest.raises(NoCompilerError, match="failed"):
        load_library(source, ())
    assert built(tmp_path) == []


def test_without_a_compiler(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoCompilerError, match="no C compiler"):
        load_library(source, ())


def test_a_folder_that_others_can_write_to_is_not_trusted(source: Path, tmp_path: Path) -> None:
    load_library(source, ())
    os.chmod(tmp_path / "cache" / "tramontane" / "native", 0o777)
    with pytest.raises(NoCompilerError, match="written to by others"):
        load_library(source, ())
