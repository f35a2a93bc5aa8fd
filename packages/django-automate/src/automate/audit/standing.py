"""Putting on record which settings govern what may be done, when they are others than the last recorded ones."""

from __future__ import annotations

from typing import Any

from automate_core import settings
from automate_core.payload import content_hash
from automate_core.redaction import redact
from automate_core.settings import Settings
from django.db import router

from automate.audit.chain import settled
from automate.audit.recording import record

__all__ = ["note_settings", "standing"]

_SECTIONS = {
    "policy": "POLICY",
    "retention": "RETENTION",
    "decisions": "DECISIONS",
    "audit": "AUDIT",
    "secrets": "REFERENCES",  # under its own name the redactor would hide it
}
_ACTION = "policy.changed"


def standing(current: Settings) -> dict[str, Any]:
    """Return the settings that govern what may be done, is kept and is shown; of keys only their ids.

    Args:
        current: The settings.

    Returns:
        Values by the names of the settings.
    """
    found: dict[str, Any] = {"ENABLED": current.enabled, "REDACT_KEYS": list(current.redact_keys)}
    found["PLUGINS.blocked"] = list(current.plugins.blocked)
    for name, title in _SECTIONS.items():
        section = getattr(current, name)
        found.update(
            {f"{title}.{key}": value for key, value in section.model_dump(mode="json", exclude={"keys"}).items()}
        )
        if "keys" in type(section).model_fields:
            found[f"{title} key ids"] = sorted(section.keys)
    shown: dict[str, Any] = settled(redact(found))
    return shown


def note_settings(*, actor: str) -> bool:
    """Write ``policy.changed``, with what differs, where the settings in force are not those that were recorded last.

    Args:
        actor: Who works by them, such as the host of a worker.

    Returns:
        Whether they were others.

    Raises:
        DatabaseError: If it cannot be read or written.
        AuditChainBroken: If the log was tampered with.
    """
    from automate.audit.appending import appending
    from automate.models import AuditLogEntry

    now = standing(settings.current())
    if _recorded() == now:
        return False
    with appending(router.db_for_write(AuditLogEntry)):  # workers that start together take turns: one of them tells
        before = _recorded()
        if before == now:
            return False
        fingerprint = content_hash(now)
        details = {"fingerprint": fingerprint, "changed": _differences(before, now), "settings": now}
        record(_ACTION, f"policy:{fingerprint[:12]}", actor=actor, details=details)
    return True


def _recorded() -> dict[str, Any] | None:
    from automate.models import AuditLogEntry

    entry = AuditLogEntry.objects.filter(action=_ACTION).order_by("-position").first()
    return None if entry is None else entry.details["settings"]


def _differences(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    if before is None:
        return {}
    names = sorted({*before, *now})
    return {name: [before.get(name), now.get(name)] for name in names if before.get(name) != now.get(name)}
