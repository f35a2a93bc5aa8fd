"""What retention does for partitioned events: months made ahead, old months dropped as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from automate_core.errors import AutomateError
from automate_core.ids import uuid7_floor
from django.db import DatabaseError
from django.db.models import QuerySet

from automate.partitions.catalog import BOUND, PRUNED, Catalog, Partition, time_of
from automate.partitions.conversion import MONTHS_AHEAD, SAFE, attach_month
from automate.partitions.locks import locking
from automate.partitions.months import bounds, month_of, months, name_of
from automate.retention.due import Due, held_events
from automate.retention.walk import Progress, delete

if TYPE_CHECKING:
    from automate.models import Decision, Execution
    from automate.retention import Report
    from automate.retention.turns import Turns

__all__ = ["expire", "expired", "maintain", "missing_months", "unfinished"]

_TRIES = 3


def missing_months(partitions: list[Partition], now: datetime) -> list[datetime]:
    """Return the months from now on that have no partition and should.

    Args:
        partitions: Those that are there.
        now: The time.
    """
    taken = [part for part in partitions if not part.is_default]
    wanted = months(month_of(now), MONTHS_AHEAD + 1)
    return [month for month in wanted if not any(part.holds(str(bounds(month)[0])) for part in taken)]


def unfinished(using: str, now: datetime) -> list[str]:
    """Say whether a conversion was begun and not finished.

    Args:
        using: Alias of the database.
        now: The time.
    """
    from django.db import connections

    bound = Catalog(using).bound() if connections[using].vendor == "postgresql" else None
    if bound is None:
        return []
    when = time_of(bound[0])
    late = "; no event can be written from then on" if when > now else "; no event can be written"
    return [f"a conversion to partitions was not finished, and bounds the events by {when:%Y-%m-%d}{late}: run "
            "'automate partition events' again."]  # fmt: skip


def maintain(due: Due, report: Report) -> bool:
    """Make the partitions of the months to come, and clear away what an interruption left.

    Args:
        due: What is due.
        report: Is told what was done.

    Returns:
        Whether the events are partitioned.
    """
    from django.db import connections

    if connections[due.using].vendor != "postgresql":
        return False
    catalog = Catalog(due.using)
    if not catalog.is_partitioned:
        _defuse(catalog, due, report)
        return False
    _drop_pruned(catalog, due, report)
    for month in missing_months(catalog.partitions(), due.now):
        try:
            report.partitions_created.append(locking(due.using, partial(attach_month, catalog, month), tries=_TRIES))
        except (AutomateError, DatabaseError) as error:
            report.notices.append(f"{name_of(month)} could not be made: {error}")
    if rows := catalog.default_rows():
        report.notices.append(
            f"{rows} events (or more) are in no partition of a month: see 'automate partition events --check'."
        )
    return True


def expired(
    due: Due, held: set[str] | None, leaving: QuerySet[Execution] | None = None
) -> tuple[list[Partition], list[str]]:
    """Return the partitions that are old enough to go as a whole, and why others stay that are as old.

    Args:
        due: What is due.
        held: Events that items of the outbox refer to; None where there are too many.
        leaving: Executions that do not count, as they go themselves.
    """
    from automate.models import Execution

    limit = uuid7_floor(due.events_before)
    gone, kept = [], []
    for part in Catalog(due.using).partitions():
        if part.upper is None or part.upper > limit:
            continue
        executions = Execution.objects.using(due.using).filter(event_id__lt=part.upper)
        if part.lower is not None:
            executions = executions.filter(event_id__gte=part.lower)
        if leaving is not None:
            executions = executions.exclude(pk__in=leaving.values("pk"))
        if held is None or any(part.holds(key) for key in held):
            kept.append(f"{part.name} stays: items of the outbox refer to its events.")
        elif executions.exists():
            kept.append(f"{part.name} stays: executions refer to its events.")
        else:
            gone.append(part)
    return gone, kept


def decisions_of(due: Due, part: Partition) -> QuerySet[Decision]:
    """Return the decisions about the events of a partition.

    Args:
        due: What is due.
        part: The partition.
    """
    from automate.models import Decision

    rows = Decision.objects.using(due.using).filter(event_id__lt=part.upper)
    return rows if part.lower is None else rows.filter(event_id__gte=part.lower)


def expire(due: Due, turns: Turns, report: Report, after: Any) -> Iterator[Progress]:
    """Drop the partitions that are old enough, after the decisions about their events.

    Args:
        due: What is due.
        turns: Runs the transactions.
        report: Is told what was dropped.
        after: Nothing: what is gone is not found again.
    """
    catalog, size, limit = Catalog(due.using), due.policy.batch_size, uuid7_floor(due.events_before)
    if not any(part.upper is not None and part.upper <= limit for part in catalog.partitions()):
        return
    held = held_events(due.using, limit)
    gone, kept = expired(due, held)
    report.notices += kept
    for part in gone:
        rows = decisions_of(due, part)
        while ids := list(rows.order_by().values_list("id", flat=True)[:size]):
            yield Progress(pruned={"decisions": turns.run(partial(delete, rows.filter(id__in=ids)))})
        try:
            locking(due.using, partial(_detach, catalog, part), tries=_TRIES)
        except AutomateError as error:
            report.notices.append(f"{part.name} could not be detached: {error}")
            continue
        _drop_pruned(catalog, due, report)
        yield Progress(pruned={"events": part.rows})


def _detach(catalog: Catalog, part: Partition) -> None:
    # Not CONCURRENTLY, which PostgreSQL refuses where there is a default partition; the lock is held for a moment, as
    # the files are removed afterwards, by the DROP of a table that nobody sees any more.
    catalog.execute(
        f"ALTER TABLE {catalog.name()} DETACH PARTITION {catalog.name(part.name)}",
        f"ALTER TABLE {catalog.name(part.name)} RENAME TO {catalog.connection.ops.quote_name(part.name + PRUNED)}",
    )


def _drop_pruned(catalog: Catalog, due: Due, report: Report) -> None:
    for table in catalog.pruned():
        try:
            drop = partial(catalog.execute, f"DROP TABLE IF EXISTS {catalog.name(table)}")
            locking(due.using, drop, tries=_TRIES)
        except AutomateError as error:
            report.notices.append(f"{table} could not be dropped: {error}")
        else:
            report.partitions_dropped.append(table.removesuffix(PRUNED))


def _defuse(catalog: Catalog, due: Due, report: Report) -> None:
    """Take away the bound of an abandoned conversion before events reach it."""
    bound = catalog.bound()
    if bound is None or time_of(bound[0]) > due.now + SAFE:
        return
    statement = f"ALTER TABLE {catalog.name()} DROP CONSTRAINT IF EXISTS {BOUND}"
    try:
        locking(due.using, partial(catalog.execute, statement), tries=_TRIES)
    except AutomateError as error:
        report.notices.append(f"the bound of an abandoned conversion could not be removed: {error}")
    else:
        report.notices.append("a conversion to partitions was abandoned: its bound on the events was removed.")
