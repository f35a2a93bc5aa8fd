"""Deciding: which workflows an event starts, and why the others stay quiet."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from automate_core import settings
from automate_core.errors import AutomateError, EventNotFound
from automate_core.outbox import NewJob, OutboxItem
from automate_core.payload import storable_text
from automate_core.redaction import redact
from automate_core.rules import explain
from automate_core.workflow.events import patterns_for
from automate_outbox.store import DatabaseOutboxStore
from django.db import transaction
from django.utils import timezone

from automate import signals
from automate.events import RUN_JOB
from automate.runtime.versions import compiled

if TYPE_CHECKING:
    from automate.models import Event, WorkflowVersion

__all__ = ["Verdict", "decide", "dispatch"]

_ERROR_LENGTH = 4000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rule of one version says about an event.

    Args:
        version: The version.
        matched: Whether it is to be run.
        explanation: The explain tree of its rule; None where it has none or it could not be evaluated.
        error: Why it could not be evaluated; never a match.
    """

    version: WorkflowVersion
    matched: bool
    explanation: dict[str, Any] | None = None
    error: str = ""


def decide(event: Event) -> list[Verdict]:
    """Ask every live workflow that listens to the type of an event.

    Args:
        event: The event.

    Returns:
        A verdict for each, by slug. Nothing is written.
    """
    from automate.models import WorkflowVersion

    versions = (
        WorkflowVersion.objects.select_related("workflow")
        .filter(live=True, workflow__enabled=True, trigger_event__in=patterns_for(event.type))
        .order_by("workflow__slug")
    )
    return [verdict for version in versions if (verdict := _judge(version, event)) is not None]


def _judge(version: WorkflowVersion, event: Event) -> Verdict | None:
    """Ask one version; what is wrong with it keeps no other from its event."""
    try:
        workflow = compiled(version)
        # The database may compare without regard to case; the compiled trigger does not.
        if not workflow.wants(event.type):
            return None
        rule = workflow.rule
        if rule is None:
            return Verdict(version, matched=True)
        matched = rule.evaluate(event.payload)
        keep = matched or settings.current().decisions.non_matches == "all"
        tree = explain(rule.spec, event.payload) if keep else None
    except AutomateError as error:
        return Verdict(version, matched=False, error=storable_text(str(error), _ERROR_LENGTH))
    return Verdict(version, matched, redact(tree))


def dispatch(item: OutboxItem, store: DatabaseOutboxStore, worker_id: str) -> tuple[OutboxItem, UUID] | None:
    """Decide about an event and create what it starts, in one transaction with the completion of its outbox item.

    Args:
        item: The claimed item of the event.
        store: The store that claimed it.
        worker_id: Who claimed it.

    Returns:
        The first run together with its outbox item, which is born claimed by this worker so that it can run it on at
        once; None where nothing matched.

    Raises:
        EventNotFound: If the event does not exist.
        LeaseLostError: If the item is no longer held; nothing was written.
    """
    from automate.models import Event

    event = Event.objects.filter(pk=item.payload["event_id"]).first()
    if event is None:
        raise EventNotFound(f"Event {item.payload['event_id']} does not exist.", context=dict(item.payload))
    verdicts = decide(event)
    with transaction.atomic():
        store.mark_success(item.id, worker_id, lease_token=item.lease_token)
        _record(event, verdicts)
        return _start(event, [v.version for v in verdicts if v.matched], store, worker_id)


def _record(event: Event, verdicts: list[Verdict]) -> None:
    from automate.models import Decision

    keep_all = settings.current().decisions.non_matches == "all"
    now = timezone.now()
    Decision.objects.bulk_create(
        Decision(
            event_id=event.id,
            version=verdict.version,
            matched=verdict.matched,
            explanation=verdict.explanation,
            error=verdict.error,
            created_at=now,
        )
        for verdict in verdicts
        if verdict.matched or verdict.error or keep_all
    )


def _start(
    event: Event, versions: list[WorkflowVersion], store: DatabaseOutboxStore, worker_id: str
) -> tuple[OutboxItem, UUID] | None:
    from automate.models import Execution, ExecutionRun, RunStatus

    if not versions:
        return None
    executions = [
        Execution(
            version=version,
            context=event.payload,
            event_id=event.id,
            tenant=event.tenant,
            causation_depth=event.causation_depth,
        )
        for version in versions
    ]
    runs = [ExecutionRun(execution=execution, trace_id=_trace_id(event)) for execution in executions]
    jobs = [NewJob(RUN_JOB, {"run_id": str(run.id)}, tenant=event.tenant) for run in runs]
    first = store.add_claimed(worker_id, jobs[0])
    runs[0].job_id, runs[0].status, runs[0].started_at = first.id, RunStatus.RUNNING, timezone.now()
    executions[0].status = RunStatus.RUNNING
    for run, job_id in zip(runs[1:], store.add(jobs[1:]), strict=True):
        run.job_id = job_id
    Execution.objects.bulk_create(executions)
    ExecutionRun.objects.bulk_create(runs)
    transaction.on_commit(lambda: signals.send(signals.workflow_started, ExecutionRun, run=runs[0]))
    return first, runs[0].id


def _trace_id(event: Event) -> str:
    """Continue the caller's trace where there is one (W3C Trace Context, version 00)."""
    parts = event.traceparent.split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else secrets.token_hex(16)
