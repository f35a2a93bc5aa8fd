"""Emitting events, and starting workflows directly."""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asgiref.sync import sync_to_async
from automate_core import settings
from automate_core.errors import DuplicateEventError, InvalidPayloadError, PolicyError
from automate_core.outbox import NewJob
from automate_core.payload import content_hash
from automate_core.workflow.events import is_event_type

from automate.payloads import ensure_storable

if TYPE_CHECKING:
    from automate.models import DedupeKey, Event, Execution

__all__ = ["Causation", "aemit_event", "arun_workflow", "causation", "emit_event", "run_workflow"]

EVENT_JOB = "automate.event"
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
) -> str:
    """Write an event into the outbox, within the caller's transaction.

    Nothing is visible before the caller commits, and nothing remains when the caller rolls back. Outside of a
    transaction it commits on its own.

    Args:
        type: What happened, such as ``"order.paid"``: words joined by dots.
        payload: A JSON object; at most ``EVENTS.max_payload_bytes`` long.
        dedupe_key: The same key again, from the same source and tenant, returns the event of the first call.
        source: Where it comes from.
        subject: What it is about, for finding it again.
        tenant: Whose it is; within a run the run's tenant unless given.
        traceparent: W3C trace context to continue.

    Returns:
        The id of the event, as text.

    Raises:
        InvalidPayloadError: If the type or the payload cannot be stored; nothing was written and the caller's
            transaction is still usable.
        DuplicateEventError: If the dedupe key was used before with another type or payload.
        PolicyError: If the chain of events and runs that cause each other is longer than
            ``EVENTS.max_causation_depth``.
    """
    from automate_outbox.store import get_store
    from django.db import transaction

    from automate.models import Event
    from automate.signals import event_received, send

    for name, text, limit in (
        ("type", type, 200),
        ("dedupe_key", dedupe_key or "", 255),
        ("source", source, 100),
        ("subject", subject, 200),
        ("tenant", tenant or "", 100),
        ("traceparent", traceparent, 64),
    ):
        _check_text(name, text, limit=limit)
    if not is_event_type(type):
        raise InvalidPayloadError(
            f"type is {type!r}: join words of letters, digits, '_' and '-' by dots, such as 'order.paid'.",
            context={"argument": "type"},
        )
    if dedupe_key == "":
        raise InvalidPayloadError(
            "dedupe_key is empty, and every event without a key would be the same one: leave it out.",
            context={"argument": "dedupe_key"},
        )
    ensure_storable(payload, max_bytes=settings.current().events.max_payload_bytes)
    cause = causation.get()
    depth = _depth(f"event {type!r}", cause)
    event = Event(
        type=type,
        payload=payload,
        source=source,
        subject=subject,
        tenant=tenant if tenant is not None else (cause.tenant if cause else ""),
        traceparent=traceparent,
        causation_id=cause.run_id if cause else None,
        causation_depth=depth,
        created_at=_now(),
    )
    with transaction.atomic():
        if dedupe_key is not None:
            earlier = _claim_key(event, dedupe_key)
            if earlier is not None:
                return str(earlier)
        event.save()
        get_store().add([NewJob(EVENT_JOB, {"event_id": str(event.id)}, tenant=event.tenant)])
        transaction.on_commit(lambda: send(event_received, Event, event=event))
    return str(event.id)


def _now() -> Any:
    from django.utils import timezone

    return timezone.now()


def _check_text(name: str, text: object, *, limit: int) -> None:
    problem = ""
    if not isinstance(text, str):
        problem = f"must be text, not {type(text).__name__}"
    elif len(text) > limit:
        problem = f"is longer than {limit} characters"
    elif "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text):
        problem = "holds a NUL or a lone surrogate"
    if problem:
        raise InvalidPayloadError(f"{name} {problem}.", context={"argument": name})


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


def _claim_key(event: Event, key: str) -> UUID | None:
    """Take a dedupe key for an event, or return the event that has it."""
    from automate.models import DedupeKey

    # The type and the key belong to it: another type is another event, and MySQL finds 'k' where 'K' was asked for.
    digest = content_hash([event.type, key, event.payload])
    mine = DedupeKey(
        tenant=event.tenant,
        source=event.source,
        key=key,
        event_id=event.id,
        payload_hash=digest,
        expires_at=event.created_at + timedelta(days=settings.current().events.dedupe_window_days),
    )
    # Insert first and look afterwards: a look beforehand could miss a key that another transaction is inserting.
    DedupeKey.objects.bulk_create([mine], ignore_conflicts=True)
    rows = DedupeKey.objects.filter(tenant=event.tenant, source=event.source, key=key)
    # Under REPEATABLE READ on MySQL the key of another transaction is not in the snapshot; a locking read finds it.
    # It is the second choice, as emitters that lock one row after another deadlock.
    taken = rows.first() or rows.select_for_update().get()
    if taken.event_id == event.id:
        return None
    if taken.expires_at <= event.created_at:
        expired = DedupeKey.objects.filter(pk=taken.pk, event_id=taken.event_id)
        if expired.update(event_id=event.id, key=key, payload_hash=digest, expires_at=mine.expires_at):
            return None
        taken = rows.select_for_update().get()  # another emitter renewed it this moment
    if taken.payload_hash != digest:
        _refuse_duplicate(taken, event)
    return taken.event_id


def _refuse_duplicate(taken: DedupeKey, event: Event) -> None:
    raise DuplicateEventError(
        f"dedupe_key {taken.key!r} was used by event {taken.event_id} with another type or payload. Use another key "
        f"for another event, or send the same one again.",
        context={"event_id": str(taken.event_id), "key": taken.key, "type": event.type},
    )


def run_workflow(workflow_slug: str, payload: dict[str, Any], *, tenant: str | None = None) -> str:
    """Start a workflow directly, without event and rules, within the caller's transaction.

    Args:
        workflow_slug: The workflow; its live version is run.
        payload: What the workflow sees as ``event.payload``.
        tenant: Whose run it is; within a run that run's tenant unless given.

    Returns:
        The id of the execution, as text.

    Raises:
        WorkflowNotFound: If the workflow does not exist, is disabled or has no live version.
        InvalidPayloadError: If the payload cannot be stored.
        PolicyError: If the chain of events and runs that cause each other is longer than
            ``EVENTS.max_causation_depth``.
    """
    from django.db import transaction

    from automate.models import Execution, WorkflowVersion

    ensure_storable(payload, max_bytes=settings.current().events.max_payload_bytes)
    cause = causation.get()
    owner = tenant if tenant is not None else (cause.tenant if cause else "")
    _check_text("tenant", owner, limit=100)
    _check_text("workflow_slug", workflow_slug, limit=100)
    # Read before the transaction: SQLite refuses to turn a reader into a writer while another one writes.
    execution = Execution(
        version=WorkflowVersion.live_for(workflow_slug),
        context=payload,
        tenant=owner,
        causation_id=cause.run_id if cause else None,
        causation_depth=_depth(f"run of {workflow_slug!r}", cause),
    )
    with transaction.atomic():
        execution.save(force_insert=True)
        _queue_run(execution)
    return str(execution.id)


def _queue_run(execution: Execution) -> None:
    from automate_outbox.store import get_store

    from automate.models import ExecutionRun

    tenant = execution.tenant
    run = ExecutionRun(execution=execution, trace_id=secrets.token_hex(16))
    run.job_id = get_store().add([NewJob(RUN_JOB, {"run_id": str(run.id)}, tenant=tenant)])[0]
    run.save(force_insert=True)


async def aemit_event(
    type: str,
    payload: dict[str, Any],
    dedupe_key: str | None = None,
    *,
    source: str = "",
    subject: str = "",
    tenant: str | None = None,
    traceparent: str = "",
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

    Returns:
        The id of the event, as text.
    """
    return await sync_to_async(emit_event)(
        type, payload, dedupe_key, source=source, subject=subject, tenant=tenant, traceparent=traceparent
    )


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
