"""Writing entries of the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["AuditEntry", "record", "record_many"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What is to be recorded; see :func:`record`.

    Args:
        action: What was done.
        resource: To what.
        actor: Who did it.
        tenant: Whose it is.
        details: What else is to be known.
    """

    action: str
    resource: str
    actor: str
    tenant: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def record(
    action: str, resource: str, *, actor: str, tenant: str = "", details: Mapping[str, Any] | None = None
) -> None:
    """Write one entry, within the transaction of the change that it records where there is one.

    Call it last: the end of the log stays locked until the transaction ends, and whoever records elsewhere waits.
    A refusal is recorded outside of the transaction that it rolls back.

    Args:
        action: What was done: ``<what>.<verb>``, such as ``workflow.published`` or ``secret.denied``.
        resource: To what: ``<kind>:<name>``, such as ``workflow:welcome``.
        actor: Who did it: a user's name, ``user@host`` of a command, or ``run:<id>`` of a run.
        tenant: Whose it is; empty is the installation's own.
        details: What else is to be known. It is redacted before it is written.

    Raises:
        DatabaseError: If it cannot be written: what cannot be recorded must not be done.
        AuditChainBroken: If the log was tampered with.
        AuditError: If another transaction holds the end of the log for too long; ``retryable``.
        InvalidPayloadError: If the details are nested too deeply for the database.
    """
    from automate.models import AuditLogEntry

    AuditLogEntry.objects.create(
        actor=actor, action=action, resource=resource, tenant=tenant, details=dict(details or {})
    )


def record_many(entries: Iterable[AuditEntry]) -> None:
    """Write many entries, in their order, with the statements of one.

    Args:
        entries: The entries.

    Raises:
        DatabaseError: If they cannot be written; then none is.
        AuditChainBroken: If the log was tampered with.
        AuditError: If another transaction holds the end of the log for too long; ``retryable``.
        InvalidPayloadError: If details are nested too deeply for the database.
    """
    from automate.models import AuditLogEntry

    AuditLogEntry.objects.bulk_create([AuditLogEntry(**_columns(entry)) for entry in entries])


def _columns(entry: AuditEntry) -> dict[str, Any]:
    return {**asdict(entry), "details": dict(entry.details)}
