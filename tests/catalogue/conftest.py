from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.catalogue.fake_hub import FakeHub, release, running_hub


@pytest.fixture(scope="session")
def hf_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return release("hf", tmp_path_factory.mktemp("hf"))


@pytest.fixture(scope="session")
def native_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return release("native", tmp_path_factory.mktemp("native"))


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    for name in ("HF_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with running_hub() as hub:
        yield hub
