"""The life of a model: Preview, Available, Legacy, Deprecated, Retired; announced by dates, and never cut short."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import get_args

from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.catalogue.moments import not_before
from tramontane.catalogue.tables import LifecycleRow, Stage
from tramontane.errors import InvalidRequestError
from tramontane.storage.statements import table_of, upserting

STAGES: tuple[Stage, ...] = get_args(Stage)
LEGACY_LASTS = timedelta(days=30)
DEPRECATED_LASTS = timedelta(days=90)

_DATED: tuple[Stage, ...] = ("legacy", "deprecated", "retired")
_LASTS: dict[Stage, timedelta] = {"legacy": LEGACY_LASTS, "deprecated": DEPRECATED_LASTS}


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Where a model stands, until the next of its dates has come."""

    stage: Stage = "available"
    legacy_at: datetime | None = None
    deprecated_at: datetime | None = None
    retired_at: datetime | None = None
    replacement: str | None = None

    def date_of(self, stage: Stage) -> datetime | None:
        """When a stage begins; None where nobody said, and for those that need no date."""
        return self.dates().get(f"{stage}_at")

    def dates(self) -> dict[str, datetime | None]:
        """When its stages begin, by the names of the fields."""
        return {"legacy_at": self.legacy_at, "deprecated_at": self.deprecated_at, "retired_at": self.retired_at}

    def at(self, moment: datetime) -> Stage:
        """The stage at a moment: on its date a stage has begun."""
        begun = [stage for stage in STAGES if (date := self.date_of(stage)) is not None and date <= moment]
        return max([self.stage, *begun], key=STAGES.index)


def lifecycle_of(row: LifecycleRow) -> Lifecycle:
    """What a row says."""
    return Lifecycle(row.stage, row.legacy_at, row.deprecated_at, row.retired_at, row.replacement)


def decide(row: LifecycleRow, life: Lifecycle) -> None:
    """Keeps a model's life."""
    row.stage, row.replacement = life.stage, life.replacement
    row.legacy_at, row.deprecated_at, row.retired_at = life.legacy_at, life.deprecated_at, life.retired_at


async def row_to_change(session: AsyncSession, model: str, known: Lifecycle) -> LifecycleRow:
    """The model's row, begun with what is known of its life, and nobody else's until the transaction ends."""
    insert = upserting(await session.connection())
    values = {"model": model, "stage": known.stage, "replacement": known.replacement, **known.dates()}
    await session.execute(insert(table_of(LifecycleRow)).values(values).on_conflict_do_nothing())
    return await session.get_one(LifecycleRow, model, with_for_update=True)


def changed(old: Lifecycle, new: Lifecycle, moment: datetime) -> Lifecycle:
    """What a change makes of a life: a stage that begins now gets its date, others must be announced in time.

    Raises InvalidRequestError where a stage would be skipped or shorter than promised, and for a date that is past.
    """
    reached = STAGES.index(new.stage)
    dates: dict[Stage, datetime | None] = {}
    for stage in _DATED:
        given, begun = new.date_of(stage), _begun(old, stage, moment)
        if STAGES.index(stage) < reached:
            dates[stage] = begun
        elif STAGES.index(stage) == reached:
            dates[stage] = begun or moment
        else:
            dates[stage] = None if given is None else not_before(f"{stage}_at", given, moment)
    for before, after in pairwise(_DATED):
        if dates[after] != _begun(old, after, moment):  # what has begun is not judged again
            _check_duration(before, dates[before], after, dates[after])
    return replace(new, legacy_at=dates["legacy"], deprecated_at=dates["deprecated"], retired_at=dates["retired"])


def _begun(old: Lifecycle, stage: Stage, moment: datetime) -> datetime | None:
    date = old.date_of(stage)
    return date if date is not None and date <= moment else None


def _check_duration(before: Stage, begins: datetime | None, after: Stage, ends: datetime | None) -> None:
    if ends is None:
        return
    days = _LASTS[before].days
    if begins is None:
        raise InvalidRequestError(
            f"{before}_at", f"A model is {before} for {days} days at least before it is {after}: say from when on."
        )
    if ends < begins + _LASTS[before]:
        earliest = (begins + _LASTS[before]).isoformat(timespec="minutes")
        raise InvalidRequestError(
            f"{after}_at", f"A model is {before} for {days} days at least: it can be {after} from {earliest} on."
        )
