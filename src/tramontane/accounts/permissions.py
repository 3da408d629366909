"""What each role may do. A key may do no more than its user, and no more than its scopes say."""

from __future__ import annotations

from typing import Literal

from tramontane.accounts.principal import Principal
from tramontane.accounts.tables import Role
from tramontane.errors import NotAllowedError

Permission = Literal[
    "infer",  # ask models, and keep conversations
    "own_keys",  # make keys for oneself, see and end them
    "keys",  # see and end everybody's
    "usage",  # see what everybody used
    "members",  # invite, change roles, take out
    "workspaces",  # make and change them, with their policies
    "limits",
    "audit",
    "billing",  # see lots, transfers and statements
    "spend",  # change budgets, and lower the cap of pay-as-you-go
    "operate",  # providers, offerings, prices, deployments, settings: the operator's owners and admins
    "sell",  # credit, commitments and caps of any organisation: the operator's owners, admins and billing
]

_MEMBER = frozenset[Permission]({"infer"})
_DEVELOPER = _MEMBER | frozenset[Permission]({"own_keys", "usage"})
_BILLING = _MEMBER | frozenset[Permission]({"usage", "billing", "spend"})
_ADMIN = _DEVELOPER | frozenset[Permission]({"keys", "members", "workspaces", "limits", "audit", "billing"})
_OF_ROLE: dict[Role, frozenset[Permission]] = {
    "member": _MEMBER,
    "developer": _DEVELOPER,
    "billing": _BILLING,
    "admin": _ADMIN,
    "owner": _ADMIN | _BILLING,
}
_OF_OPERATOR: dict[Role, frozenset[Permission]] = {
    "owner": frozenset({"operate", "sell"}),
    "admin": frozenset({"operate", "sell"}),
    "billing": frozenset({"sell"}),
}


def permissions_of(role: Role, is_operator: bool) -> frozenset[Permission]:
    """All that a role allows, in the operator's organisation or in another."""
    return _OF_ROLE[role] | (_OF_OPERATOR.get(role, frozenset()) if is_operator else frozenset())


def allows(principal: Principal, permission: Permission) -> bool:
    """Whether the role allows it."""
    return permission in permissions_of(principal.role, principal.is_operator)


def require(principal: Principal, permission: Permission) -> None:
    """Raises NotAllowedError."""
    if not allows(principal, permission):
        raise NotAllowedError(f"Your role, {principal.role}, does not allow this: ask an owner or admin.")
