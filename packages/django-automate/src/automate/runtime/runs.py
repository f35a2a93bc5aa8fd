"""The rows of a run: creating them, reading how far it is, and failing it where its outbox item died."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from automate_core import settings
from automate_core.ids import new_trace_id
from automate_core.outbox import NewJob, OutboxItem
from automate_core.workflow.planner import RunState, StepState, StepStatus
from automate_outbox.store import DatabaseOutboxStore
from django.db import transaction

from automate import signals
from automate.artifacts import reveal
from automate.events import RUN_JOB
from automate.models import Event, Execution, ExecutionRun, RunStatus, StepRun
from automate.models.bulk import load_rows
from automate.models.executions import LIVE
from automate.runtime.changes import RunChange, change_runs

__all__ = ["DatabaseClock", "event_view", "fail_run", "load_runs", "queue_run", "state_of"]


class DatabaseClock:
    """The database's time without asking it again: what it was at the claim, and what has passed since.

    Args:
        item: The claimed item.
        lease_seconds: How long its lease holds.
    """

    def __init__(self, item: OutboxItem, lease_seconds: float) -> None:
        claimed_at = item.lease_expires_at - timedelta(seconds=lease_seconds)
        self._zone, self._ahead = claimed_at.tzinfo, claimed_at.timestamp() - time.monotonic()

    def __call__(self) -> datetime:
        """Return the time, with time zone."""
        return datetime.fromtimestamp(self._ahead + time.monotonic(), self._zone)


def queue_run(execution: Execution, store: DatabaseOutboxStore, worker_id: str) -> OutboxItem:
    """Create the first run of an execution, its outbox item born claimed.

    Args:
        execution: The execution.
        store: The store.
        worker_id: Who claims it.

    Returns:
        Its item.

    Raises:
        IntegrityError: If somebody else created it meanwhile.
    """
    with transaction.atomic():
        run = ExecutionRun(execution=execution, trace_id=new_trace_id())
        attempts = settings.current().item_attempts
        job = NewJob(RUN_JOB, {"run_id": str(run.id)}, tenant=execution.tenant, max_attempts=attempts)
        item = store.add_claimed(worker_id, job)
        run.job_id = item.id
        run.save(force_insert=True)
    return item


def load_runs(run_ids: Iterable[UUID | str]) -> dict[UUID, tuple[ExecutionRun, RunState]]:
    """Load runs with what they are runs of, and how far they are: three statements, however many they are.

    Args:
        run_ids: The runs.

    Returns:
        Each run that exists, with what the planner needs.
    """
    runs = load_rows(ExecutionRun.objects.select_related("execution__version__workflow"), run_ids)
    steps: dict[UUID, dict[str, StepState]] = {run_id: {} for run_id in runs}
    for row in StepRun.objects.filter(run__in=runs).order_by("attempt"):
        steps[row.run_id][row.step_id] = StepState(
            status=StepStatus(row.status),
            output=row.output,
            error=row.error,
            attempts=row.attempt,
            retry_at=row.retry_at,
        )
    event_ids = {run.execution.event_id for run in runs.values()} - {None}
    events = load_rows(Event.objects.all(), event_ids) if event_ids else {}
    return {
        run_id: (run, state_of(run, events.get(run.execution.event_id), steps[run_id])) for run_id, run in runs.items()
    }


def state_of(run: ExecutionRun, event: Event | None, steps: Mapping[str, StepState] = MappingProxyType({})) -> RunState:
    """Return what the planner needs of a run.

    Args:
        run: The run, with its execution, version and workflow.
        event: What started it; None where it was started directly, or the event is gone.
        steps: Its recorded steps.
    """
    return RunState(event_view(event, run.execution.context), _execution_view(run), steps, reveal)


def event_view(event: Event | None, payload: Any) -> dict[str, Any]:
    """Return what templates see as ``event``.

    Args:
        event: The event; None where the run was started directly, or the event is gone.
        payload: Its payload, or the context of the execution.
    """
    if event is None:
        return {"id": None, "type": None, "source": "", "subject": "", "payload": payload}
    return {
        "id": str(event.pk),
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "payload": payload,
        "created_at": event.created_at.isoformat(),
    }


def _execution_view(run: ExecutionRun) -> dict[str, Any]:
    version = run.execution.version
    return {
        "id": str(run.execution_id),
        "run_id": str(run.id),
        "workflow": version.workflow.slug,
        "version": version.version_num,
        "tenant": run.execution.tenant,
    }


def fail_run(run_id: UUID | str, error: dict[str, Any]) -> None:
    """Fail a run whose outbox item died.

    Args:
        run_id: The run; nothing happens where it is final already or does not exist.
        error: Why.
    """
    run = ExecutionRun.objects.select_related("execution").filter(pk=run_id, status__in=LIVE).first()
    if run is None:
        return
    with transaction.atomic():
        change_runs([RunChange(run, RunStatus.FAILED, error=error)])
        transaction.on_commit(lambda: signals.send(signals.workflow_failed, ExecutionRun, run=run))
