"""Retention: history that is older than the settings of ``RETENTION`` allow goes, in bounded batches.

Workers call :func:`sweep` in the background; ``automate retention`` calls it by hand.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING, Any
from uuid import UUID

from automate_core import settings
from automate_core.errors import ArtifactUnavailable, ConfigurationError
from automate_core.outbox import JobStatus

if TYPE_CHECKING:
    from automate.retention.due import Due
    from automate.retention.turns import Turns
    from automate.retention.walk import Progress

__all__ = ["KINDS", "Report", "preview", "sweep"]

KINDS = (
    "completed_jobs", "dead_letters", "dedupe_keys", "concurrency_keys", "executions", "runs", "steps", "decisions",
    "events", "artifacts",
)  # fmt: skip
"""What is pruned. Audit rows never are."""

_positions: dict[tuple[str, str], Any] = {}
"""Where a walk was left when its time was up, by database and kind: it goes on there, and not at what is kept."""
_one_at_a_time = threading.Lock()


@dataclass(slots=True)
class Report:
    """What a sweep did.

    Args:
        pruned: Rows that went, by kind; events of a partition that was dropped are counted by the planner's estimate.
        transactions: How many there were.
        seconds: How long it took.
        longest_seconds: How long the longest transaction took.
        complete: Whether everything was looked at; otherwise call again soon.
        busy: Whether somebody else prunes this database, who was left to it.
        partitions_created: Partitions of events that were made.
        partitions_dropped: Partitions of events that were dropped.
        notices: What kept it from pruning something, and what to do about it.
    """

    pruned: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    transactions: int = 0
    seconds: float = 0.0
    longest_seconds: float = 0.0
    complete: bool = True
    busy: bool = False
    partitions_created: list[str] = field(default_factory=list)
    partitions_dropped: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def sweep(budget_seconds: float, *, using: str = "default", force: bool = False) -> Report:
    """Prune what is due, oldest first, until all of it is gone or the time is up.

    One transaction deletes at most ``RETENTION.batch_size`` rows of a table, and the process pauses between two. Of
    several callers, in whatever processes, one prunes. It must be called outside of a transaction.

    Args:
        budget_seconds: Time after which no further transaction begins; ``math.inf`` for as long as it takes.
        using: Alias of the database.
        force: Prune even where ``RETENTION.enabled`` is False.

    Returns:
        What was done.

    Raises:
        django.db.DatabaseError: If the database fails; what was committed before stays so.
    """
    from automate.retention.turns import Turns, TurnTaken

    report, started, turns = Report(), time.monotonic(), Turns(using)
    if not _one_at_a_time.acquire(blocking=False):
        return Report(complete=False, busy=True)
    try:
        with turns.taken():
            _sweep(report, turns, using, started + budget_seconds, force)
    except TurnTaken:
        report.busy, report.complete = True, False
    finally:
        _one_at_a_time.release()
    report.transactions, report.longest_seconds = turns.count, turns.longest
    report.seconds = time.monotonic() - started
    return report


def preview(*, using: str = "default", limit: int | None = None) -> dict[str, int]:
    """Count what :func:`sweep` would prune now. Nothing is written.

    Args:
        using: Alias of the database.
        limit: Count no further than this in each kind; None counts all of it.

    Returns:
        Rows by kind; artifacts follow the rows that refer to them, and are not counted.
    """
    from django.db.models import Q

    from automate.models import Decision, ExecutionRun, StepRun

    due = _due(using)
    executions = due.executions()
    runs = ExecutionRun.objects.using(using).filter(execution__in=executions)
    events = _due_events(due, executions)
    unmatched = Q(matched=False, created_at__lt=due.non_matches_before)
    of_events = Q(event_id__in=events.values("pk"))
    rows = {
        "completed_jobs": due.jobs(JobStatus.COMPLETED),
        "dead_letters": due.jobs(JobStatus.FAILED),
        "dedupe_keys": due.dedupe_keys(),
        "concurrency_keys": due.concurrency_keys(),
        "executions": executions,
        "runs": runs,
        "steps": StepRun.objects.using(using).filter(run__in=runs),
        "decisions": Decision.objects.using(using).filter(of_events | unmatched),
        "events": events,
    }
    return {kind: counted.order_by()[:limit].count() for kind, counted in rows.items()}


def _due_events(due: Due, gone: Any) -> Any:
    """Return the events that go when those executions are gone."""
    from automate_core.ids import uuid7_floor
    from django.db.models import Q

    from automate.models import Event
    from automate.partitions import is_partitioned
    from automate.partitions.upkeep import expired
    from automate.retention.due import held_events

    held = held_events(due.using, uuid7_floor(due.events_before))
    if is_partitioned(due.using):
        ranges = [Q(id__lt=part.upper, id__gte=part.lower or UUID(int=0)) for part in expired(due, held, gone)[0]]
        return Event.objects.using(due.using).filter(reduce(or_, ranges)) if ranges else Event.objects.none()
    events = due.events(gone=gone)
    return events.none() if held is None else events.exclude(pk__in=held)


def _due(using: str) -> Due:
    from automate.retention.due import Due

    return Due(_database_time(using), settings.current().retention, using)


def _database_time(using: str) -> datetime:
    """Return the time of the database: the clock of a worker may be years off, and what it deletes is gone."""
    from django.db import connections
    from django.utils import timezone

    connection = connections[using]
    if connection.vendor == "sqlite":  # it has the clock of this process
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT UTC_TIMESTAMP()" if connection.vendor == "mysql" else "SELECT CURRENT_TIMESTAMP")
        now: datetime = cursor.fetchone()[0]
    return now if now.tzinfo else now.replace(tzinfo=UTC)


def _sweep(report: Report, turns: Turns, using: str, deadline: float, force: bool) -> None:
    from automate.partitions.upkeep import maintain

    due = _due(using)
    partitioned = maintain(due, report)
    if not (due.policy.enabled or force):
        return
    walks = _walks(due, turns, report, partitioned)
    for left, (kind, walk) in zip(range(len(walks), 0, -1), walks, strict=True):
        # Each kind gets its share of what is left, so that no flood of one keeps the others waiting.
        now = time.monotonic()
        _follow(walk, (using, kind), report, now + max(deadline - now, 0) / left, due.policy.pause_seconds)


def _walks(
    due: Due, turns: Turns, report: Report, partitioned: bool
) -> list[tuple[str, Callable[[Any], Iterator[Progress]]]]:
    from automate.partitions.upkeep import expire
    from automate.retention import walk

    events = expire if partitioned else _events
    return [
        ("completed_jobs", partial(walk.jobs, due, turns)),
        ("dead_letters", partial(walk.dead_letters, due, turns)),
        ("dedupe_keys", partial(walk.dedupe_keys, due, turns)),
        ("concurrency_keys", partial(walk.concurrency_keys, due, turns)),
        ("executions", partial(walk.executions, due, turns)),
        ("decisions", partial(walk.decisions, due, turns)),
        ("events", partial(events, due, turns, report)),
        ("artifact_uses", partial(walk.artifact_uses, due, turns)),
        ("artifacts", partial(_artifacts, due, report)),
    ]


def _events(due: Due, turns: Turns, report: Report, after: Any) -> Iterator[Progress]:
    from automate_core.ids import uuid7_floor

    from automate.models import Event
    from automate.retention.due import MOST_HELD, held_events
    from automate.retention.walk import events

    bound = uuid7_floor(due.events_before)
    if not Event.objects.using(due.using).filter(id__lt=bound).exists():
        return
    held = held_events(due.using, bound)
    if held is None:
        report.notices.append(
            f"events: more than {MOST_HELD} that are old enough to go still have items in the outbox, so all of them "
            "are kept. Let workers work them off, or discard their dead letters."
        )
        return
    yield from events(due, turns, after, held)


def _artifacts(due: Due, report: Report, after: None) -> Iterator[Progress]:
    from automate.retention.walk import artifacts

    try:
        yield from artifacts(due)
    except (ArtifactUnavailable, ConfigurationError) as error:  # the next sweep tries it again
        report.notices.append(f"artifacts: {error}")


def _follow(
    walk: Callable[[Any], Iterator[Progress]], place: tuple[str, str], report: Report, until: float, pause: float
) -> None:
    """Follow a walk from where it was left, until its end or until a moment."""
    counted: Counter[str] = Counter()
    try:
        for progress in walk(_positions.pop(place, None)):
            counted.update(progress.pruned)
            if time.monotonic() >= until:
                _positions[place] = progress.after
                report.complete = False
                return
            if progress.pruned:
                time.sleep(min(pause, max(until - time.monotonic(), 0)))
    finally:
        for kind, rows in counted.items():
            report.pruned[kind] += rows
