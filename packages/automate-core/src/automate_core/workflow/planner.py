"""What follows from the state of a run: which steps are ready, which are skipped, whether it is over. It is pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from automate_core.errors import AutomateError, ErrorCodes, InvalidPayloadError
from automate_core.payload import MAX_DEPTH_MARIADB, check_payload, storable_text
from automate_core.retry import RetryPolicy
from automate_core.workflow.compiled import CompiledWorkflow, PreparedStep
from automate_core.workflow.definition import StepDefinition
from automate_core.workflow.templates import MAX_RENDERED_BYTES

__all__ = [
    "Outcome",
    "Plan",
    "Retry",
    "RunState",
    "StepState",
    "StepStatus",
    "after_failure",
    "context_for",
    "error_json",
    "plan",
]


_CODE_LENGTH = 100
_MESSAGE_LENGTH = 4000
_CONTEXT_BYTES = 64 * 1024


class StepStatus(StrEnum):
    """What is recorded of a step. Steps that were never decided about have no state at all."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    RETRY = "RETRY"


_NAMES = {status: status.value for status in StepStatus}
"""The statuses as plain text; an enum gives its value at several times the cost of this look-up."""


class Outcome(StrEnum):
    """How a run ended."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class StepState:
    """What is recorded of one step.

    Args:
        status: How it stands. FAILED is final; whether the run goes on, ``on_error`` of the step decides.
        output: What it returned, as JSON; None unless it succeeded.
        error: What went wrong last, in the form of :func:`error_json`.
        attempts: Attempts so far.
        retry_at: With RETRY, when the next attempt is due.
    """

    status: StepStatus
    output: Any = None
    error: Mapping[str, Any] | None = None
    attempts: int = 0
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunState:
    """What is recorded of a run.

    Args:
        event: What rules and templates see as ``event``: a JSON object with ``payload``.
        execution: What they see as ``execution``: a JSON object.
        steps: The recorded steps by id.
        reveal: Where large values are kept elsewhere, puts them into a context in the place of what stands for them.
            It is called before a condition is evaluated, with None, and before the output of the run is rendered, with
            its templates; what it raises is raised.
    """

    event: Mapping[str, Any] = field(default_factory=dict)
    execution: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, StepState] = field(default_factory=dict)
    reveal: Callable[[dict[str, Any], Any], dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done now.

    Args:
        ready: Steps to start, in the order of the definition.
        skipped: Steps to be recorded as SKIPPED, each with the reason.
        failed: Steps to be recorded as FAILED although they never started, because their ``if`` cannot be evaluated;
            each with its error.
        waiting_until: When the next retry is due, where one is waited for.
        outcome: How the run ended; None while it has not.
        failed_step: With FAILED, the step that did it; None where rendering the output did.
        error: With FAILED, why, in the form of :func:`error_json`.
        output: With SUCCESS, the rendered output of the run.
    """

    ready: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    waiting_until: datetime | None = None
    outcome: Outcome | None = None
    failed_step: str | None = None
    error: Mapping[str, Any] | None = None
    output: Any = None


@dataclass(frozen=True, slots=True)
class Retry:
    """A failed step is tried again.

    Args:
        at: When.
        delay: Seconds until then.
    """

    at: datetime
    delay: float


def error_json(error: BaseException) -> dict[str, Any]:
    """Return an error as what is recorded of it.

    Args:
        error: The error. Only one of our tree tells more than its type: the text of any other may hold anything.

    Returns:
        ``code``, ``message``, ``type`` and ``context``, as every database can hold them.
    """
    name = type(error).__name__
    if not isinstance(error, AutomateError):
        return {"code": str(ErrorCodes.INTERNAL), "message": f"{name} was raised.", "type": name, "context": {}}
    return {
        "code": storable_text(str(error.code), _CODE_LENGTH),
        "message": storable_text(error.message, _MESSAGE_LENGTH),
        "type": name,
        "context": _storable(error.context),
    }


def _storable(context: dict[str, Any]) -> dict[str, Any]:
    """Return a context, or why it is left out: whoever raised the error may have put anything there."""
    try:
        check_payload(context, max_bytes=_CONTEXT_BYTES, what="context", max_depth=MAX_DEPTH_MARIADB - 1)
    except InvalidPayloadError as problem:
        return {"left_out": f"The context {problem.context['reason']}."}
    return context


def plan(
    workflow: CompiledWorkflow,
    state: RunState,
    now: datetime,
    *,
    running: Collection[str] = (),
    max_output_bytes: int = MAX_RENDERED_BYTES,
) -> Plan:
    """Decide what follows from the state of a run.

    Args:
        workflow: The compiled version that the run is pinned to.
        state: What is recorded.
        now: The time, aware.
        running: Steps that are in flight right now, without a recorded end.
        max_output_bytes: Largest rendered output.

    Returns:
        The same plan for the same arguments. Whoever carries it out records ``skipped`` and ``failed``, starts
        ``ready``, and plans again when one of them has ended.
    """
    survey = _Survey(workflow, state, now, running)
    survey.look_at_all()
    skipped, failed, culprit = survey.skipped, survey.failed, survey.culprit
    if culprit is not None:
        if survey.in_flight:
            return Plan(skipped=skipped, failed=failed)
        error = survey.steps[culprit].error
        return Plan(skipped=skipped, failed=failed, outcome=Outcome.FAILED, failed_step=culprit, error=error)
    if survey.ready or survey.in_flight or survey.retries:
        return Plan(tuple(survey.ready), skipped, failed, min(survey.retries) if survey.retries else None)
    context = _context(workflow, state, survey.steps)
    if state.reveal is not None:
        context = state.reveal(context, workflow.definition.output)
    try:
        output = workflow.output.render(context, max_bytes=max_output_bytes)
    except AutomateError as failure:
        return Plan(skipped=skipped, failed=failed, outcome=Outcome.FAILED, error=error_json(failure))
    return Plan(skipped=skipped, failed=failed, outcome=Outcome.SUCCESS, output=output)


class _Survey:
    """One pass over the steps in their order; every step comes after what it needs."""

    __slots__ = (
        "_now", "_running", "_state", "_workflow",
        "culprit", "failed", "in_flight", "ready", "retries", "skipped", "steps",
    )  # fmt: skip

    def __init__(self, workflow: CompiledWorkflow, state: RunState, now: datetime, running: Collection[str]) -> None:
        self._workflow = workflow
        self._state = state
        self._now = now
        self._running = running
        self.steps = dict(state.steps)
        self.ready: list[str] = []
        self.skipped: dict[str, str] = {}
        self.failed: dict[str, Mapping[str, Any]] = {}
        self.retries: list[datetime] = []
        self.in_flight = False
        self.culprit: str | None = None

    def look_at_all(self) -> None:
        steps, running, success = self.steps, self._running, StepStatus.SUCCESS
        for step in self._workflow.prepared.values():
            recorded = steps.get(step.id)
            if recorded is not None:
                if recorded.status is not success:
                    self._look_at_unsuccessful(step, recorded)
            elif step.id in running:
                self.in_flight = True
            else:
                self._decide(step)

    def _look_at_unsuccessful(self, step: PreparedStep, recorded: StepState) -> None:
        if recorded.status is StepStatus.RETRY:
            self._look_at_retry(step, recorded)
        elif recorded.status is StepStatus.FAILED:
            self._look_at_failure(step)

    def _look_at_retry(self, step: PreparedStep, recorded: StepState) -> None:
        if step.id in self._running:
            self.in_flight = True
        elif recorded.retry_at is None or recorded.retry_at <= self._now:
            self.ready.append(step.id)
        else:
            self.retries.append(recorded.retry_at)

    def _look_at_failure(self, step: PreparedStep) -> None:
        if not step.is_tolerated and self.culprit is None:
            self.culprit = step.id

    def _decide(self, step: PreparedStep) -> None:
        are_finished = True
        for name in step.needs:
            needed = self.steps.get(name)
            if needed is None:
                are_finished = False
            elif needed.status is StepStatus.SKIPPED:
                self._skip(step, f"step {name!r}, which it needs, was skipped")
                return
            elif needed.status is not StepStatus.SUCCESS:
                is_over = needed.status is not StepStatus.RETRY and self._workflow.prepared[name].is_tolerated
                are_finished = are_finished and is_over
        if are_finished:
            self._decide_condition(step)

    def _decide_condition(self, step: PreparedStep) -> None:
        if step.condition is None:
            self.ready.append(step.id)
            return
        context = _context(self._workflow, self._state, self.steps, step.ancestors)
        if self._state.reveal is not None:
            context = self._state.reveal(context, None)
        try:
            holds = step.condition.evaluate(context)
        except AutomateError as error:
            self.failed[step.id] = error_json(error)
            self.steps[step.id] = StepState(StepStatus.FAILED, error=self.failed[step.id])
            self._look_at_failure(step)
            return
        if holds:
            self.ready.append(step.id)
        else:
            self._skip(step, "its condition is false")

    def _skip(self, step: PreparedStep, reason: str) -> None:
        self.skipped[step.id] = reason
        self.steps[step.id] = StepState(StepStatus.SKIPPED)


def context_for(workflow: CompiledWorkflow, state: RunState, step_id: str) -> dict[str, Any]:
    """Return what the templates and the ``if`` of a step see.

    A step sees the steps that it needs, and what those need, and no others: what it sees does not depend on how fast a
    parallel branch was.

    Args:
        workflow: The compiled version that the run is pinned to.
        state: What is recorded.
        step_id: The step.

    Returns:
        ``event``, ``execution``, ``item``, and ``steps`` with ``output``, ``status`` and ``error`` of each. The values
        are those of the state, not copies; rendering copies.
    """
    return _context(workflow, state, state.steps, workflow.prepared[step_id].ancestors)


def _context(
    workflow: CompiledWorkflow, state: RunState, steps: Mapping[str, StepState], visible: int | None = None
) -> dict[str, Any]:
    bits = workflow.bits
    seen = {
        name: {
            "output": step.output,
            "status": _NAMES[step.status],
            "error": None if step.error is None else dict(step.error),
        }
        for name, step in steps.items()
        if (visible is None or bits.get(name, 0) & visible) and step.status is not StepStatus.RETRY
    }
    return {"event": dict(state.event), "steps": seen, "execution": dict(state.execution), "item": None}


def after_failure(
    step: StepDefinition, error: BaseException, attempt: int, *, policy: RetryPolicy, now: datetime, random: float
) -> Retry | None:
    """Decide what follows from a failed attempt of a step.

    Args:
        step: The step.
        error: Why the attempt failed, normalised.
        attempt: Its number, from 1.
        policy: The policy where the step sets nothing; see :meth:`automate_core.retry.RetryPolicy.from_settings`.
        now: The time, aware.
        random: A random number, ``0 <= random < 1``.

    Returns:
        When the step is tried again; None where it has failed for good.
    """
    delay = step.retry_policy(policy).next_delay(error, attempt, random=random)
    return None if delay is None else Retry(now + timedelta(seconds=delay), delay)
