"""Budgets: amounts of a month that warn as shares of them are spent. They warn, and stop nobody: limits do that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, and_, case, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.secrets import Secret, new_token
from tramontane.accounts.vault import Vault
from tramontane.accounts.workspaces import find_workspace
from tramontane.billing.months import month_of
from tramontane.billing.tables import Budget, MonthCount, WebhookCall
from tramontane.errors import ConflictError, InvalidRequestError, MissingError
from tramontane.outbound.client import Outbound
from tramontane.outbound.errors import OutboundError
from tramontane.storage.base import new_id, now

_MOST = 100  # of an organisation
_SECRET_PREFIX = "whsec_"

# Whose spending it is of, as `month_counts` has it.
_SCOPE = case((Budget.workspace_id.is_(None), "organisation"), else_="workspace")
_SCOPE_ID = func.coalesce(Budget.workspace_id, Budget.organisation_id)


@dataclass(frozen=True)
class Watched:
    """A budget, what was spent of it in a month (this one), and why its last call failed."""

    budget: Budget
    spend: int
    month: str
    last_problem: str | None = None

    @property
    def warned_percent(self) -> int:
        """The highest share that was warned of this month."""
        return self.budget.warned_percent if self.budget.warned_month == self.month else 0


def secret_context(budget_id: str) -> str:
    """What a budget's secret is bound to in the vault."""
    return f"budget {budget_id}"


def check_webhook(outbound: Outbound, url: str) -> None:
    """Raises InvalidRequestError for a URL that can never be called."""
    if not url.isprintable():
        raise InvalidRequestError("webhook_url", "webhook_url holds characters that no URL has: see that it is whole.")
    try:
        outbound.check(url, public_only=True)
    except (InvalidRequestError, OutboundError) as error:
        raise InvalidRequestError("webhook_url", str(error)) from None


async def list_budgets(session: AsyncSession, organisation_id: str) -> list[Watched]:
    """Of the organisation, by name."""
    watched = await _watch(session, Budget.organisation_id == organisation_id)
    problems = await _last_problems(session, organisation_id)
    return [replace(one, last_problem=problems.get(one.budget.id)) for one in watched]


async def watch_all(session: AsyncSession) -> list[Watched]:
    """All budgets of which something is spent this month."""
    return await _watch(session, MonthCount.spend > 0)


async def create_budget(
    session: AsyncSession,
    vault: Vault,
    organisation_id: str,
    *,
    name: str,
    workspace_id: str | None,
    amount: int,
    thresholds: Iterable[int],
    webhook_url: str | None,
) -> tuple[Watched, Secret | None]:
    """A budget, and the secret that its calls are signed with. Raises MissingError for the workspace."""
    if workspace_id is not None:
        await find_workspace(session, organisation_id, workspace_id)
    count = await session.scalar(select(func.count(Budget.id)).where(Budget.organisation_id == organisation_id))
    if (count or 0) >= _MOST:
        raise ConflictError(f"There are {_MOST} budgets already: delete one first.")
    budget_id = new_id()
    secret = None if webhook_url is None else Secret(_SECRET_PREFIX + new_token().reveal())
    made = Budget(
        id=budget_id,
        organisation_id=organisation_id,
        workspace_id=workspace_id,
        name=name,
        amount=amount,
        thresholds=sorted(set(thresholds)),
        webhook_url=webhook_url,
        encrypted_secret=None if secret is None else vault.encrypt(secret, secret_context(budget_id)),
    )
    session.add(made)
    await session.flush()
    return (await _watch(session, Budget.id == budget_id))[0], secret


async def delete_budget(session: AsyncSession, organisation_id: str, budget_id: str) -> None:
    """With what is still to be delivered; raises MissingError."""
    gone = delete(Budget).where(Budget.id == budget_id, Budget.organisation_id == organisation_id)
    if await session.scalar(gone.returning(Budget.id)) is None:
        raise MissingError("There is no such budget.")


async def _watch(session: AsyncSession, where: ColumnElement[bool]) -> list[Watched]:
    month = month_of(now())
    counts = and_(MonthCount.scope == _SCOPE, MonthCount.scope_id == _SCOPE_ID, MonthCount.month == month)
    query = select(Budget, func.coalesce(MonthCount.spend, 0)).outerjoin(MonthCount, counts).where(where)
    found = await session.execute(query.order_by(Budget.name, Budget.id))
    return [Watched(budget, spend, month) for budget, spend in found]


async def _last_problems(session: AsyncSession, organisation_id: str) -> dict[str, str]:
    """Of the newest calls, where these have not been delivered."""
    newest = (
        select(WebhookCall.budget_id, func.max(WebhookCall.id).label("id"))
        .join(Budget, Budget.id == WebhookCall.budget_id)
        .where(Budget.organisation_id == organisation_id, WebhookCall.attempts > 0)
        .group_by(WebhookCall.budget_id)
        .subquery()
    )
    query = select(WebhookCall.budget_id, WebhookCall.last_problem).join(newest, newest.c.id == WebhookCall.id)
    found = await session.execute(query.where(WebhookCall.delivered_at.is_(None)))
    return {budget_id: problem for budget_id, problem in found if problem is not None}
