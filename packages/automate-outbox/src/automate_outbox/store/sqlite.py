"""SQLite: there is one writer, so a claim is one UPDATE."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import OperationalError

from automate_outbox.store.dialect import Claim, Dialect, sql

__all__ = ["SQLiteDialect"]

_CLAIM = """
UPDATE {table}
SET status = 'CLAIMED', attempts = attempts + 1, lease_owner = %s, lease_token = %s, lease_expires_at = {expires}
WHERE id IN (
    SELECT id FROM {table}
    WHERE {live} AND {reached}{conditions}
    ORDER BY priority DESC, next_attempt_at, id
    LIMIT %s
)
RETURNING {columns}
"""
_BUSY, _LOCKED = 5, 6


class SQLiteDialect(Dialect):
    """SQL for SQLite; times are text in UTC, as Django writes them."""

    now = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
    seconds_until = "ROUND((julianday(MIN(next_attempt_at)) - julianday('now')) * 86400.0, 3)"

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
        """Return the naive datetime that Django's converter made as UTC.

        Args:
            value: A naive datetime.
        """
        moment: datetime = value
        return moment.replace(tzinfo=UTC)

    def claim(self, claim: Claim) -> list[Any]:
        """Claim in one UPDATE; no other writer can be between its subquery and its write.

        Args:
            claim: The request.
        """
        expires, seconds = self.after(claim.lease_seconds)
        conditions, values = claim.wanted.conditions()
        statement = sql(_CLAIM, reached=self.reached, conditions=conditions, expires=expires)
        return self.query(statement, [claim.worker_id, claim.token, seconds, *values, claim.limit])

    def is_contention(self, error: OperationalError) -> bool:
        """Whether another connection held the write lock for longer than the busy timeout.

        Args:
            error: The error.
        """
        code = getattr(error.__cause__, "sqlite_errorcode", 0)
        return code & 0xFF in {_BUSY, _LOCKED}
