"""Who has an answer written."""

from __future__ import annotations

from dataclasses import dataclass

from tramontane.accounts.principal import Principal
from tramontane.conversations.owner import Owner


@dataclass(frozen=True, slots=True)
class Asker:
    """The owner of a conversation at work, and the principal for whom models work and who pays."""

    owner: Owner
    principal: Principal
