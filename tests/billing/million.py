"""A million requests that were served and paid, written by the database itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tests.billing.tenants import Tenant
from tramontane.billing.tables import REVENUE
from tramontane.storage.base import now
from tramontane.storage.database import Database

REQUESTS = 1_000_000
DAYS = 60
AMOUNT = 9 * 10**15  # of the commitment that pays for all of them
RARE = "rare"  # a model that was asked once

_SQLITE = {
    "numbers": "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n)",
    "at": "strftime('%Y-%m-%d %H:%M:%f', {second}, 'unixepoch') || '000'",
    "id": "printf('%032x', {number})",
    "day": "substr(settled_at, 1, 10)",
}
_POSTGRESQL = {
    "numbers": "(SELECT generate_series(0, {last}) AS i) AS numbers",
    "at": "to_timestamp({second})",
    "id": "lpad(to_hex({number}), 32, '0')",
    "day": "(settled_at AT TIME ZONE 'UTC')::date",
}


async def fill(db: Database, tenant: Tenant, lot_id: str, requests: int = REQUESTS) -> None:
    """Usage of all workspaces and keys of the tenant over the last days, and their charges to the lot."""
    async with db.write() as session:
        await _fill(session, tenant, lot_id, requests)


async def _fill(session: AsyncSession, tenant: Tenant, lot_id: str, requests: int) -> None:
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    words = _SQLITE if is_sqlite else _POSTGRESQL
    start = (now() - timedelta(days=DAYS)).timestamp()
    second = f"({start} + i * {DAYS * 86_400 / requests})"
    at, numbers = words["at"].format(second=second), words["numbers"].format(last=requests - 1)
    usage_id, transfer_id = words["id"].format(number="i"), words["id"].format(number=f"i + {requests}")
    num_workspaces = len(tenant.workspace_ids)
    of_each = len(tenant.key_ids) // num_workspaces
    workspace = _one_of(tenant.workspace_ids, f"i % {num_workspaces}")
    key = _one_of(tenant.key_ids, f"i % {num_workspaces} * {of_each} + i / 7 % {of_each}")
    model = f"CASE WHEN i = 17 THEN '{RARE}' ELSE 'model ' || (i % 6) END"
    statements = [
        "INSERT INTO usage (id, organisation_id, workspace_id, key_id, user_id, route, model, offering_id, price_id, "
        "prompt_tokens, cached_tokens, output_tokens, amount, outcome, is_estimate, started_at, settled_at) "
        f"SELECT {usage_id}, '{tenant.organisation_id}', {workspace}, CASE WHEN i % 10 = 0 THEN NULL ELSE {key} END, "
        f"'{tenant.user_id}', '/v1/chat/completions', {model}, 'offering ' || (i % 2), 'price', 100 + i % 900, i % 50, "
        f"1 + i % 300, 1000 + i % 997, 'done', {'0' if is_sqlite else 'false'}, {at}, {at} FROM {numbers}",
        "INSERT INTO transfers (id, organisation_id, kind, usage_id, at) "
        f"SELECT {transfer_id}, '{tenant.organisation_id}', 'charge', {usage_id}, {at} FROM {numbers}",
        "INSERT INTO postings (transfer_id, account, amount) "
        f"SELECT {transfer_id}, '{lot_id}', -(1000 + i % 997) FROM {numbers}",
        "INSERT INTO postings (transfer_id, account, amount) "
        f"SELECT {transfer_id}, '{REVENUE}', 1000 + i % 997 FROM {numbers}",
        "INSERT INTO usage_days SELECT "
        f"{words['day']}, organisation_id, workspace_id, coalesce(key_id, ''), model, offering_id, count(*), "
        "sum(prompt_tokens), sum(cached_tokens), sum(output_tokens), sum(amount) FROM usage GROUP BY 1, 2, 3, 4, 5, 6",
        f"UPDATE lots SET balance = balance + (SELECT sum(amount) FROM postings WHERE account = '{lot_id}' "
        "AND amount < 0)",
    ]
    if not is_sqlite:  # which would keep a million versions of each sum until the end of the transaction
        statements.insert(0, "ALTER TABLE postings DISABLE TRIGGER lot_hours_add")
        statements += [
            "INSERT INTO lot_hours SELECT account, date_trunc('hour', at, 'UTC'), kind, sum(amount) FROM postings "
            f"JOIN transfers ON transfers.id = transfer_id WHERE account = '{lot_id}' AND kind = 'charge' "
            "GROUP BY 1, 2, 3",
            "ALTER TABLE postings ENABLE TRIGGER lot_hours_add",
        ]
    for statement in statements:
        await session.execute(text(statement.replace(":", r"\:")))


def _one_of(values: tuple[str, ...], number: str) -> str:
    cases = " ".join(f"WHEN {place} THEN '{value}'" for place, value in enumerate(values))
    return f"CASE {number} {cases} END"


def bought_at() -> datetime:
    """Before anything was used."""
    return datetime.now(UTC) - timedelta(days=DAYS + 1)
