"""Writing entries of the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["record"]


def record(
    action: str, resource: str, *, actor: str, tenant: str = "", details: Mapping[str, Any] | None = None
) -> None:
    """Write one entry, within the transaction of the change that it records where there is one.

    Args:
        action: What was done: ``<what>.<verb>``, such as ``workflow.published`` or ``secret.denied``.
        resource: To what: ``<kind>:<name>``, such as ``workflow:welcome``.
        actor: Who did it: a user's name, ``user@host`` of a command, or ``run:<id>`` of a run.
        tenant: Whose it is; empty is the installation's own.
        details: What else is to be known. It is redacted before it is written.

    Raises:
        DatabaseError: If it cannot be written: what cannot be recorded must not be done.
    """
    from automate.models import AuditLogEntry

    AuditLogEntry.objects.create(
        actor=actor, action=action, resource=resource, tenant=tenant, details=dict(details or {})
    )
