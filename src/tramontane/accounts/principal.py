"""Who is asking."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

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
