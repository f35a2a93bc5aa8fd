"""What the tests of the audit log share: keys, entries, and hands that reach past the application."""

from __future__ import annotations

import base64
from typing import Any

from automate.audit import AuditEntry, AuditReport, record_many, verify
from django.db import connection

KEYS = {name: base64.b64encode(name.encode() * 16).decode() for name in ("k1", "k2")}
LOG, HEAD = "automate_auditlogentry", "automate_audithead"
COLUMNS = "position, actor, action, resource, tenant, details, created_at, key_id, previous, mac"


def write(number: int = 6) -> None:
    """Record some entries, no two alike."""
    record_many(
        AuditEntry(
            "workflow.published", f"workflow:w{n}", f"user{n}", f"t{n % 2}", {"n": n, "text": "é\u2028", "part": n / 4}
        )
        for n in range(number)
    )


def execute(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


def rows() -> list[tuple[Any, ...]]:
    """Every stored column, as the driver gives it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS} FROM {LOG} ORDER BY position")
        return [tuple(row) for row in cursor.fetchall()]


def head() -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT position, mac, key_id, seal FROM {HEAD}")
        return tuple(cursor.fetchone())


def set_head(values: tuple[Any, ...]) -> None:
    execute(f"UPDATE {HEAD} SET position = %s, mac = %s, key_id = %s, seal = %s", *values)


def insert(row: tuple[Any, ...]) -> None:
    places = ", ".join(["%s"] * len(row))
    if connection.vendor == "postgresql":
        places = places.replace("%s, %s, %s, %s, %s, %s", "%s, %s, %s, %s, %s, CAST(%s AS jsonb)", 1)
    execute(f"INSERT INTO {LOG} ({COLUMNS}) VALUES ({places})", *row)


def empty() -> None:
    execute(f"DELETE FROM {LOG}")
    execute(f"DELETE FROM {HEAD}")


def kinds(report: AuditReport | None = None) -> set[str]:
    return {finding.kind for finding in (report or verify()).findings}
