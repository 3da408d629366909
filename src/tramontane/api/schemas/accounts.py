"""Organisations, workspaces, members, keys and the audit log as the console reads and writes them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from tramontane.accounts.tables import Role
from tramontane.conversations.plain_text import storable

Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(storable)]
Email = Annotated[str, Field(min_length=3, max_length=320, pattern=r"^[^\s@]+@[^\s@]+$"), AfterValidator(storable)]
Password = Annotated[str, Field(min_length=1, max_length=1000)]
KeyScope = Literal["inference", "read", "manage"]
"""`inference`: models; `read`: also usage, billing and the catalogue; `manage`: whatever the key's user may do."""


class WorkspaceRef(BaseModel):
    """A workspace by its name."""

    id: str
    name: str
    organisation_name: str


class Me(BaseModel):
    """Who is signed in, and what this user may do here."""

    user_id: str
    user_name: str
    email: str | None
    has_password: bool
    workspace_id: str
    workspace_name: str
    organisation_id: str
    organisation_name: str
    is_operator: bool = Field(description="Whether this organisation runs the installation.")
    role: Role
    workspaces: list[WorkspaceRef] = Field(description="Of this and the user's other organisations.")
    permissions: list[str] = Field(description="What the role allows: see docs/platform.md.")


class MeChange(BaseModel):
    """What of oneself is to change."""

    name: Name | None = None
    email: Email | None = None


class PasswordChange(BaseModel):
    """A new password; the old one where there is one."""

    current: Password | None = None
    new: Password


class WorkspaceChoice(BaseModel):
    """In which workspace this browser goes on."""

    workspace_id: str = Field(max_length=200)


class SignInOptions(BaseModel):
    """How one may sign in."""

    password: bool
    oidc: str | None = Field(description="The name of the identity provider, where there is one.")
    registration: bool


class SignIn(BaseModel):
    """By password."""

    email: Annotated[str, Field(max_length=320), AfterValidator(storable)]
    password: Password


class Registration(BaseModel):
    """Somebody who wants to try it."""

    name: Name
    email: Email
    password: Password


class Organisation(BaseModel):
    """Who pays."""

    id: str
    name: str
    is_operator: bool
    created_at: datetime


class OrganisationList(BaseModel):
    """All of them, for the operator."""

    data: list[Organisation]


class OrganisationDraft(BaseModel):
    """A new customer; its owner is invited by link."""

    name: Name


class OrganisationChange(BaseModel):
    """A new name."""

    name: Name


class OrganisationCreated(Organisation):
    """With the link by which its first owner comes in; shown once."""

    invitation_link: str


class RoutingPolicy(BaseModel):
    """Where a workspace's requests may go."""

    regions: list[Annotated[str, Field(max_length=8)]] | None = Field(
        None, description="Country codes, EU or EEA; null: anywhere."
    )
    operators: list[Annotated[str, Field(max_length=200)]] | None = Field(None, description="Companies; null: any.")
    order: Literal["price", "latency", "listed"] = "price"


class Workspace(BaseModel):
    """Where work is done."""

    id: str
    name: str
    created_at: datetime
    archived_at: datetime | None
    policy: RoutingPolicy | None
    num_keys: int


class WorkspaceList(BaseModel):
    """Of the organisation."""

    data: list[Workspace]


class WorkspaceDraft(BaseModel):
    """A new workspace."""

    name: Name


class WorkspaceChange(BaseModel):
    """What is to change; a null policy lifts it."""

    name: Name | None = None
    policy: RoutingPolicy | None = None
    archived: bool | None = None


class Member(BaseModel):
    """A user in an organisation."""

    user_id: str
    name: str
    email: str | None
    role: Role
    joined_at: datetime
    last_seen_at: datetime | None


class MemberList(BaseModel):
    """Of the organisation."""

    data: list[Member]


class MemberChange(BaseModel):
    """Another role."""

    role: Role


class InvitationDraft(BaseModel):
    """Whom to invite. Without an address whoever has the link may use it, once."""

    email: Email | None = None
    role: Role = "developer"


class Invitation(BaseModel):
    """A link that was made."""

    id: str
    email: str | None
    role: Role
    invited_by: str
    created_at: datetime
    expires_at: datetime
    state: Literal["open", "accepted", "revoked", "expired"]


class InvitationCreated(Invitation):
    """With the link itself, shown once."""

    link: str


class InvitationList(BaseModel):
    """Of the organisation."""

    data: list[Invitation]


class InvitationView(BaseModel):
    """What who opens the link is told."""

    organisation: str
    invited_by: str
    role: Role
    email: str | None
    oidc: str | None


class InvitationAcceptance(BaseModel):
    """A new user accepts; who is signed in already accepts with an empty body."""

    name: Name | None = None
    email: Email | None = None
    password: Password | None = None


class ApiKey(BaseModel):
    """A key, without itself."""

    id: str
    name: str
    prefix: str
    workspace_id: str
    workspace_name: str
    user_id: str
    user_name: str
    scopes: list[KeyScope] | None = Field(description="Null: all that its user may do.")
    models: list[str] | None = Field(description="Null: all models.")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    rotated_from: str | None
    state: Literal["active", "expiring", "expired", "revoked"]


class ApiKeyList(BaseModel):
    """Of the organisation, or one's own for who may see no others."""

    data: list[ApiKey]


def _inference() -> list[KeyScope]:
    return ["inference"]


class ApiKeyDraft(BaseModel):
    """A new key. Its workspace is the present one unless it is named."""

    name: Name
    workspace_id: str | None = Field(None, max_length=200)
    scopes: list[KeyScope] | None = Field(default_factory=_inference, min_length=1, max_length=3)
    models: list[Annotated[str, Field(max_length=200)]] | None = Field(None, min_length=1, max_length=100)
    expires_at: AwareDatetime | None = None


class ApiKeyChange(BaseModel):
    """What is to change."""

    name: Name | None = None
    models: list[Annotated[str, Field(max_length=200)]] | None = Field(None, min_length=1, max_length=100)
    expires_at: AwareDatetime | None = None


class Rotation(BaseModel):
    """How long the old key goes on working beside the new one."""

    overlap_hours: int = Field(24, ge=0, le=24 * 90)


class ApiKeyCreated(ApiKey):
    """With the key itself, shown once."""

    key: str


class BrowserSession(BaseModel):
    """A browser that is signed in."""

    id: str
    workspace_name: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime
    is_current: bool


class BrowserSessionList(BaseModel):
    """One's own."""

    data: list[BrowserSession]


class AuditEntry(BaseModel):
    """Who did what, when, from where."""

    number: int
    at: datetime
    actor_id: str | None
    actor_name: str
    credential: str
    address: str
    action: str
    target_kind: str
    target_id: str
    detail: dict[str, Any]
    previous: str
    hash: str


class AuditPage(BaseModel):
    """The newest first; `next` is where the page after it begins."""

    data: list[AuditEntry]
    next: int | None


class AuditVerification(BaseModel):
    """Whether the chain of digests is whole."""

    entries: int
    is_whole: bool
    first_broken: int | None


class InstallationSettings(BaseModel):
    """What the operator sets for the whole installation."""

    self_registration: bool = Field(description="Whether anybody may register and try.")
    free_monthly_nano_euros: int = Field(ge=0, le=9 * 10**15, description="What each of them may spend in a month.")
    region: str | None = Field(None, max_length=8, description="Where this machine stands: a country's code.")
    operator: Name = Field(description="The company that runs this machine.")


class InstallationSettingsChange(BaseModel):
    """What is to change."""

    self_registration: bool | None = None
    free_monthly_nano_euros: int | None = Field(None, ge=0, le=9 * 10**15)
    region: str | None = Field(None, max_length=8)
    operator: Name | None = None
