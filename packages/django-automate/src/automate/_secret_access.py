"""Keeping record of which step was given which secret, and which was denied it."""

from __future__ import annotations

import os

from automate_core.secrets import AccessRecord
from django.conf import settings

from automate import audit

__all__ = ["key_references", "record_access"]


def key_references() -> list[str]:
    """Return references to the variables of the environment that hold Django's ``SECRET_KEY``, or an earlier one."""
    keys = {key for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS) if key}
    return [f"$env:{name}" for name, value in os.environ.items() if value in keys]


def record_access(record: AccessRecord) -> None:
    """Write an access of a step to the audit log.

    Args:
        record: The access; the secret is no part of it.

    Raises:
        DatabaseError: If it cannot be written: the step does not get the secret then.
    """
    access = record.access
    details = {"reference": str(record.ref), "workflow": access.workflow, "step": access.step_id}
    details["action"] = access.action
    if record.denial is not None:
        details["reason"] = record.denial.message
    elif access.tenant and not record.owner:
        details["owner"] = "installation"
    audit.record(
        "secret.read" if record.denial is None else "secret.denied",
        f"secret:{record.ref}",  # cut where it is written, after it was redacted: a half of a secret would stay
        actor=f"run:{access.run_id}",
        tenant=access.tenant,
        details=details,
    )
