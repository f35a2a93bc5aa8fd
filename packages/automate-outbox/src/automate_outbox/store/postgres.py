"""PostgreSQL: a claim is one statement."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import OperationalError

from automate_outbox.store.dialect import Claim, Dialect, sql

__all__ = ["PostgresDialect"]

# MATERIALIZED, as a plain subquery may be evaluated again per row and then locks more rows than the limit.
_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id AS due_id FROM {table}
    WHERE {live} AND {reached}{conditions}
    ORDER BY priority DESC, next_attempt_at, id
    LIMIT %s
    FOR UPDATE SKIP LOCKED
)
UPDATE {table}
SET status = 'CLAIMED', attempts = attempts + 1, lease_owner = %s, lease_token = %s, lease_expires_at = {expires}
FROM due WHERE id = due_id
RETURNING {columns}
"""
_SERIALIZATION_FAILURE, _DEADLOCK, _LOCK_TIMEOUT = "40001", "40P01", "55P03"


class PostgresDialect(Dialect):
    """SQL for PostgreSQL."""

    # now() would be the start of the caller's transaction.
    now = "statement_timestamp()"
    lock_free = " FOR UPDATE SKIP LOCKED"
    seconds_until = "EXTRACT(EPOCH FROM MIN(next_attempt_at) - statement_timestamp())"

    def after(self, seconds: float) -> tuple[str, Any]:
        """Add seconds to the database's now.

        Args:
            seconds: How many.
        """
        return "statement_timestamp() + make_interval(secs => %s)", seconds

    def read_time(self, value: Any) -> datetime:
        """Return the driver's datetime in UTC.

        Args:
            value: An aware datetime.
        """
        moment: datetime = value
        return moment.astimezone(UTC)

    def claim(self, claim: Claim) -> list[Any]:
        """Lock, update and return in one statement, skipping what others have locked.

        Args:
            claim: The request.
        """
        expires, seconds = self.after(claim.lease_seconds)
        conditions, values = claim.wanted.conditions()
        statement = sql(_CLAIM, reached=self.reached, conditions=conditions, expires=expires)
        return self.query(statement, [*values, claim.limit, claim.worker_id, claim.token, seconds])

    def is_contention(self, error: OperationalError) -> bool:
        """Whether it was a serialization failure, a deadlock or a lock timeout.

        Args:
            error: The error.
        """
        state = getattr(error.__cause__, "sqlstate", None)
        return state in {_SERIALIZATION_FAILURE, _DEADLOCK, _LOCK_TIMEOUT}
