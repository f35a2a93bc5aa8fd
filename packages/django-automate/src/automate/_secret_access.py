"""Keeping record of which step was given which secret, which was denied it, and what the installation read itself."""

from __future__ import annotations

import os
from typing import Any

from automate_core.secrets import AccessRecord, SecretAccess
from django.conf import settings
from django.utils import timezone

from automate import _late_entries, audit
from automate.commands.people import actor
from automate.events import causation

__all__ = ["INSTALLATION", "key_references", "record_access"]

INSTALLATION = "installation"
"""The actor of what the installation reads for itself."""


def key_references() -> list[str]:
    """Return references to the variables of the environment that hold Django's ``SECRET_KEY``, or an earlier one."""
    keys = {key for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS) if key}
    return [f"$env:{name}" for name, value in os.environ.items() if value in keys]


def record_access(record: AccessRecord) -> None:
    """Write an access to the audit log.

    Args:
        record: The access; the secret is no part of it.

    Raises:
        DatabaseError: If that of a step cannot be written: it does not get the secret then.
        AuditError: If the log does not take it.
    """
    action = "secret.read" if record.denial is None else "secret.denied"
    resource = f"secret:{record.ref}"  # cut where it is written, after it was redacted: a half of a secret would stay
    details: dict[str, Any] = {"reference": str(record.ref)}
    if record.denial is not None:
        details["reason"] = record.denial.message
    if record.access is None:
        details |= _own(record)
        _late_entries.put(audit.AuditEntry(action, resource, INSTALLATION, tenant=record.owner, details=details))
        return
    details |= _of_step(record.access)
    if record.denial is None and record.access.tenant and not record.owner:
        details["owner"] = "installation"
    run, tenant = f"run:{record.access.run_id}", record.access.tenant
    audit.record(action, resource, actor=run, tenant=tenant, details=details)


def _of_step(access: SecretAccess) -> dict[str, Any]:
    return {"workflow": access.workflow, "step": access.step_id, "action": access.action}


def _own(record: AccessRecord) -> dict[str, Any]:
    """Return which process read, when, and for which setting or run: the entry may be written later."""
    found: dict[str, Any] = {"process": actor("python"), "at": timezone.now().isoformat()}
    if record.setting:
        found["setting"] = record.setting
    if (cause := causation.get()) is not None:
        found["run"] = str(cause.run_id)
    return found
