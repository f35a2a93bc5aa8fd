"""Entries of the audit log for pages: rows of the model, whatever was made of their columns past Automate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from automate_core.redaction import redact_text

from automate.audit.stored import COLUMNS, read_rows

if TYPE_CHECKING:
    from automate.models import AuditLogEntry

__all__ = ["entries_at"]

_TYPES: dict[str, type] = {"position": int, "created_at": datetime, "details": object}
"""What the columns hold that are no texts. SQLite keeps other values in them too."""


def entries_at(positions: Sequence[int], using: str) -> list[AuditLogEntry]:
    """Return entries, in the order of their positions as given.

    What cannot be read of one is None, or of a time that no clock tells its text, and is named in its ``unreadable``.

    Args:
        positions: Where they stand; where none stands, there is none.
        using: The database.
    """
    from automate.models import AuditLogEntry

    entries = AuditLogEntry.objects.using(using).filter(position__in=positions).order_by("position")
    found = {row["position"]: _entry(row, using) for row in read_rows(entries, len(positions))}
    return [found[position] for position in positions if position in found]


def _entry(row: dict[str, Any], using: str) -> AuditLogEntry:
    from automate.models import AuditLogEntry

    lost = [name for name in COLUMNS if name not in row or not isinstance(row[name], _TYPES.get(name, str))]
    values = {name: value for name, value in row.items() if name not in lost}
    if "created_at" in lost and isinstance(told := row.get("created_at"), str):
        values["created_at"] = redact_text(told)
    names = [field.attname for field in AuditLogEntry._meta.concrete_fields]
    entry = AuditLogEntry.from_db(using, names, [values.get(name) for name in names])
    entry.unreadable = tuple(lost)
    return entry
