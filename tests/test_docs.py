"""What the documentation must not forget: every route, and every option and variable of the server."""

from __future__ import annotations

import inspect
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from tramontane.api.app import ROUTERS
from tramontane.cli.serve import serve

ROOT = Path(__file__).parent.parent
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def routes() -> list[str]:
    found = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert len(found) > 10
    return [f"{method} {route.path}".replace(":path", "") for route in found for method in route.methods]


@pytest.mark.parametrize("route", routes())
def test_every_route_is_documented(route: str) -> None:
    assert f"`{route}`" in API


@pytest.mark.parametrize("option", inspect.signature(serve).parameters)
def test_every_option_of_the_server_is_documented(option: str) -> None:
    assert f"`--{option.replace('_', '-')}`" in API


def test_every_environment_variable_is_documented() -> None:
    listed = subprocess.run(
        ["git", "grep", "-hoE", '"TRAMONTANE_[A-Z_]+"', "--", "src"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    variables: set[Any] = set(re.findall(r"TRAMONTANE_[A-Z_]+", listed.stdout))
    assert "TRAMONTANE_HOME" in variables
    assert not [name for name in variables if name not in API]
