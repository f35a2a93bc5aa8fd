"""What PostgreSQL's catalog says about the table of events."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connections

__all__ = ["BOUND", "DEFAULT", "LEGACY", "PRUNED", "SHADOW", "TABLE", "Catalog", "Partition", "time_of"]

TABLE = "automate_event"
SHADOW = "automate_event_partitioned"
"""The partitioned table while it waits to take the place of the old one."""
LEGACY = "automate_event_legacy"
"""The old table, as a partition."""
DEFAULT = "automate_event_default"
"""The partition of ids that no other one takes."""
BOUND = "automate_event_legacy_bound"
"""The constraint that lets the old table be attached without being read."""
PRUNED = "_pruned"
"""End of the name of a partition that was detached to be dropped."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def time_of(key: UUID) -> datetime:
    """Return the time that a bound of a partition stands for.

    Args:
        key: The bound.
    """
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=key.int >> 80)


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of the events.

    Args:
        name: Its table.
        lower: The smallest id that it takes; None for no bound.
        upper: The smallest id that it no longer takes; None for no bound.
        rows: Estimate of its rows.
        bytes: Size with indexes.
    """

    name: str
    lower: UUID | None
    upper: UUID | None
    rows: int
    bytes: int

    @property
    def is_default(self) -> bool:
        """Whether it takes what no other one takes."""
        return self.lower is None and self.upper is None

    def holds(self, key: str) -> bool:
        """Whether an event belongs to it.

        Args:
            key: The id of the event, as text.
        """
        return (self.lower is None or str(self.lower) <= key) and (self.upper is None or key < str(self.upper))


class Catalog:
    """Reads the catalog, and names tables so that no search path matters.

    Args:
        using: Alias of a PostgreSQL database.
    """

    def __init__(self, using: str) -> None:
        self.connection: Any = connections[using]

    def query(self, statement: str, params: Sequence[Any] = ()) -> list[Any]:
        """Run a statement that returns rows.

        Args:
            statement: The statement.
            params: Its parameters.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(statement, params)
            rows: list[Any] = cursor.fetchall()
            return rows

    def execute(self, *statements: str) -> None:
        """Run statements that return nothing.

        Args:
            *statements: The statements, whole.
        """
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def name(self, table: str = TABLE) -> str:
        """Return a name with the schema of the events, quoted.

        Args:
            table: The name of a table or index.
        """
        schema = self.query("SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = %s::regclass", [TABLE])
        return f"{schema[0][0]}.{self.connection.ops.quote_name(table)}"

    def kind(self, table: str = TABLE) -> str:
        """Return ``r`` for a table, ``p`` for one with partitions and nothing where there is none.

        Args:
            table: The name.
        """
        rows = self.query("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)", [self.name(table)])
        return rows[0][0] if rows else ""

    @property
    def is_partitioned(self) -> bool:
        """Whether the events are partitioned."""
        rows = self.query("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)", [TABLE])
        return rows == [("p",)]

    def partitions(self) -> list[Partition]:
        """Return the partitions, oldest first; the default one, if there is one, is the last."""
        rows = self.query(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), GREATEST(c.reltuples, 0)::bigint, "
            "pg_total_relation_size(c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass AND NOT i.inhdetachpending",
            [TABLE],
        )
        found = [Partition(name, *_bounds(expression), estimate, size) for name, expression, estimate, size in rows]
        return sorted(found, key=lambda p: (p.is_default, str(p.lower or "")))

    def pruned(self) -> list[str]:
        """Return the partitions that were detached to be dropped, and are still there."""
        rows = self.query(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition AND relname LIKE %s "
            "AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = %s::regclass)",
            [r"automate\_event\_%\_pruned", TABLE],
        )
        return [row[0] for row in rows]

    def bound(self) -> tuple[UUID, bool] | None:
        """Return the bound that a conversion put on the old table, and whether it is known to hold for every row."""
        rows = self.query(
            "SELECT pg_get_constraintdef(oid), convalidated FROM pg_constraint "
            "WHERE conrelid = to_regclass(%s) AND conname = %s",
            [TABLE, BOUND],
        )
        match = _UUID.search(rows[0][0]) if rows else None
        return (UUID(match[0]), rows[0][1]) if match else None

    def default_rows(self, limit: int = 1000) -> int:
        """Count the events that no partition of a month took.

        Args:
            limit: Where to stop.
        """
        if not self.kind(DEFAULT):
            return 0
        rows = self.query(f"SELECT count(*) FROM (SELECT 1 FROM {self.name(DEFAULT)} LIMIT {limit:d}) AS head")  # noqa: S608
        return int(rows[0][0])


def _bounds(expression: str) -> tuple[UUID | None, UUID | None]:
    if expression == "DEFAULT":
        return None, None
    lower, _, upper = expression.partition(" TO ")
    first, last = _UUID.search(lower), _UUID.search(upper)
    return UUID(first[0]) if first else None, UUID(last[0]) if last else None
