"""Reading entries of the audit log: a selection, oldest first, as JSON for export."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from automate_core.redaction import redact

from automate.audit.chain import settled
from automate.audit.stored import read_rows, unreadable

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from automate.models import AuditLogEntry

__all__ = ["Selection", "as_json", "export"]

BATCH = 1000
"""Rows that are read at once."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries are meant; None leaves a filter out.

    Args:
        action: The action; with a ``*`` at its end, what begins so.
        actor: Who did it.
        resource: To what; with a ``*`` at its end, what begins so.
        tenant: Whose it is; empty is the installation's own.
        since: Not before this moment.
        until: Before this moment.
    """

    action: str | None = None
    actor: str | None = None
    resource: str | None = None
    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def rows(self, using: str = "default") -> QuerySet[AuditLogEntry, AuditLogEntry]:
        """Return the entries, newest first.

        Args:
            using: The database.
        """
        from automate.models import AuditLogEntry

        times = {"created_at__gte": self.since, "created_at__lt": self.until}
        chosen = {"actor": self.actor, "tenant": self.tenant, **times}
        for name, pattern in (("action", self.action), ("resource", self.resource)):
            if pattern is not None and pattern.endswith("*"):
                chosen[f"{name}__startswith"] = pattern.removesuffix("*")
            else:
                chosen[name] = pattern
        given = {name: value for name, value in chosen.items() if value is not None}
        return AuditLogEntry.objects.using(using).filter(**given)


def export(selection: Selection, *, after: int = 0, using: str = "default") -> Iterator[dict[str, Any]]:
    """Yield entries as JSON values, oldest first, redacted once more by what is a secret now.

    An entry with values that Automate never writes is there too, with what can be read of it, and names the columns
    under ``unreadable``.

    Positions are in the order of the commits, so what is exported up to a position stays complete: go on after it.

    Args:
        selection: Which ones.
        after: Begin behind this position.
        using: The database.
    """
    rows = selection.rows(using).order_by("position")
    while True:
        batch = read_rows(rows.filter(position__gt=after), BATCH)
        for row in batch:
            yield as_json(row)
        if len(batch) < BATCH:
            return
        after = batch[-1]["position"]


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as a JSON value, whatever was made of it past Automate.

    Args:
        row: Its columns. ``unreadable`` names those that are not there, whose values are null.
    """
    at, lost = row.get("created_at"), unreadable(row)
    lost += ["created_at"] if not isinstance(at, datetime) and "created_at" not in lost else []
    return {
        "position": row["position"],
        "at": at.astimezone(UTC).isoformat() if isinstance(at, datetime) else _shown(at),
        **{name: _shown(row.get(name)) for name in ("actor", "action", "resource", "tenant", "details")},
        **{name: _shown(row.get(name)) for name in ("key_id", "previous", "mac")},
        **({"unreadable": lost} if lost else {}),
    }


def _shown(value: Any) -> Any:
    return settled(redact(value))  # binary data that were put into a column are no JSON
