"""Carrying a run on: ask the planner what is ready, have it executed, write the checkpoint, until there is no more."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from automate_core import settings
from automate_core.errors import AutomateError, DoubtfulCommitError, LeaseLostError
from automate_core.outbox import OutboxItem
from automate_core.registry import Registry
from automate_core.retry import RetryPolicy
from automate_core.workflow.planner import (
    Outcome,
    Plan,
    RunState,
    StepState,
    StepStatus,
    after_failure,
    context_for,
    error_json,
    plan,
)

from automate import signals
from automate.artifacts import keep
from automate.models import ExecutionRun, RunStatus, StepRun
from automate.models.bulk import new_row
from automate.payloads import ensure_storable
from automate.runtime.changes import RunChange
from automate.runtime.execute import Attempt, Result, for_row
from automate.runtime.journal import End, Entry, Journal, uses_of
from automate.runtime.versions import compiled

__all__ = ["Advance", "OwnCheckpoint", "row_of"]

logger = logging.getLogger("automate.runtime")


def row_of(run: ExecutionRun, result: Result) -> StepRun:
    """Return the row of a result; its error alone does not say what follows, so a failure has no status yet.

    Args:
        run: The run.
        result: The result.
    """
    attempt = result.attempt
    row = new_row(
        StepRun,
        run=run,
        step_id=attempt.step.id,
        action=attempt.step.action,
        attempt=attempt.number,
        status=StepRun.Status.SUCCESS,
        input=result.input,
        output=result.output,
        idempotency_key=attempt.idempotency_key,
        started_at=attempt.started_at,
        finished_at=result.finished_at,
    )
    if result.error is not None:
        row.status, row.error = "", error_json(result.error)
    return row


@dataclass(frozen=True, slots=True)
class OwnCheckpoint:
    """Writes the checkpoint of a step in the transaction of its action.

    Args:
        run: The run.
        item: Its claimed item.
        journal: Whose store and worker hold it.
    """

    run: ExecutionRun
    item: OutboxItem
    journal: Journal

    def fence(self) -> None:
        """Refuse to go on where the run is no longer held.

        Raises:
            LeaseLostError: If it is not.
        """
        self.journal.store.renew(self.item.id, self.journal.worker_id, lease_token=self.item.lease_token)

    def save(self, result: Result) -> None:
        """Write the row of a success.

        Args:
            result: The success.
        """
        row = row_of(self.run, result)
        keep(uses_of([row]))
        row.save(force_insert=True)


def _outputs(step: Plan) -> Any:
    """Return what the row of a run holds of its output."""
    limit = settings.current().execution.max_output_bytes
    encoded = ensure_storable(step.output, max_bytes=limit, what="output of the run", require_object=False)
    return for_row(step.output, encoded)


class Advance:
    """One claimed run on its way, until it ends, waits, or is put down. It belongs to the thread of its journal.

    It goes on from a checkpoint only when that is durable. Results that come meanwhile are part of the next one.

    Args:
        run: The run, with its execution, version and workflow.
        item: Its claimed item.
        state: How far it is.
        journal: Makes checkpoints durable.
        launch: Starts an attempt; its result is handed to :meth:`take`.
        ended: Called once when this run is no longer in hand, with what went wrong: None where nothing did.
        registry: Where actions are looked up.
        clock: Tells the time as the database has it.
        draining: Set when no further step shall be started: the run is handed back at its next checkpoint.
        announce: Sends signals of :mod:`automate.signals`.
    """

    def __init__(
        self,
        run: ExecutionRun,
        item: OutboxItem,
        state: RunState,
        *,
        journal: Journal,
        launch: Callable[[Advance, Attempt], None],
        ended: Callable[[Advance, Exception | None], None],
        registry: Registry,
        clock: Callable[[], datetime],
        draining: threading.Event,
        announce: Callable[..., None] = signals.send,
    ) -> None:
        self.run, self.item = run, item
        self._journal, self._launch, self._ended = journal, launch, ended
        self._registry, self._clock, self._draining, self._announce = registry, clock, draining, announce
        self._workflow = compiled(run.execution.version)
        self._origin = str(run.idempotency_run_id or run.pk)
        self._steps: dict[str, StepState] = dict(state.steps)
        self._state = replace(state, steps=self._steps)
        self._running: dict[str, Attempt] = {}
        self._rows: list[StepRun] = []
        self._plan: Plan | None = None
        self._retry_at: datetime | None = None
        self._awaiting = False
        self.is_over = False

    # -- going on ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Note that the run is under way, and start what is ready."""
        first = self.run.started_at is None
        if first or self.run.status != RunStatus.RUNNING:
            self._write(End.HOLD, [], lambda: self._begun(first), change=RunChange(self.run, RunStatus.RUNNING))
        else:
            self._proceed()

    def _begun(self, first: bool) -> None:
        if first:
            self._announce(signals.workflow_started, ExecutionRun, run=self.run)
        self._proceed()

    def take(self, result: Result) -> None:
        """Take the result of an attempt.

        Args:
            result: The result; ignored where the run is over.
        """
        self._running.pop(result.attempt.step.id, None)
        self._plan = None
        if self.is_over:
            return
        if isinstance(result.error, LeaseLostError | DoubtfulCommitError):
            self.abandon(result.error)
            return
        row = self._row_of(result)
        if result.durable:
            self._announce_steps([row])
        else:
            self._rows.append(row)
        self._proceed()

    def look_again(self) -> None:
        """Start a retry that became due while other steps were under way; call it now and then."""
        if self._retry_at is not None and self._clock() >= self._retry_at:
            self._retry_at = self._plan = None
            self._proceed()

    def put_back(self, attempts: Collection[Attempt]) -> bool:
        """Take back attempts that were never begun; the run is handed back where nothing else is under way.

        Args:
            attempts: The attempts.

        Returns:
            Whether they were taken back; otherwise the run goes on, and they are to be launched as they are.
        """
        has_more = len(self._running) > len(attempts) or bool(self._rows) or self._awaiting
        if has_more and not self._draining.is_set():
            return False
        for attempt in attempts:
            self._running.pop(attempt.step.id, None)
        self._plan = None
        if has_more or self.is_over:
            self._proceed()
        else:
            self._write(End.RELEASE, [], self._end)
        return True

    def abandon(self, reason: Exception | None = None) -> None:
        """Put the run down as it is: somebody else holds it, nobody waits for it any more, or it cannot go on here.

        Where it will be tried again, what its steps have done is written first, so that it is not done twice.

        Args:
            reason: Why.
        """
        if self.is_over:
            return
        for attempt in self._running.values():
            attempt.cancelled.set()
        if self._rows and reason is not None and not isinstance(reason, LeaseLostError | DoubtfulCommitError):
            self.is_over = True
            self._journal.add(Entry(self.item, End.HOLD, lambda _: self._ended(self, reason), steps=self._rows))
        else:
            self._end(reason)

    def _proceed(self) -> None:
        if self.is_over or self._awaiting:
            return  # what follows is decided when the entry under way is durable
        step, self._plan = self._plan or self._look_ahead(), None
        self._retry_at = step.waiting_until if self._running else None
        draining = self._draining.is_set()
        if self._rows and step.outcome is None and not self._waits(step):
            self._plan = step  # it holds until something else ends
            self._checkpoint()
        elif step.outcome is not None:
            self._finish(step)
        elif not self._running and (draining or not step.ready):
            self._put_down(step)
        elif not draining:
            for number, step_id in enumerate(step.ready):
                if number and self._draining.is_set():
                    break  # each may have taken its time; those under way are waited for
                self._start(step_id)

    def _look_ahead(self) -> Plan:
        limit = settings.current().execution.max_output_bytes
        step = plan(self._workflow, self._state, self._clock(), running=self._running, max_output_bytes=limit)
        self._skip(step)
        return step

    def _waits(self, step: Plan) -> bool:
        return not self._running and not step.ready and step.waiting_until is not None

    def _skip(self, step: Plan) -> None:
        """Record the steps that the planner decided about without starting them."""
        for step_id, reason in step.skipped.items():
            self._steps[step_id] = StepState(StepStatus.SKIPPED)
            self._add_row(step_id, StepRun.Status.SKIPPED, reason=reason[:500])
        for step_id, error in step.failed.items():
            self._steps[step_id] = StepState(StepStatus.FAILED, error=error, attempts=1)
            self._add_row(step_id, StepRun.Status.FAILED, error=dict(error))

    def _add_row(self, step_id: str, status: StepRun.Status, **values: Any) -> None:
        action = self._workflow.steps[step_id].action
        now = self._clock()
        self._rows.append(
            new_row(StepRun, run=self.run, step_id=step_id, action=action, status=status, finished_at=now, **values)
        )

    def _start(self, step_id: str) -> None:
        step = self._workflow.steps[step_id]
        earlier = self._steps.get(step_id)
        attempt = Attempt(
            workflow=self._workflow.definition.slug,
            step=step,
            number=(earlier.attempts if earlier else 0) + 1,
            context=context_for(self._workflow, self._state, step_id),
            run_id=self.run.pk,
            idempotency_key=f"{self._origin}:{step_id}",
            tenant=self.run.execution.tenant,
            depth=self.run.execution.causation_depth,
            timeout=float(step.timeout or settings.current().execution.timeout_seconds),
            clock=self._clock,
            registry=self._registry,
            template=self._workflow.prepared[step_id].params,
        )
        if self._shares_transaction(step.action):
            attempt.checkpoint = OwnCheckpoint(self.run, self.item, self._journal)
        self._running[step_id] = attempt
        self._announce(signals.step_started, StepRun, run=self.run, step_id=step_id, attempt=attempt.number)
        self._launch(self, attempt)

    def _shares_transaction(self, action: str) -> bool:
        try:
            return self._registry.get_action(action)[1].transactional
        except AutomateError:
            return False  # the attempt will say what is wrong with it

    # -- results ----------------------------------------------------------------------------------------------------

    def _row_of(self, result: Result) -> StepRun:
        """Return the row of a result, and take the result into the state of the run."""
        attempt, step = result.attempt, result.attempt.step
        row = row_of(self.run, result)
        if result.error is None:
            state = StepState(StepStatus.SUCCESS, output=result.output, attempts=attempt.number)
        else:
            state = self._after_failure(attempt, result.error, row)
            logger.warning(
                "Step %s failed (attempt %s): %s",
                step.id,
                attempt.number,
                result.error,
                extra={"run_id": attempt.run_id},
            )
        self._steps[step.id] = state
        return row

    def _after_failure(self, attempt: Attempt, error: AutomateError, row: StepRun) -> StepState:
        retry = after_failure(
            attempt.step,
            error,
            attempt.number,
            policy=self._workflow.definition.retry_policy(RetryPolicy.from_settings(settings.current().execution)),
            now=self._clock(),
            random=random.random(),  # noqa: S311 - jitter, which guards nothing
        )
        if retry is not None:
            row.status, row.retry_at = StepRun.Status.RETRY, retry.at
            return StepState(StepStatus.RETRY, error=row.error, attempts=attempt.number, retry_at=retry.at)
        row.status = StepRun.Status.FAILED
        return StepState(StepStatus.FAILED, error=row.error, attempts=attempt.number)

    # -- entries ----------------------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        rows, self._rows = self._rows, []
        self._write(End.HOLD, rows, self._proceed)

    def _put_down(self, step: Plan) -> None:
        rows, self._rows = self._rows, []
        if step.waiting_until is not None and not step.ready:
            change = RunChange(self.run, RunStatus.WAITING)
            self._write(End.RESCHEDULE, rows, self._end, change=change, due=step.waiting_until)
        else:
            self._write(End.RELEASE, rows, self._end)

    def _finish(self, step: Plan) -> None:
        if step.outcome is Outcome.SUCCESS:
            change, signal = RunChange(self.run, RunStatus.SUCCESS, _outputs(step)), signals.workflow_completed
        else:
            error = {**(step.error or {}), "step": step.failed_step}
            change, signal = RunChange(self.run, RunStatus.FAILED, error=error), signals.workflow_failed
        rows, self._rows = self._rows, []

        def finished() -> None:
            self._announce(signal, ExecutionRun, run=self.run)
            self._end()

        self._write(End.COMPLETE, rows, finished, change=change)

    def _write(
        self,
        end: End,
        rows: list[StepRun],
        then: Callable[[], None],
        *,
        change: RunChange | None = None,
        due: datetime | None = None,
    ) -> None:
        self._awaiting = True

        def settled(problem: Exception | None) -> None:
            self._awaiting = False
            if problem is not None:
                self.abandon(problem)
            elif not self.is_over:
                self._announce_steps(rows)
                try:
                    then()
                except Exception as error:  # noqa: BLE001 - what is wrong with one run keeps no other waiting
                    self.abandon(error)

        self._journal.add(Entry(self.item, end, settled, steps=rows, change=change, due=due))

    def _announce_steps(self, rows: Iterable[StepRun]) -> None:
        for row in rows:
            if row.status == StepRun.Status.SUCCESS:
                self._announce(signals.step_completed, StepRun, run=self.run, step=row)
            elif row.status != StepRun.Status.SKIPPED:
                self._announce(signals.step_failed, StepRun, run=self.run, step=row)

    def _end(self, reason: Exception | None = None) -> None:
        self.is_over = True
        self._ended(self, reason)
