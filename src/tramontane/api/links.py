"""Addresses of this server, as whoever asks it sees them."""

from __future__ import annotations

from starlette.requests import Request


def link_to(request: Request, path: str) -> str:
    """The whole address of a path that begins with a slash."""
    return f"{str(request.base_url).rstrip('/')}{path}"
