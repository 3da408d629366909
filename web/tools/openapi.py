"""Prints what of the API's description the web app uses, without a server: `make api` makes the client's types from it.

The errors are left out: whatever is no success has one shape, which src/api/client.ts reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tramontane.api.app import create_routes
from tramontane.api.openapi import describe
from tramontane.api.platform import Platform
from tramontane.gateway.metrics import Metrics

# Paths that begin so are for programs.
_UNUSED = (
    *("/v1/chat", "/v1/fim", "/v1/completions", "/v1/embeddings", "/v1/responses"),
    *("/tokenize", "/detokenize", "/metrics", "/health", "/ready"),
)


def description() -> dict[str, Any]:
    """The part of what GET /openapi.json answers."""
    nobody: Any = None  # routes are described, not called
    whole = describe(create_routes(Platform(nobody, nobody, [], Metrics(), nobody)).routes)
    paths = {path: _successes(methods) for path, methods in whole["paths"].items() if not path.startswith(_UNUSED)}
    schemas = whole["components"]["schemas"]
    reached = _reached(paths, schemas, set())
    components = {"schemas": {name: schemas[name] for name in schemas if name in reached}}
    return {"openapi": whole["openapi"], "info": whole["info"], "paths": paths, "components": components}


def _successes(methods: dict[str, Any]) -> dict[str, Any]:
    return {
        method: {**operation, "responses": {code: r for code, r in operation["responses"].items() if code[0] == "2"}}
        for method, operation in methods.items()
    }


def _reached(part: Any, schemas: dict[str, Any], found: set[str]) -> set[str]:
    """The names of all schemas that a part refers to, directly or not."""
    for reference in _references(part):
        name = reference.rpartition("/")[2]
        if name not in found:
            found.add(name)
            _reached(schemas[name], schemas, found)
    return found


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


if __name__ == "__main__":
    print(json.dumps(description(), indent=1))
