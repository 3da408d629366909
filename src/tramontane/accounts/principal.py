"""Who is asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tramontane.accounts.tables import Role


@dataclass(frozen=True)
class Principal:
    """A user at work in a workspace, and the credential that proved it."""

    organisation_id: str
    workspace_id: str
    user_id: str
    role: Role
    cache_salt: str = field(repr=False)  # the workspace's; who knows it could probe the workspace's prompts
    credential: Literal["key", "session"]
    credential_id: str
    credential_name: str
    is_operator: bool = False  # whether the organisation runs the installation
    scopes: frozenset[str] | None = None  # of a key; None: all
    models: frozenset[str] | None = None  # of a key; None: all
    policy: Mapping[str, Any] | None = None  # the workspace's, as `gateway.policy` reads it

    @property
    def key_id(self) -> str | None:
        """The API key's; None for a browser."""
        return self.credential_id if self.credential == "key" else None
