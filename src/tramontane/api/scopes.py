"""What a key's scopes let through: route by route, and whatever is not named here only `manage`."""

from __future__ import annotations

from tramontane.accounts.principal import Principal
from tramontane.errors import NotAllowedError

INFERENCE = frozenset(
    {
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/fim/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/responses"),
        ("POST", "/tokenize"),
        ("POST", "/detokenize"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/{model_id:path}"),
    }
)
"""Asking models."""

_PRIVATE = ("/v1/conversations", "/v1/documents", "/v1/presets")  # a dashboard's key reads nobody's chats


def check_scopes(principal: Principal, method: str, path: str) -> None:
    """Raises NotAllowedError where a key's scopes do not reach a route; `path` as the route has it."""
    scopes = principal.scopes
    if scopes is None or "manage" in scopes:
        return
    if "inference" in scopes and (method, path) in INFERENCE:
        return
    if "read" in scopes and method in ("GET", "HEAD") and not path.startswith(_PRIVATE):
        return
    has = ", ".join(sorted(scopes))
    raise NotAllowedError(f"This key may not do that: its scopes are {has}. Use a key with the scope manage.", "scope")
