"""This machine's own engine, as tests of this room use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.live import write_tekken_model
from tramontane.gateway.providers.local.provider import LocalOptions, LocalProvider
from tramontane.gateway.providers.local.sources import open_folder


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalProvider]:
    """A small model of random weights, called m."""
    folder = write_tekken_model(tmp_path_factory.mktemp("model"), 11)
    made = LocalProvider([open_folder("m", folder)], LocalOptions(kv_memory_bytes=16 * 2**20))
    made.load()
    yield made
    made.close()
