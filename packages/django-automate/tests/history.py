"""Rows of any age, for the tests of retention, sizes and partitions."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from automate.models import Decision, Event, Execution, ExecutionRun, StepRun, Workflow, WorkflowVersion
from automate_core.ids import uuid7_floor
from automate_outbox.models import OutboxJob
from django.utils import timezone


def ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def id_at(moment: datetime) -> uuid.UUID:
    """Return an id that was made at a moment."""
    return uuid.UUID(int=uuid7_floor(moment).int | 0x7 << 76 | 0b10 << 62 | uuid.uuid4().int >> 66)


def version(slug: str = "w") -> WorkflowVersion:
    workflow, _ = Workflow.objects.get_or_create(slug=slug)
    found = WorkflowVersion.objects.filter(workflow=workflow).first()
    return found or WorkflowVersion.objects.create(
        workflow=workflow, version_num=1, trigger_spec={}, steps=[], hash=slug, live=True
    )


def event_at(moment: datetime, **fields: Any) -> Event:
    return Event.objects.create(
        **{"id": id_at(moment), "type": "order.paid", "payload": {"n": 1}, "created_at": moment, **fields}
    )


def events_at(moments: list[datetime]) -> list[Event]:
    rows = [Event(id=id_at(m), type="order.paid", payload={"n": 1}, created_at=m) for m in moments]
    return list(Event.objects.bulk_create(rows, batch_size=2000))


def decision_about(event: Event, *, matched: bool, slug: str = "w") -> Decision:
    return Decision.objects.create(
        event_id=event.id, version=version(slug), matched=matched, created_at=event.created_at
    )


def execution_at(moment: datetime, status: str = "SUCCESS", *, steps: int = 2, **fields: Any) -> Execution:
    """Create an execution with one run and its steps, that began and ended at a moment."""
    live = status in ("QUEUED", "RUNNING", "WAITING")
    ended = None if live else moment
    execution = Execution.objects.create(
        id=id_at(moment), version=version(), status=status, finished_at=ended, **fields
    )
    Execution.objects.filter(pk=execution.pk).update(created_at=moment)
    run = ExecutionRun.objects.create(
        id=id_at(moment), execution=execution, trace_id="0" * 32, status=status, finished_at=ended
    )
    StepRun.objects.bulk_create(
        [
            StepRun(run=run, step_id=f"s{n}", action="flow.log", status="SUCCESS", finished_at=moment)
            for n in range(steps)
        ]
    )
    return execution


def job_at(
    moment: datetime, status: str = "COMPLETED", payload: dict[str, Any] | None = None, **fields: Any
) -> OutboxJob:
    ended = moment if status in ("COMPLETED", "FAILED") else None
    return OutboxJob.objects.create(
        **{"kind": "automate.event", "payload": payload or {}, "status": status, "created_at": moment,
           "next_attempt_at": moment, "completed_at": ended, **fields}
    )  # fmt: skip
