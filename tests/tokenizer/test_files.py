"""A folder's tokenizer is found, the newest first; what is missing is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.tokenizers import SPM_V1, SPM_V2, SPM_V3, SPM_V7, write_tekken
from tramontane.errors import TokenizerError
from tramontane.tokenizer.files import find_tokenizer_file
from tramontane.tokenizer.tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["tokenizer.model"], "tokenizer.model"),
        (["tokenizer.model", "tokenizer.model.v3", "tokenizer.json"], "tokenizer.model.v3"),
        (["tokenizer.model.v1", "tokenizer.model.v7", "tokenizer.model.v3"], "tokenizer.model.v7"),
        (["tokenizer.model.v3", "tokenizer.model.v11"], "tokenizer.model.v11"),
        (
            ["mistral_instruct_tokenizer_241114.model.v7m1", "config.json"],
            "mistral_instruct_tokenizer_241114.model.v7m1",
        ),
        (["tokenizer.model.v7", "tekken.json"], "tekken.json"),
        (["tekken_240718.json", "tekken_240911.json"], "tekken_240911.json"),
        (["tekken_240911.json", "tekken.json"], "tekken.json"),
    ],
)
def test_the_newest_file_is_taken(tmp_path: Path, names: list[str], found: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert find_tokenizer_file(tmp_path).name == found


def test_a_folder_with_only_a_hugging_face_tokenizer_says_so(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").touch()
    with pytest.raises(TokenizerError, match=r"only a Hugging Face tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)


def test_an_empty_and_an_absent_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="has no tokenizer"):
        Tokenizer.from_folder(tmp_path)
    with pytest.raises(TokenizerError, match="There is no folder"):
        Tokenizer.from_folder(tmp_path / "absent")


@pytest.mark.parametrize(("source", "version"), [(SPM_V1, 1), (SPM_V2, 2), (SPM_V3, 3), (SPM_V7, 7)])
def test_a_bare_tokenizer_model_tells_its_version_by_its_control_tokens(
    tmp_path: Path, source: Path, version: int
) -> None:
    shutil.copy(source, tmp_path / "tokenizer.model")
    assert Tokenizer.from_folder(tmp_path).version == version


def test_a_name_that_claims_more_than_the_file_has_is_refused(tmp_path: Path) -> None:
    shutil.copy(SPM_V1, tmp_path / "tokenizer.model.v3")
    with pytest.raises(TokenizerError, match=r"v3 but lacks \[INST\]"):
        Tokenizer.from_folder(tmp_path)
    shutil.copy(SPM_V3, tmp_path / "tokenizer.model.v5")
    with pytest.raises(TokenizerError, match="v5 is not a known version"):
        Tokenizer.from_folder(tmp_path)


def test_a_version_above_the_control_tokens_of_a_tekken_file_is_refused(tmp_path: Path) -> None:
    path = write_tekken(tmp_path, 7)
    path.write_text(path.read_text().replace('"version": "v7"', '"version": "v13"'))
    with pytest.raises(TokenizerError, match=r"v13 but lacks \[ARGS\], \[CALL_ID\]"):
        Tokenizer.from_file(path)


def test_special_tokens_out_of_order_are_refused(tmp_path: Path) -> None:
    path = write_tekken(tmp_path, 13)
    data = json.loads(path.read_text())
    data["special_tokens"].sort(key=lambda token: token["token_str"])
    path.write_text(json.dumps(data))
    with pytest.raises(TokenizerError, match="not in the order of their ranks"):
        Tokenizer.from_file(path)


def test_a_v15_file_without_its_settings_is_refused(tmp_path: Path) -> None:
    path = write_tekken(tmp_path, 15)
    data = json.loads(path.read_text())
    del data["model_settings_builder"]
    path.write_text(json.dumps(data))
    with pytest.raises(TokenizerError, match="lacks its model_settings_builder"):
        Tokenizer.from_file(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tekken.json", b""),
        ("tekken.json", b"{}"),
        ("tekken.json", b"[1, 2]"),
        ("tekken.json", b'{"config": {"version": "v99"}, "vocab": []}'),
        ("tekken.json", b'{"config": {"version": "v3"}, "vocab": []}'),
        ("tekken.json", b"[" * 100_000),
        ("tekken.json", b"\xff\xfe\x00"),
        ("tokenizer.json", b'{"model": {"type": "BPE"}}'),
        ("tokenizer.model.v3", b""),
        ("tokenizer.model", b"not a model"),
        ("tokenizer.model", b"version https://git-lfs.github.com/spec/v1\n"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TokenizerError, match=name):
        Tokenizer.from_file(path)


def test_an_absent_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"tekken\.json"):
        Tokenizer.from_file(tmp_path / "tekken.json")
