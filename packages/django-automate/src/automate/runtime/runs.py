"""The rows of a run: reading how far it is, and writing checkpoints that only the holder of its lease can write."""

from __future__ import annotations

import itertools
import logging
import random
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from automate_core.outbox import NewJob, OutboxItem
from automate_core.retry import RetryPolicy
from automate_core.workflow.planner import RunState, StepState, StepStatus
from automate_outbox.store import DatabaseOutboxStore
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from automate import signals
from automate.events import RUN_JOB
from automate.models import Event, Execution, ExecutionRun, RunStatus, StepRun
from automate.models.executions import LIVE
from automate.runtime.connections import tidy_connections

__all__ = ["DatabaseClock", "Ledger", "fail_run", "load_run", "load_state", "queue_run"]

logger = logging.getLogger("automate.runtime")

_PATIENCE = RetryPolicy(initial=0.1, max=2.0)
_PATIENCE_SECONDS = 120.0
"""How long a checkpoint is tried; by then the lease has run out, and somebody else has the run."""


class DatabaseClock:
    """The database's time without asking it again: what it was at the claim, and what has passed since.

    Args:
        item: The claimed item.
        lease_seconds: How long its lease holds.
    """

    def __init__(self, item: OutboxItem, lease_seconds: float) -> None:
        self._claimed_at = item.lease_expires_at - timedelta(seconds=lease_seconds)
        self._then = time.monotonic()

    def __call__(self) -> datetime:
        """Return the time, with time zone."""
        return self._claimed_at + timedelta(seconds=time.monotonic() - self._then)


def queue_run(execution: Execution, store: DatabaseOutboxStore, worker_id: str) -> tuple[ExecutionRun, OutboxItem]:
    """Create the first run of an execution, its outbox item born claimed.

    Args:
        execution: The execution.
        store: The store.
        worker_id: Who claims it.

    Returns:
        The run and its item.

    Raises:
        IntegrityError: If somebody else created it meanwhile.
    """
    with transaction.atomic():
        run = ExecutionRun(execution=execution, trace_id=secrets.token_hex(16))
        item = store.add_claimed(worker_id, NewJob(RUN_JOB, {"run_id": str(run.id)}, tenant=execution.tenant))
        run.job_id = item.id
        run.save(force_insert=True)
    return run, item


def load_run(run_id: UUID | str) -> ExecutionRun:
    """Load a run with what it is a run of.

    Args:
        run_id: The run.

    Raises:
        ExecutionRun.DoesNotExist: If there is none.
    """
    return ExecutionRun.objects.select_related("execution__version__workflow").get(pk=run_id)


def load_state(run: ExecutionRun) -> RunState:
    """Read how far a run is from its checkpoints.

    Args:
        run: The run.

    Returns:
        What the planner needs.
    """
    steps: dict[str, StepState] = {}
    for row in StepRun.objects.filter(run=run).order_by("attempt"):
        steps[row.step_id] = StepState(
            status=StepStatus(row.status),
            output=row.output,
            error=row.error,
            attempts=row.attempt,
            retry_at=row.retry_at,
        )
    execution = run.execution
    return RunState(event=_event_view(execution), execution=_execution_view(run), steps=steps)


def _event_view(execution: Execution) -> dict[str, Any]:
    view: dict[str, Any] = {"id": None, "type": None, "source": "", "subject": "", "payload": execution.context}
    if execution.event_id is not None:
        values = Event.objects.filter(pk=execution.event_id).values("type", "source", "subject", "created_at").first()
        if values is not None:
            view.update(values, id=str(execution.event_id), created_at=values["created_at"].isoformat())
    return view


def _execution_view(run: ExecutionRun) -> dict[str, Any]:
    return {
        "id": str(run.execution_id),
        "run_id": str(run.id),
        "workflow": run.execution.version.workflow.slug,
        "version": run.execution.version.version_num,
        "tenant": run.execution.tenant,
    }


@dataclass(slots=True)
class Ledger:
    """Writes what becomes of a run. Every write is fenced by the lease of the run's outbox item.

    Args:
        run: The run.
        item: Its claimed item.
        store: The store that claimed it.
        worker_id: Who claimed it.

    Raises (all methods):
        LeaseLostError: If the item is no longer held; nothing was written.
    """

    run: ExecutionRun
    item: OutboxItem
    store: DatabaseOutboxStore
    worker_id: str

    def begin(self) -> None:
        """Set the run RUNNING."""
        if self.run.status == RunStatus.RUNNING and self.run.started_at is not None:
            return
        first = self.run.started_at is None
        started_at = self.run.started_at or timezone.now()

        def write(again: bool) -> None:
            self._fence()
            _write_status(self.run, status=RunStatus.RUNNING, started_at=started_at)

        self._durably(write)
        if first:
            signals.send(signals.workflow_started, ExecutionRun, run=self.run)

    def checkpoint(self, rows: Sequence[StepRun]) -> None:
        """Make the results of steps durable.

        Args:
            rows: The rows to insert.
        """

        def write(again: bool) -> None:
            self._fence()
            # Nobody else writes them under this lease: where they are, only the answer to the commit was lost.
            if not (again and self._has(rows[0])):
                StepRun.objects.bulk_create(rows)

        self._durably(write)
        self._announce(rows)

    def suspend(self, rows: Sequence[StepRun], due: datetime) -> None:
        """Let the run wait: its item is completed and a new one, due later, carries it on.

        Args:
            rows: Rows to insert in the same transaction.
            due: When it goes on.
        """
        job = NewJob(RUN_JOB, {"run_id": str(self.run.id)}, tenant=self.item.tenant, due=due)

        def write(again: bool) -> None:
            self._complete()
            StepRun.objects.bulk_create(rows)
            _write_status(self.run, status=RunStatus.WAITING, job_id=self.store.add([job])[0])

        self._durably(write)
        self._announce(rows)

    def finish(
        self, rows: Sequence[StepRun], status: RunStatus, *, outputs: Any = None, error: dict[str, Any] | None = None
    ) -> None:
        """End the run, once and for all.

        Args:
            rows: Rows to insert in the same transaction.
            status: SUCCESS or FAILED.
            outputs: What it returns.
            error: Why it failed.
        """

        def write(again: bool) -> None:
            self._complete()
            StepRun.objects.bulk_create(rows)
            _write_status(self.run, status=status, outputs=outputs or {}, error=error, finished_at=timezone.now())

        self._durably(write)
        self._announce(rows)
        signal = signals.workflow_completed if status == RunStatus.SUCCESS else signals.workflow_failed
        signals.send(signal, ExecutionRun, run=self.run)

    def _fence(self) -> None:
        self.store.renew(self.item.id, self.worker_id, lease_token=self.item.lease_token)

    def _complete(self) -> None:
        self.store.mark_success(self.item.id, self.worker_id, lease_token=self.item.lease_token)

    def _has(self, row: StepRun) -> bool:
        return StepRun.objects.filter(run=self.run, step_id=row.step_id, attempt=row.attempt).exists()

    def _durably(self, write: Callable[[bool], None]) -> None:
        """Write in a transaction, again and again while the database is away or locked.

        What the steps did outside cannot be undone, so giving up means doing it twice.

        Args:
            write: What to write, told whether it was tried before; its fence decides whether it still may.
        """
        give_up = time.monotonic() + _PATIENCE_SECONDS
        for attempt in itertools.count(1):
            try:
                with transaction.atomic():
                    write(attempt > 1)
                return
            except (OperationalError, InterfaceError) as error:
                if connection.in_atomic_block or time.monotonic() > give_up:
                    raise
                logger.warning("A checkpoint of run %s is written again: %s", self.run.pk, error)
            tidy_connections()
            time.sleep(_PATIENCE.delay(attempt, random=random.random()))  # noqa: S311 - jitter, which guards nothing

    def _announce(self, rows: Iterable[StepRun]) -> None:
        for row in rows:
            if row.status == StepRun.Status.SUCCESS:
                signals.send(signals.step_completed, StepRun, run=self.run, step=row)
            elif row.status != StepRun.Status.SKIPPED:
                signals.send(signals.step_failed, StepRun, run=self.run, step=row)


def _write_status(run: ExecutionRun, **values: Any) -> bool:
    """Change a run that is not final yet, and its execution with it."""
    changed = ExecutionRun.objects.filter(pk=run.pk, status__in=LIVE).update(**values)
    if not changed:
        return False
    for name, value in values.items():
        setattr(run, name, value)
    execution_values = {name: values[name] for name in ("status", "finished_at") if name in values}
    if execution_values:
        Execution.objects.filter(pk=run.execution_id, status__in=LIVE).update(**execution_values)
    return True


def fail_run(run_id: UUID | str, error: dict[str, Any]) -> None:
    """Fail a run whose outbox item died.

    Args:
        run_id: The run; nothing happens where it is final already or does not exist.
        error: Why.
    """
    run = ExecutionRun.objects.select_related("execution").filter(pk=run_id).first()
    if run is None:
        return
    with transaction.atomic():
        failed = _write_status(run, status=RunStatus.FAILED, error=error, finished_at=timezone.now())
    if failed:
        transaction.on_commit(lambda: signals.send(signals.workflow_failed, ExecutionRun, run=run))
