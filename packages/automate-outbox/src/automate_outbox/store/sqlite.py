"""SQLite: there is one writer, so a claim is one UPDATE."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError

from automate_outbox.store.lane_dialect import LaneDialect
from automate_outbox.store.lanes import Cursor, Lane, OrderKey
from automate_outbox.store.statements import Claim, Head, Pairs, sql

__all__ = ["SQLiteDialect"]

_LANES = """WITH RECURSIVE lane AS (
    SELECT * FROM (
        SELECT priority, queue, tenant, kind, next_attempt_at, id FROM {table} WHERE {plain}{after}
        ORDER BY priority, queue, tenant, kind, next_attempt_at, id LIMIT 1
    )
    UNION ALL
    SELECT job.priority, job.queue, job.tenant, job.kind, job.next_attempt_at, job.id
    FROM lane CROSS JOIN {table} AS job ON job.id = (
        SELECT id FROM {table} AS other WHERE {plain}
            AND (other.priority, other.queue, other.tenant, other.kind)
                > (lane.priority, lane.queue, lane.tenant, lane.kind)
        ORDER BY priority, queue, tenant, kind, next_attempt_at, id LIMIT 1
    )
    LIMIT %s
), pair AS (
    SELECT * FROM (SELECT queue, tenant FROM {table} WHERE {ordered} ORDER BY queue, tenant LIMIT 1)
    UNION ALL
    SELECT job.queue, job.tenant FROM pair CROSS JOIN {table} AS job ON job.id = (
        SELECT id FROM {table} AS other WHERE {ordered} AND (other.queue, other.tenant) > (pair.queue, pair.tenant)
        ORDER BY queue, tenant LIMIT 1
    )
    LIMIT %s
)
SELECT priority, queue, tenant, kind, {place}, id, {seconds} FROM lane
UNION ALL SELECT NULL, queue, tenant, NULL, NULL, NULL, NULL FROM pair"""
_HEADS = """WITH RECURSIVE head AS (
    SELECT 1 AS step, job.queue, job.tenant, job.ordering_key, job.id
    FROM json_each(%s) AS lane CROSS JOIN {table} AS job ON job.id = (
        SELECT id FROM {table} AS other WHERE {ordered} AND queue = json_extract(lane.value, '$[0]')
            AND tenant = json_extract(lane.value, '$[1]') AND ordering_key > json_extract(lane.value, '$[2]')
        ORDER BY queue, tenant, ordering_key, id LIMIT 1
    )
    UNION ALL
    SELECT step + 1, job.queue, job.tenant, job.ordering_key, job.id
    FROM head CROSS JOIN {table} AS job ON job.id = (
        SELECT id FROM {table} AS other WHERE {ordered} AND queue = head.queue AND tenant = head.tenant
            AND ordering_key > head.ordering_key
        ORDER BY queue, tenant, ordering_key, id LIMIT 1
    )
    WHERE step < %s
)
SELECT job.queue, job.tenant, job.ordering_key, job.id, kind, status, {seconds}
FROM head CROSS JOIN {table} AS job ON job.id = head.id ORDER BY step"""
_BUSY, _LOCKED = 5, 6


class SQLiteDialect(LaneDialect):
    """SQL for SQLite; times are text in UTC, as Django writes them."""

    now = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
    seconds_until = "ROUND((julianday(MIN(next_attempt_at)) - julianday('now')) * 86400.0, 3)"

    # Text, as the driver makes datetimes of the columns themselves.
    place = "next_attempt_at || ''"
    expires = "lease_expires_at || ''"

    @property
    def reached(self) -> str:
        """Condition that an item is due; the clock has milliseconds, but Django writes microseconds."""
        return f"next_attempt_at <= {self.now} || '999'"

    def after(self, seconds: float) -> tuple[str, Any]:
        """Add seconds to the database's now.

        Args:
            seconds: How many.
        """
        return "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', %s)", f"{seconds:+.3f} seconds"

    def read_time(self, value: Any) -> datetime:
        """Return a text as a datetime.

        Args:
            value: The text, in UTC.
        """
        return datetime.fromisoformat(value).replace(tzinfo=UTC)

    def pairs(self, held: Mapping[int, str]) -> Pairs:
        """Return a table of JSON.

        Args:
            held: Fencing tokens by id.
        """
        return Pairs(
            "(SELECT CAST(key AS INTEGER) AS held_id, value AS held_token FROM json_each(%s)) AS held",
            [json.dumps(held)],
            "id = held_id AND lease_token = held_token",
            [],
        )

    # -- lanes ------------------------------------------------------------------------------------------------------

    @property
    def seconds_to_go(self) -> str:
        """Seconds from now until ``next_attempt_at``: nothing where :attr:`reached` says so."""
        left = "ROUND((julianday(next_attempt_at) - julianday('now')) * 86400.0, 3)"
        return f"CASE WHEN {self.reached} THEN 0.0 ELSE MAX(0.001, {left}) END"

    def lanes(self, after: Lane | None, limit: int) -> list[Any]:
        """Find the lanes, and the queues and tenants that have ordered items, in one statement.

        Args:
            after: The lane behind which to begin; None for the first, with the ordered ones.
            limit: How many lanes at the most.
        """
        behind = " AND (priority, queue, tenant, kind) > (%s, %s, %s, %s)" if after else ""
        statement = sql(_LANES, after=behind, place=self.place, seconds=self.seconds_to_go)
        return self.query(statement, [*(after or ()), limit, limit])

    def heads(self, lanes: Sequence[OrderKey], keys: int) -> list[Head]:
        """Find the first items of ordering keys.

        Args:
            lanes: Queues and tenants, and the key behind which to begin.
            keys: How many keys of each at the most.
        """
        return self.read_heads(self.query(sql(_HEADS, seconds=self.seconds_to_go), [json.dumps(lanes), keys]))

    # -- claiming ---------------------------------------------------------------------------------------------------

    def claim(self, claim: Claim, cursors: Sequence[Cursor]) -> list[Any]:
        """Claim in one UPDATE; no other writer can be between its subquery and its write.

        Args:
            claim: The request.
            cursors: The lanes.
        """
        due, due_values = self.due_in(cursors, claim.limit)
        statement, values = self.taking(claim, f"id IN ({due})")
        return self.query(statement, [*values, *due_values])

    def is_contention(self, error: DatabaseError) -> bool:
        """Whether another connection held the write lock for longer than the busy timeout.

        Args:
            error: The error.
        """
        code = getattr(error.__cause__, "sqlite_errorcode", 0)
        return code & 0xFF in {_BUSY, _LOCKED}
