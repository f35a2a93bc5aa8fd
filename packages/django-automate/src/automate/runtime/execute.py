"""Executing one attempt of one step: render, check, resolve, call, normalise.

Of the run nothing is written here; that a step was given a secret, or denied it, is recorded before it is called.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from automate_core import settings
from automate_core.connectors import ActionContext, ActionSpec, Connector
from automate_core.errors import (
    ArtifactError,
    AutomateError,
    ErrorCodes,
    PermanentError,
    SecretAccessDenied,
    SecretNotFoundError,
    StepTimeout,
    TransientError,
)
from automate_core.payload import canonical_json
from automate_core.redaction import redact, redact_text
from automate_core.registry import Registry
from automate_core.secrets import SecretAccess, SecretValue, resolver
from automate_core.workflow.definition import StepDefinition
from automate_core.workflow.templates import ValueTemplate
from pydantic_core import to_jsonable_python

from automate import artifacts
from automate.events import Causation, causation
from automate.payloads import ensure_storable
from automate.policy import ensure_allowed
from automate.runtime.connections import AWAY, contained

__all__ = [
    "Attempt",
    "Checkpoint",
    "Prepared",
    "Rendered",
    "Result",
    "call",
    "execute",
    "for_row",
    "prepare",
    "timed_out",
    "unexecuted",
]


class Checkpoint(Protocol):
    """Writes the checkpoint of one attempt in the transaction of its action, under the fence of the run."""

    def fence(self) -> None:
        """Refuse to go on where the run is no longer held.

        Raises:
            LeaseLostError: If it is not.
        """
        ...

    def save(self, result: Result) -> None:
        """Write the row of a success.

        Args:
            result: The success.
        """
        ...


@dataclass(slots=True)
class Attempt:
    """One attempt of one step, ready to be executed.

    Args:
        workflow: The slug of the workflow.
        step: The step.
        number: Number of the attempt, from 1.
        context: What its templates see: ``event``, ``steps``, ``execution``; large values are references.
        run_id: The run.
        idempotency_key: The same for every attempt of this step, in this run and in those that carry it on after its
            death.
        tenant: Its tenant.
        depth: Length of the chain of events that led here.
        timeout: Seconds that it may take.
        clock: Tells the time as the database has it.
        registry: Where actions are looked up.
        template: The parameters of the step as its compiled version holds them.
        checkpoint: Writes the checkpoint of an action that shares its transaction with it.
        cancelled: Set when nobody waits for the result any more.
        started_at: When it began; None while it waits for its turn.
        deadline: ``time.monotonic()`` at which it times out; 0.0 while it waits for its turn.
    """

    workflow: str
    step: StepDefinition
    number: int
    context: Mapping[str, Any]
    run_id: UUID
    idempotency_key: str
    tenant: str
    depth: int
    timeout: float
    clock: Callable[[], datetime]
    registry: Registry
    template: ValueTemplate
    checkpoint: Checkpoint | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    started_at: datetime | None = None
    deadline: float = 0.0

    def begin(self) -> None:
        """Start its clock."""
        self.started_at = self.clock()
        self.deadline = time.monotonic() + self.timeout


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an attempt.

    Args:
        attempt: The attempt.
        finished_at: When it ended.
        input: The rendered parameters, redacted, as its row holds them; secrets are still references.
        output: What the action returned, as JSON, redacted, as its row holds it.
        error: Why it failed; None where it did not.
        durable: Whether its row is written already, in the transaction of the action itself.
    """

    attempt: Attempt
    finished_at: datetime
    input: Any = None
    output: Any = None
    error: AutomateError | None = None
    durable: bool = False


class Rendered(NamedTuple):
    """The rendered parameters of an attempt, and their canonical text."""

    params: dict[str, Any]
    encoded: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """An attempt of which everything is known that its action gets.

    Args:
        attempt: The attempt.
        rendered: Its parameters as its row holds them: secrets are references.
        connector: The class of its connector.
        action: The name of its action within the connector.
        params: Its parameters as the connector gets them: secrets are values that do not show themselves.
    """

    attempt: Attempt
    rendered: Rendered
    connector: type[Connector]
    action: str
    params: dict[str, Any]


def prepare(attempt: Attempt) -> Prepared | Result:
    """Do everything that comes before the call: render, check the policy, resolve secrets.

    Accesses to secrets are recorded here. It is not done within the transaction or savepoint of the action, which would
    take the records along when it is rolled back.

    Args:
        attempt: The attempt; its clock starts here.

    Returns:
        What is to be called, or the result where it comes to no call. Nothing is raised.
    """
    attempt.begin()
    rendered: Rendered | None = None
    try:
        attempt.context = artifacts.reveal(attempt.context, attempt.step.params)
        rendered = _render(attempt)
        ensure_allowed(attempt.step.action, attempt.tenant)
        connector, spec = attempt.registry.get_action(attempt.step.action)
        params = _with_secrets(attempt, spec) if attempt.template.has_secrets else rendered.params
        return Prepared(attempt, rendered, connector, spec.name, params)
    except BaseException as failure:  # noqa: BLE001 - whatever it is, somebody waits for a result
        return _failure(attempt, rendered, failure)


def call(prepared: Prepared) -> Result | Awaitable[Result]:
    """Call the action of an attempt.

    Args:
        prepared: The attempt.

    Returns:
        Its result, or what gives it when it is awaited, where the action is asynchronous. Nothing is raised: whatever
        goes wrong, even ``SystemExit``, is an error of the step.
    """
    attempt, rendered = prepared.attempt, prepared.rendered
    token = causation.set(Causation(attempt.run_id, attempt.depth, attempt.tenant))
    try:
        with contained():
            value = _call(prepared)
            if hasattr(type(value), "__await__"):
                return _await(attempt, rendered, value)
            output = _as_json(value, attempt.step.action)
        return _success(attempt, rendered, output, _encode(attempt, output))
    except BaseException as failure:  # noqa: BLE001 - an action that exits must not take the worker along
        return _failure(attempt, rendered, failure)
    finally:
        causation.reset(token)


def execute(attempt: Attempt) -> Result | Awaitable[Result]:
    """Execute an attempt: :func:`prepare`, then :func:`call`.

    Args:
        attempt: The attempt; its clock starts here.

    Returns:
        Its result, or what gives it when it is awaited, where the action is asynchronous. Nothing is raised.
    """
    prepared = prepare(attempt)
    return prepared if isinstance(prepared, Result) else call(prepared)


async def _await(attempt: Attempt, rendered: Rendered, value: Awaitable[Any]) -> Result:
    token = causation.set(Causation(attempt.run_id, attempt.depth, attempt.tenant))
    try:
        output = await asyncio.wait_for(value, max(attempt.deadline - time.monotonic(), 0.0))
        output = _as_json(output, attempt.step.action)
        encoded = _encode(attempt, output)
        if len(encoded) + len(rendered.encoded) > settings.current().execution.inline_bytes:
            # A file may have to be written, for which the other actions of the loop must not wait.
            return await asyncio.to_thread(_success, attempt, rendered, output, encoded)
        return _success(attempt, rendered, output, encoded)
    except BaseException as failure:  # noqa: BLE001 - as above
        return _failure(attempt, rendered, failure)
    finally:
        causation.reset(token)


def _encode(attempt: Attempt, output: Any) -> bytes:
    if time.monotonic() > attempt.deadline:
        raise _timeout(attempt)
    return ensure_storable(
        output,
        max_bytes=settings.current().execution.max_output_bytes,
        what=f"output of {attempt.step.action!r}",
        require_object=False,
    )


def _success(attempt: Attempt, rendered: Rendered, output: Any, encoded: bytes) -> Result:
    return Result(attempt, attempt.clock(), for_row(*rendered), for_row(output, encoded))


def for_row(value: Any, encoded: bytes) -> Any:
    """Return what a row holds of a value: redacted, and where it is large, a reference to its file.

    Args:
        value: The value.
        encoded: Its canonical text.

    Raises:
        ArtifactUnavailable: If it looks like a reference and cannot be kept apart from its row.
    """
    clean = redact(value)
    return artifacts.prepare(clean, encoded if clean == value else canonical_json(clean))


def _failure(attempt: Attempt, rendered: Rendered | None, failure: BaseException) -> Result:
    if isinstance(failure, AutomateError):
        error = failure
    else:
        error = _timeout(attempt) if time.monotonic() >= attempt.deadline else _wrap(failure)
    try:
        given = None if rendered is None else for_row(*rendered)
    except ArtifactError:
        given = None  # the error of the step is what matters
    return Result(attempt, attempt.clock(), given, error=error)


def _render(attempt: Attempt) -> Rendered:
    limit = settings.current().execution.max_output_bytes
    rendered = attempt.template.render(attempt.context, max_bytes=limit)
    # Refused before the call: an input that cannot be recorded would have the step called again and again.
    return Rendered(rendered, ensure_storable(rendered, max_bytes=limit, what=f"input of {attempt.step.action!r}"))


def _with_secrets(attempt: Attempt, spec: ActionSpec) -> dict[str, Any]:
    """Render the parameters with their secrets, once it is sure that nothing else keeps the action from being called.

    References are those of the definition alone. Each is asked for once, however often it is written.
    """
    access = SecretAccess(
        workflow=attempt.workflow,
        connector=attempt.step.action.partition(".")[0],
        action=attempt.step.action,
        tenant=attempt.tenant,
        run_id=str(attempt.run_id),
        step_id=attempt.step.id,
    )
    limit = settings.current().execution.max_output_bytes
    render = partial(attempt.template.render, attempt.context, max_bytes=limit)
    spec.ensure_may_fit(render(resolve_ref=SecretValue))
    if attempt.cancelled.is_set() or time.monotonic() > attempt.deadline:
        raise _timeout(attempt)
    params: dict[str, Any] = render(resolve_ref=cache(partial(_secret, access)))
    return params


def _secret(access: SecretAccess, ref: str) -> SecretValue:
    """Resolve one reference; a backend that fails takes no transaction of the caller along, and no record is lost."""
    with contained():
        try:
            return resolver.secret(ref, access)
        except (SecretAccessDenied, SecretNotFoundError) as error:
            denial: AutomateError = error
    raise denial


def _call(prepared: Prepared) -> Any:
    attempt = prepared.attempt
    connector = prepared.connector(
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
    return connector.call(prepared.action, prepared.params)


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
        text = f"{name}: {redact_text(failure)}"
    except BaseException:  # noqa: BLE001 - an exception that cannot even be shown is still an outcome of the step
        text = f"{name} was raised."
    error: AutomateError = PermanentError(text, code=ErrorCodes.STEP_FAILED, context={"type": name})
    if isinstance(failure, AWAY):
        error = TransientError(text, context={"type": name})
    error.__cause__ = failure
    return error


def unexecuted(attempt: Attempt, failure: BaseException) -> Result:
    """Return the result of an attempt of which something failed that is not the action's: what executes it, say.

    Args:
        attempt: The attempt.
        failure: What was raised.
    """
    return Result(attempt, attempt.clock(), error=_wrap(failure))


def timed_out(attempt: Attempt) -> Result:
    """Return the result of an attempt that is not waited for any longer, and tell its action.

    Args:
        attempt: The attempt.
    """
    attempt.cancelled.set()
    return Result(attempt, attempt.clock(), error=_timeout(attempt))


def _timeout(attempt: Attempt) -> StepTimeout:
    return StepTimeout(
        f"Step {attempt.step.id!r} took longer than {attempt.timeout:g} s. Raise its timeout, or "
        f"EXECUTION.timeout_seconds, if it needs more.",
        context={"step": attempt.step.id, "timeout": attempt.timeout},
    )
