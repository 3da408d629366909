"""One server for all tests of the API, with a model of each template."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accounts.identity_provider import CLIENT_ID, CLIENT_SECRET, Idp, running_idp
from tests.api.live import (
    LiveServer,
    serve,
    write_embedder,
    write_spm_model,
    write_tekken_model,
    write_tekken_v3_model,
)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Models "small" (SentencePiece v3), "tekken" (v3), "v11", "v13", "v15", "embedder", and "org/slashed"."""
    models = write_models(tmp_path_factory.mktemp("models"))
    arguments = [f"--model={name}={folder}" for name, folder in models.items()]
    with serve(*arguments, "--kv-memory=512MiB", home=tmp_path_factory.mktemp("home")) as live:
        yield live
        # Whatever the tests asked for, nothing of it surprised the server.
        assert not [line for line in live.log if "traceback" in line or line["level"] == "error"]


@pytest.fixture(scope="session")
def idp() -> Iterator[Idp]:
    """The identity provider of `platform_server`."""
    with running_idp() as running:
        yield running


@pytest.fixture(scope="session")
def platform_server(tmp_path_factory: pytest.TempPathFactory, idp: Idp) -> Iterator[LiveServer]:
    """For tests of accounts: with one model, "small", an identity provider, and people whom the tests make."""
    model = write_tekken_model(tmp_path_factory.mktemp("model"), 13)
    env = {
        "TRAMONTANE_OIDC_ISSUER": idp.issuer,
        "TRAMONTANE_OIDC_CLIENT_ID": CLIENT_ID,
        "TRAMONTANE_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "TRAMONTANE_OIDC_NAME": "Example login",
    }
    home = tmp_path_factory.mktemp("home")
    with serve(f"--model=small={model}", "--kv-memory=8MiB", home=home, env=env) as live:
        yield live
        assert not [line for line in live.log if "traceback" in line or line["level"] == "error"]


def write_models(folder: Path) -> dict[str, Path]:
    """The models by name, each in a folder of its own."""
    versions = {name: write_tekken_model(folder / name, int(name[1:])) for name in ("v11", "v13", "v15")}
    return {
        "small": write_spm_model(folder / "small"),
        "tekken": write_tekken_v3_model(folder / "tekken"),
        **versions,
        "embedder": write_embedder(folder / "embedder"),
        "org/slashed": versions["v11"],
    }
