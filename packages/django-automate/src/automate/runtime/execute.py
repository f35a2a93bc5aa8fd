"""Executing one attempt of one step: render, check, resolve, call, normalise. Nothing is written here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from automate_core import settings
from automate_core.connectors import ActionContext
from automate_core.errors import AutomateError, ErrorCodes, PermanentError, StepTimeout
from automate_core.redaction import redact
from automate_core.registry import Registry
from automate_core.secrets import resolve
from automate_core.workflow.definition import StepDefinition
from automate_core.workflow.templates import MAX_RENDERED_BYTES, find_secret_refs, render
from pydantic_core import to_jsonable_python

from automate.events import Causation, causation
from automate.payloads import ensure_storable
from automate.policy import ensure_allowed
from automate.runtime.connections import contained

__all__ = ["Attempt", "Result", "execute", "timed_out"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of one step, ready to be executed.

    Args:
        workflow: The slug of the workflow.
        step: The step.
        number: Number of the attempt, from 1.
        context: What its templates see: ``event``, ``steps``, ``execution``.
        run_id: The run.
        tenant: Its tenant.
        depth: Length of the chain of events that led here.
        timeout: Seconds that it may take.
        clock: Tells the time as the database has it.
        registry: Where actions are looked up.
        cancelled: Set when nobody waits for the result any more.
        deadline: ``time.monotonic()`` at which it times out.
    """

    workflow: str
    step: StepDefinition
    number: int
    context: Mapping[str, Any]
    run_id: UUID
    tenant: str
    depth: int
    timeout: float
    clock: Callable[[], datetime]
    registry: Registry
    cancelled: threading.Event = field(default_factory=threading.Event)
    deadline: float = 0.0

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this step in this run."""
        return f"{self.run_id}:{self.step.id}"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an attempt.

    Args:
        attempt: The attempt.
        started_at: When it began.
        finished_at: When it ended.
        input: The rendered parameters, redacted; secrets are still references.
        output: What the action returned, as JSON, redacted.
        error: Why it failed; None where it did not.
    """

    attempt: Attempt
    started_at: datetime
    finished_at: datetime
    input: Any = None
    output: Any = None
    error: AutomateError | None = None


def execute(attempt: Attempt, call: Callable[[Any], Any]) -> Result:
    """Execute an attempt.

    Args:
        attempt: The attempt.
        call: Waits for what an asynchronous action returned, with the attempt's deadline.

    Returns:
        Its result. Nothing is raised: whatever goes wrong, even ``SystemExit``, is an error of the step.
    """
    started_at, rendered = attempt.clock(), None
    output: Any = None
    error: AutomateError | None = None
    token = causation.set(Causation(attempt.run_id, attempt.depth, attempt.tenant))
    try:
        rendered = _render(attempt)
        output = _call(attempt, rendered, call)
        if time.monotonic() > attempt.deadline:
            output, error = None, _timeout(attempt)
    except AutomateError as failure:
        error = failure
    except BaseException as failure:  # noqa: BLE001 - an action that exits must not take the worker along
        late = time.monotonic() >= attempt.deadline
        error = _timeout(attempt) if late else _wrap(failure)
    finally:
        causation.reset(token)
    return Result(attempt, started_at, attempt.clock(), redact(rendered), output, error)


def _render(attempt: Attempt) -> dict[str, Any]:
    rendered: dict[str, Any] = render(attempt.step.params, attempt.context)
    # Refused before the call: an input that cannot be recorded would have the step called again and again.
    ensure_storable(rendered, max_bytes=MAX_RENDERED_BYTES, what=f"input of {attempt.step.action!r}")
    return rendered


def _call(attempt: Attempt, rendered: dict[str, Any], call: Callable[[Any], Any]) -> Any:
    ensure_allowed(attempt.step.action)
    connector_class, spec = attempt.registry.get_action(attempt.step.action)
    params = rendered
    if find_secret_refs(attempt.step.params):
        # Secrets are put in last, into what the definition itself says, and never into anything that is kept.
        params = render(attempt.step.params, attempt.context, resolve_ref=resolve)
    connector = connector_class(
        config={},
        ctx=ActionContext(
            run_id=str(attempt.run_id),
            workflow=attempt.workflow,
            step_id=attempt.step.id,
            attempt=attempt.number,
            idempotency_key=attempt.idempotency_key,
            tenant=attempt.tenant,
            timeout=attempt.timeout,
            deadline=attempt.deadline,
            cancelled=attempt.cancelled,
        ),
    )
    with contained():
        output = _as_json(call(connector.call(spec.name, params)), attempt.step.action)
    ensure_storable(
        output,
        max_bytes=settings.current().execution.max_output_bytes,
        what=f"output of {attempt.step.action!r}",
        require_object=False,
    )
    return redact(output)


def _as_json(output: Any, action: str) -> Any:
    if isinstance(output, Iterator):  # it may never end
        raise PermanentError(f"{action!r} returned an iterator: return a list.")
    try:
        return to_jsonable_python(output)
    except Exception as error:
        raise PermanentError(f"{action!r} returned what is not JSON: {error}") from error


def _wrap(failure: BaseException) -> AutomateError:
    name = type(failure).__name__
    try:
        text = f"{name}: {failure}"
    except Exception:  # noqa: BLE001 - an exception that cannot even be shown is still an outcome of the step
        text = f"{name} was raised."
    error = PermanentError(text, code=ErrorCodes.STEP_FAILED, context={"type": name})
    error.__cause__ = failure
    return error


def timed_out(attempt: Attempt, started_at: datetime) -> Result:
    """Return the result of an attempt that is not waited for any longer, and tell its action.

    Args:
        attempt: The attempt.
        started_at: When it began.
    """
    attempt.cancelled.set()
    return Result(attempt, started_at, attempt.clock(), error=_timeout(attempt))


def _timeout(attempt: Attempt) -> StepTimeout:
    return StepTimeout(
        f"Step {attempt.step.id!r} took longer than {attempt.timeout:g} s. Raise its timeout, or "
        f"EXECUTION.timeout_seconds, if it needs more.",
        context={"step": attempt.step.id, "timeout": attempt.timeout},
    )
