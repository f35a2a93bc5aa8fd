"""Carrying a run on: ask the planner what is ready, have it executed, write the checkpoint, until there is no more."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from automate_core import settings
from automate_core.errors import AutomateError, LeaseLostError
from automate_core.redaction import redact
from automate_core.registry import Registry
from automate_core.retry import RetryPolicy
from automate_core.workflow.planner import (
    Outcome,
    Plan,
    Retry,
    RunState,
    StepState,
    StepStatus,
    after_failure,
    context_for,
    error_json,
    plan,
)

from automate import signals
from automate.models import ExecutionRun, RunStatus, StepRun
from automate.runtime.callers import Caller
from automate.runtime.execute import Attempt, Result
from automate.runtime.runs import Ledger, load_state
from automate.runtime.stop import Stop
from automate.runtime.versions import compiled

__all__ = ["Advance"]

logger = logging.getLogger("automate.runtime")

_LOOK_AROUND_SECONDS = 0.5
"""How long a run waits for its steps before it looks whether it shall stop."""


class Advance:
    """Carries one claimed run on until it ends, waits, or is handed back.

    Args:
        ledger: The run's rows and its lease.
        caller: Calls the actions.
        registry: Where actions are looked up.
        clock: Tells the time as the database has it.
        stop: Reasons to put the run down.
    """

    def __init__(
        self, ledger: Ledger, caller: Caller, registry: Registry, clock: Callable[[], datetime], stop: Stop
    ) -> None:
        self._ledger, self._caller, self._registry, self._clock, self._stop = ledger, caller, registry, clock, stop
        self._run: ExecutionRun = ledger.run
        self._workflow = compiled(self._run.execution.version)
        self._state: RunState = load_state(self._run)
        self._steps: dict[str, StepState] = dict(self._state.steps)
        self._state = replace(self._state, steps=self._steps)
        self._running: set[str] = set()
        self._rows: list[StepRun] = []

    def run(self) -> None:
        """Do it.

        Raises:
            LeaseLostError: If somebody else holds the run by now; nothing more was written.
        """
        self._ledger.begin()
        while True:
            if self._stop.abandoned.is_set():
                raise LeaseLostError(f"Run {self._run.pk} was put down.")
            step = plan(self._workflow, self._state, self._clock(), running=self._running)
            self._skip(step)
            if step.outcome is not None:
                self._finish(step)
                return
            if not self._running and (self._stop.draining.is_set() or not step.ready):
                self._put_down(step)
                return
            self._flush()
            if not self._stop.draining.is_set():
                for step_id in step.ready:
                    self._start(step_id)
            for result in self._caller.wait(_LOOK_AROUND_SECONDS):
                self._take(result)

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
            StepRun(run=self._run, step_id=step_id, action=action, status=status, finished_at=now, **values)
        )

    def _start(self, step_id: str) -> None:
        step = self._workflow.steps[step_id]
        earlier = self._steps.get(step_id)
        attempt = Attempt(
            workflow=self._workflow.definition.slug,
            step=step,
            number=(earlier.attempts if earlier else 0) + 1,
            context=context_for(self._workflow, self._state, step_id),
            run_id=self._run.pk,
            tenant=self._run.execution.tenant,
            depth=self._run.execution.causation_depth,
            timeout=float(step.timeout or settings.current().execution.timeout_seconds),
            clock=self._clock,
            registry=self._registry,
        )
        self._running.add(step_id)
        signals.send(signals.step_started, StepRun, run=self._run, step_id=step_id, attempt=attempt.number)
        self._caller.start(attempt)

    def _take(self, result: Result) -> None:
        attempt, step = result.attempt, result.attempt.step
        self._running.discard(step.id)
        row = StepRun(
            run=self._run,
            step_id=step.id,
            action=step.action,
            attempt=attempt.number,
            input=result.input,
            idempotency_key=attempt.idempotency_key,
            started_at=result.started_at,
            finished_at=result.finished_at,
        )
        if result.error is None:
            row.status, row.output = StepRun.Status.SUCCESS, result.output
            state = StepState(StepStatus.SUCCESS, output=result.output, attempts=attempt.number)
        else:
            row.error = error_json(result.error)
            state = self._after_failure(result.attempt, result.error, row)
            logger.warning(
                "Step %s failed (attempt %s): %s",
                step.id,
                attempt.number,
                result.error,
                extra={"run_id": attempt.run_id},
            )
        self._steps[step.id] = state
        self._rows.append(row)

    def _after_failure(self, attempt: Attempt, error: AutomateError, row: StepRun) -> StepState:
        verdict = after_failure(
            attempt.step,
            error,
            attempt.number,
            policy=RetryPolicy.from_settings(settings.current().execution),
            now=self._clock(),
            random=random.random(),  # noqa: S311 - jitter, which guards nothing
        )
        if isinstance(verdict, Retry):
            row.status, row.retry_at = StepRun.Status.RETRY, verdict.at
            return StepState(StepStatus.RETRY, error=row.error, attempts=attempt.number, retry_at=verdict.at)
        row.status = StepRun.Status.FAILED
        return StepState(StepStatus.FAILED, error=row.error, attempts=attempt.number)

    def _flush(self) -> None:
        if self._rows:
            rows, self._rows = self._rows, []
            self._ledger.checkpoint(rows)

    def _put_down(self, step: Plan) -> None:
        if step.waiting_until is not None and not step.ready:
            self._ledger.suspend(self._rows, step.waiting_until)
            return
        self._flush()
        ledger = self._ledger
        ledger.store.release(ledger.item.id, ledger.worker_id, lease_token=ledger.item.lease_token)

    def _finish(self, step: Plan) -> None:
        if step.outcome is Outcome.SUCCESS:
            self._ledger.finish(self._rows, RunStatus.SUCCESS, outputs=redact(step.output))
        else:
            error = {**(step.error or {}), "step": step.failed_step}
            self._ledger.finish(self._rows, RunStatus.FAILED, error=error)
