"""Emitting events, and starting workflows directly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asgiref.sync import sync_to_async
from automate_core import settings
from automate_core.errors import AutomateError, DuplicateEventError, InvalidPayloadError, PolicyError, WorkflowNotFound
from automate_core.ids import new_trace_id
from automate_core.outbox import NewJob

from automate.concurrency import key_of, ordering_key_of
from automate.emitting import EVENT_JOB, NewEvent, Origin, check_text, draft_event, numbered, write_drafts

if TYPE_CHECKING:
    from automate.models import Workflow

__all__ = [
    "EVENT_JOB",
    "RUN_JOB",
    "Causation",
    "NewEvent",
    "aemit_event",
    "aemit_events",
    "arun_workflow",
    "causation",
    "emit_event",
    "emit_events",
    "run_workflow",
]

RUN_JOB = "automate.run"


@dataclass(frozen=True, slots=True)
class Causation:
    """The run in which code is executing.

    Args:
        run_id: The run.
        depth: How many events and runs caused each other before it.
        tenant: Its tenant.
    """

    run_id: UUID
    depth: int
    tenant: str


causation: ContextVar[Causation | None] = ContextVar("automate_causation", default=None)
"""The run in which code is executing; None outside of runs."""


def emit_event(
    type: str,
    payload: dict[str, Any],
    dedupe_key: str | None = None,
    *,
    source: str = "",
    subject: str = "",
    tenant: str | None = None,
    traceparent: str = "",
    ordering_key: str = "",
    priority: int = 0,
    queue: str = "default",
) -> str:
    """Write an event into the outbox, within the caller's transaction.

    Nothing is visible before the caller commits, and nothing remains when the caller rolls back. Outside of a
    transaction it commits on its own.

    Events with one ordering key are handled one after another, for each tenant and queue by itself, in the order in
    which they were emitted. One that waits for its next attempt holds back those behind it; one that became a dead
    letter does not.

    Args:
        type: What happened, such as ``"order.paid"``: words joined by dots.
        payload: A JSON object; at most ``EVENTS.max_payload_bytes`` long.
        dedupe_key: The same key again, from the same source and tenant, returns the event of the first call.
        source: Where it comes from.
        subject: What it is about, for finding it again.
        tenant: Whose it is; within a run the run's tenant unless given.
        traceparent: W3C trace context to continue.
        ordering_key: What it is to be kept in order with; empty for nothing.
        priority: Higher is handled first; -32,768 to 32,767.
        queue: Which workers handle it.

    Returns:
        The id of the event, as text.

    Raises:
        InvalidPayloadError: If the type, the payload or another text cannot be stored, or with
            ``EVENTS.enforce_schemas`` the payload does not fit the schema of its type; nothing was written and the
            caller's transaction is still usable.
        OutboxError: If the ordering key, the priority or the queue cannot be stored; likewise.
        DuplicateEventError: If the dedupe key was used before with another type or payload; likewise.
        ArtifactUnavailable: If the payload is large and its file cannot be written; likewise.
        PolicyError: If the chain of events and runs that cause each other is longer than
            ``EVENTS.max_causation_depth``; likewise.
    """
    origin = _origin("event", type)
    event = NewEvent(type, payload, dedupe_key, source, subject, tenant, traceparent, ordering_key, priority, queue)
    return write_drafts([draft_event(event, origin)], origin)[0]


def emit_events(events: Iterable[NewEvent | Mapping[str, Any]]) -> list[str]:
    """Write many events into the outbox, within the caller's transaction: all of them or none.

    It is what as many calls of :func:`emit_event` do, in two statements for up to 1,000 events (one on PostgreSQL) and
    a few more where there are dedupe keys. Keys are also told apart within the list: the second event of a key is
    the first. Outside of a transaction they commit together.

    Args:
        events: The events; a mapping has the names of :class:`NewEvent`.

    Returns:
        Their ids, as text, in the same order; for a key that was used before, the id of the event that has it.

    Raises:
        InvalidPayloadError: If an event cannot be stored. In this and the other errors ``context["index"]`` is the
            place of the first such event, from 0; nothing was written and the caller's transaction is still usable.
            What cannot be stored is found before what is a duplicate.
        OutboxError: If an ordering key, a priority or a queue cannot be stored.
        DuplicateEventError: If a dedupe key was used before, or earlier in the list, with another type or payload.
        ArtifactUnavailable: If a payload is large and its file cannot be written.
        PolicyError: If the chain of events and runs that cause each other is longer than
            ``EVENTS.max_causation_depth``.
    """
    given = list(events)
    origin = _origin("list of events")
    drafts = []
    for index, event in enumerate(given):
        try:
            drafts.append(draft_event(event if isinstance(event, NewEvent) else _read_event(event), origin))
        except AutomateError as error:
            raise numbered(error, index) from error
    try:
        return write_drafts(drafts, origin) if drafts else []
    except DuplicateEventError as error:
        raise numbered(error, error.context["index"]) from error


def _read_event(given: Mapping[str, Any]) -> NewEvent:
    try:
        return NewEvent(**given)
    except TypeError as error:
        names = ", ".join(field.name for field in fields(NewEvent))
        raise InvalidPayloadError(
            f"This is no event: pass a NewEvent, or a mapping with type, payload and what you need of {names}.",
            context={"argument": "events"},
        ) from error


def _origin(what: str, name: str = "") -> Origin:
    """Return what events that are emitted here and now have in common."""
    cause = causation.get()
    if cause is None:
        return Origin("", None, 0)
    return Origin(cause.tenant, cause.run_id, _depth(f"{what} {name!r}" if name else what, cause))


def _depth(what: str, cause: Causation | None) -> int:
    if cause is None:
        return 0
    limit = settings.current().events.max_causation_depth
    if cause.depth + 1 > limit:
        raise PolicyError(
            f"The {what} would be link {cause.depth + 1} of one chain of runs that cause each other; the limit is "
            f"EVENTS.max_causation_depth = {limit}. Break the loop with a rule.",
            context={"run_id": str(cause.run_id)},
        )
    return cause.depth + 1


def run_workflow(workflow_slug: str, payload: dict[str, Any], *, tenant: str | None = None) -> str:
    """Start a workflow directly, without event and rules, within the caller's transaction.

    The workflow's concurrency and rate hold for it as for others. In the modes ``skip`` and ``cancel_running`` whoever
    starts another run of the key waits until the transaction has ended.

    Args:
        workflow_slug: The workflow; its live version is run.
        payload: What the workflow sees as ``event.payload``.
        tenant: Whose run it is. Unless given, within a run that run's tenant; where there is none, the workflow's.

    Returns:
        The id of the execution, as text; in the mode ``skip``, that of the live one of its key, if there is one.

    Raises:
        WorkflowNotFound: If the workflow does not exist, is disabled, has no live version, or is another tenant's.
        TemplateError: If the concurrency key cannot be rendered.
        InvalidPayloadError: If the payload cannot be stored.
        ArtifactUnavailable: If it is large and its file cannot be written; nothing was written.
        PolicyError: If the chain of events and runs that cause each other is longer than
            ``EVENTS.max_causation_depth``.
    """
    from automate_outbox.store import get_store
    from django.db import transaction

    from automate.models import Execution, ExecutionRun, WorkflowVersion
    from automate.runtime.admission import admit, is_exclusive, lock_keys
    from automate.runtime.runs import event_view
    from automate.runtime.versions import compiled

    cause = causation.get()
    check_text("tenant", "" if tenant is None else tenant, limit=100)
    check_text("workflow_slug", workflow_slug, limit=100)
    # Read before the transaction: SQLite refuses to turn a reader into a writer while another one writes.
    version = WorkflowVersion.live_for(workflow_slug)
    owner = _owner_of_run(version.workflow, tenant, cause)
    workflow = compiled(version)
    key = key_of(workflow, owner, event_view(None, payload))
    execution = Execution(
        version=version,
        context=payload,
        concurrency_key=key,
        live_key=key,
        tenant=owner,
        causation_id=cause.run_id if cause else None,
        causation_depth=_depth(f"run of {workflow_slug!r}", cause),
    )
    run = ExecutionRun(execution=execution, trace_id=new_trace_id())
    job = NewJob(
        RUN_JOB,
        {"run_id": str(run.id)},
        tenant=owner,
        ordering_key=ordering_key_of(workflow, key),
        max_attempts=settings.current().item_attempts,
    )
    store = get_store()
    with transaction.atomic():
        if is_exclusive(run):
            lock_keys([key])
            if holder := admit([run], store).skipped.get(run.pk):
                return str(holder)
        execution.save(force_insert=True)
        run.job_id = store.add([job])[0]
        run.save(force_insert=True)
    return str(execution.id)


def _owner_of_run(workflow: Workflow, tenant: str | None, cause: Causation | None) -> str:
    owner = tenant if tenant is not None else (cause.tenant if cause else "") or workflow.tenant
    if workflow.tenant not in ("", owner):
        raise WorkflowNotFound(f"Tenant {owner!r} has no workflow {workflow.slug!r}: it is another tenant's.")
    return owner


async def aemit_event(
    type: str,
    payload: dict[str, Any],
    dedupe_key: str | None = None,
    *,
    source: str = "",
    subject: str = "",
    tenant: str | None = None,
    traceparent: str = "",
    ordering_key: str = "",
    priority: int = 0,
    queue: str = "default",
) -> str:
    """Write an event from asynchronous code; see :func:`emit_event`.

    Args:
        type: As in :func:`emit_event`.
        payload: As in :func:`emit_event`.
        dedupe_key: As in :func:`emit_event`.
        source: As in :func:`emit_event`.
        subject: As in :func:`emit_event`.
        tenant: As in :func:`emit_event`.
        traceparent: As in :func:`emit_event`.
        ordering_key: As in :func:`emit_event`.
        priority: As in :func:`emit_event`.
        queue: As in :func:`emit_event`.

    Returns:
        The id of the event, as text.
    """
    return await sync_to_async(emit_event)(
        type,
        payload,
        dedupe_key,
        source=source,
        subject=subject,
        tenant=tenant,
        traceparent=traceparent,
        ordering_key=ordering_key,
        priority=priority,
        queue=queue,
    )


async def aemit_events(events: Iterable[NewEvent | Mapping[str, Any]]) -> list[str]:
    """Write many events from asynchronous code; see :func:`emit_events`.

    Args:
        events: As in :func:`emit_events`.

    Returns:
        Their ids, as text, in the same order.
    """
    return await sync_to_async(emit_events)(events)


async def arun_workflow(workflow_slug: str, payload: dict[str, Any], *, tenant: str | None = None) -> str:
    """Start a workflow from asynchronous code; see :func:`run_workflow`.

    Args:
        workflow_slug: As in :func:`run_workflow`.
        payload: As in :func:`run_workflow`.
        tenant: As in :func:`run_workflow`.

    Returns:
        The id of the execution, as text.
    """
    return await sync_to_async(run_workflow)(workflow_slug, payload, tenant=tenant)
