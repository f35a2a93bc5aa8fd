"""Cancelling executions on somebody's word."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from automate_outbox.store import get_store
from django.db import transaction

from automate.audit import AuditEntry, record_many

__all__ = ["cancel_executions"]


def cancel_executions(execution_ids: Iterable[UUID], *, actor: str, reason: str = "") -> int:
    """Cancel executions that have not ended, each with a record of who did it.

    What an action is doing now is not undone; no further step of the execution begins.

    Args:
        execution_ids: The executions; those that have ended, or do not exist, stay as they are.
        actor: Who does it, for the audit log.
        reason: Why, for the audit log and the error of the runs.

    Returns:
        How many were cancelled.
    """
    from automate.models import Execution, RunStatus
    from automate.models.executions import LIVE
    from automate.runtime.admission import cancel

    # Outside of the transaction: SQLite refuses to turn a reader into a writer while another one writes.
    wanted = list(Execution.objects.filter(pk__in=list(execution_ids), status__in=LIVE).values_list("pk", flat=True))
    message = f"Cancelled by {actor}{f': {reason}' if reason else '.'}"
    error = {"code": "cancelled", "message": message, "retryable": False}
    with transaction.atomic():
        cancel(wanted, get_store(), error)
        rows = Execution.objects.filter(pk__in=wanted, status=RunStatus.CANCELLED).order_by("pk")
        cancelled = list(rows.values_list("pk", "tenant"))
        details = {"reason": reason} if reason else {}
        record_many(
            AuditEntry("execution.cancelled", f"execution:{execution_id}", actor, tenant, details)
            for execution_id, tenant in cancelled
        )
    return len(cancelled)
