"""Who has an answer written."""

from __future__ import annotations

from dataclasses import dataclass, field

from tramontane.conversations.owner import Owner


@dataclass(frozen=True, slots=True)
class Asker:
    """The owner of a conversation at work, and what an answer's record says of the credential."""

    owner: Owner
    cache_salt: str = field(repr=False)  # the workspace's
    credential_name: str
