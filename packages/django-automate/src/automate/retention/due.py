"""What is due to be pruned, as querysets: what is pruned and what a preview counts is the same.

Nothing here is live, or referred to by a row that stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from automate_core.outbox import JobStatus
from automate_core.settings import RetentionSettings
from automate_outbox.models import OutboxJob
from django.db.models import CharField, Exists, OuterRef, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from automate.events import EVENT_JOB
from automate.models import ConcurrencyKey, Decision, DedupeKey, Event, Execution, ExecutionRun, RunStatus
from automate.models.executions import LIVE

__all__ = ["MOST_HELD", "Due", "held_events"]

MOST_HELD = 100_000
"""Events with items in the outbox that are told apart; with more of them, every event is kept."""


@dataclass(frozen=True, slots=True)
class Due:
    """What is due at a moment.

    Args:
        now: The database's time.
        policy: How long history is kept.
        using: Alias of the database.
    """

    now: datetime
    policy: RetentionSettings
    using: str = "default"

    @property
    def jobs_before(self) -> datetime:
        """Items that completed before this go."""
        return self.now - timedelta(hours=self.policy.completed_jobs_hours)

    @property
    def dead_before(self) -> datetime:
        """Items that died before this go."""
        return self.now - timedelta(days=self.policy.dead_letters_days)

    @property
    def runs_before(self) -> datetime:
        """Executions that succeeded before this go."""
        return self.now - timedelta(days=self.policy.runs_days)

    @property
    def failed_runs_before(self) -> datetime:
        """Executions that failed or were cancelled before this go."""
        return self.now - timedelta(days=self.policy.failed_runs_days)

    @property
    def non_matches_before(self) -> datetime:
        """Decisions before this that did not match go."""
        return self.now - timedelta(days=self.policy.non_matches_days)

    @property
    def events_before(self) -> datetime:
        """Events before this go."""
        return self.now - timedelta(days=self.policy.events_days)

    def jobs(self, status: JobStatus) -> QuerySet[OutboxJob]:
        """Return the finished items that are due.

        Args:
            status: COMPLETED or FAILED.
        """
        before = self.jobs_before if status is JobStatus.COMPLETED else self.dead_before
        return OutboxJob.objects.using(self.using).filter(status=status.value, completed_at__lt=before)

    def dedupe_keys(self) -> QuerySet[DedupeKey]:
        """Return the keys that have expired."""
        return DedupeKey.objects.using(self.using).filter(expires_at__lt=self.now)

    def concurrency_keys(self) -> QuerySet[ConcurrencyKey]:
        """Return the keys that nobody has used for a day, and whose rate holds nobody back any more."""
        rows = ConcurrencyKey.objects.using(self.using).filter(used_at__lt=self.now - timedelta(days=1))
        rows = rows.filter(Q(arrival=None) | Q(arrival__lt=self.now))
        return rows.filter(Q(booked=None) | Q(booked__lt=self.now))

    def executions(self) -> QuerySet[Execution]:
        """Return the finished executions that are due and whose runs nothing in the outbox would carry on."""
        failed = (RunStatus.FAILED, RunStatus.CANCELLED)
        aged = Q(status=RunStatus.SUCCESS, finished_at__lt=self.runs_before)
        aged |= Q(status__in=failed, finished_at__lt=self.failed_runs_before)
        runs = ExecutionRun.objects.using(self.using).filter(execution=OuterRef("pk"))
        unfinished = OutboxJob.objects.using(self.using).exclude(status=JobStatus.COMPLETED.value)
        carried = unfinished.filter(pk=OuterRef("job_id"))
        kept = Exists(runs.filter(Q(status__in=LIVE) | Exists(carried)))
        return Execution.objects.using(self.using).filter(aged).exclude(kept)

    def non_matches(self) -> QuerySet[Decision]:
        """Return the decisions without a match that are due."""
        rows = Decision.objects.using(self.using)
        return rows.filter(matched=False, created_at__lt=self.non_matches_before)

    def events(self, *, gone: QuerySet[Execution] | None = None) -> QuerySet[Event]:
        """Return the events that are due and that no execution refers to.

        Those that an item of the outbox refers to are told by :func:`held_events`.

        Args:
            gone: Executions to leave out, as they are due themselves.
        """
        executions = Execution.objects.using(self.using).filter(event_id=OuterRef("pk"))
        if gone is not None:
            executions = executions.exclude(pk__in=gone.values("pk"))
        rows = Event.objects.using(self.using).filter(created_at__lt=self.events_before)
        return rows.exclude(Exists(executions))


def held_events(using: str, before: Any) -> set[str] | None:
    """Return the events that the outbox would still ask for: their items wait, run or are dead letters.

    One look for a whole sweep: an item names its event in its payload, which has no index.

    Args:
        using: Alias of the database.
        before: Only events whose id is smaller than this one.

    Returns:
        Their ids, as text; None where there are more than :data:`MOST_HELD`.
    """
    unfinished = (JobStatus.PENDING, JobStatus.RETRY, JobStatus.CLAIMED, JobStatus.FAILED)
    rows = OutboxJob.objects.using(using).filter(status__in=unfinished, kind=EVENT_JOB).order_by()
    event = Cast(KeyTextTransform("event_id", "payload"), CharField(max_length=36))
    rows = rows.annotate(event=event).filter(event__lt=str(before))
    found = set(rows.values_list("event", flat=True)[: MOST_HELD + 1])
    return found if len(found) <= MOST_HELD else None
