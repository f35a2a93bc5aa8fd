"""MySQL and MariaDB: no UPDATE returns rows, so a claim is a short transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from automate_core.payload import MAX_DEPTH, MAX_DEPTH_MARIADB
from django.db import OperationalError, transaction

from automate_outbox.store.dialect import Change, Claim, Dialect, marks, sql

__all__ = ["MySQLDialect"]

# One status at a time, in the order of the index: a sort would lock every due row, not only those up to the limit.
_LOCK = """
SELECT {columns}, {expires} FROM {table} FORCE INDEX (automate_outbox_claim)
WHERE status = %s AND {reached}{conditions}
ORDER BY priority DESC, next_attempt_at, id
LIMIT %s
FOR UPDATE SKIP LOCKED
"""
_TAKE = """
UPDATE {table}
SET status = 'CLAIMED', attempts = attempts + 1, lease_owner = %s, lease_token = %s, lease_expires_at = %s
WHERE id IN ({ids})
"""
_DEADLOCK, _LOCK_TIMEOUT, _CHANGED_SINCE_READ = 1213, 1205, 1020
_ID, _ATTEMPTS, _OWNER, _TOKEN, _EXPIRES, _PRIORITY, _NEXT_ATTEMPT = 0, 3, 6, 7, 8, 11, 12


class MySQLDialect(Dialect):
    """SQL for MySQL and MariaDB; times are DATETIME(6) in UTC."""

    now = "UTC_TIMESTAMP(6)"
    seconds_until = "TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), MIN(next_attempt_at)) / 1000000"
    updates_return_rows = False

    @property
    def max_depth(self) -> int:
        """Levels of nesting: MariaDB's check of a JSON column refuses deeper values, empty ones at the end included."""
        return MAX_DEPTH_MARIADB - 1 if getattr(self.connection, "mysql_is_mariadb", False) else MAX_DEPTH

    def after(self, seconds: float) -> tuple[str, Any]:
        """Add seconds to the database's now.

        Args:
            seconds: How many.
        """
        return "UTC_TIMESTAMP(6) + INTERVAL %s MICROSECOND", round(seconds * 1_000_000)

    def read_time(self, value: Any) -> datetime:
        """Return the driver's naive datetime as UTC.

        Args:
            value: A naive datetime.
        """
        moment: datetime = value
        return moment.replace(tzinfo=UTC)

    def insert(self, statement: str, params: Sequence[Any], count: int) -> list[int]:
        """Insert, and work out the ids where the server cannot return them.

        Args:
            statement: The INSERT.
            params: Its values.
            count: How many rows it inserts.
        """
        if self.connection.features.can_return_rows_from_bulk_insert:
            return super().insert(statement, params, count)
        return self._insert_and_count(statement, params, count)

    def _insert_and_count(self, statement: str, params: Sequence[Any], count: int) -> list[int]:
        # An INSERT of a known number of rows gets consecutive ids in every innodb_autoinc_lock_mode; the step is the
        # session's.
        with self.connection.cursor() as cursor:
            cursor.execute(statement, params)
            cursor.execute("SELECT LAST_INSERT_ID(), @@auto_increment_increment")
            first, step = cursor.fetchone()
        return [int(first) + index * int(step) for index in range(count)]

    def claim(self, claim: Claim) -> list[Any]:
        """Lock what is due in the order of the index, then take the first of it.

        Args:
            claim: The request.
        """
        with transaction.atomic(using=self.using):
            found = [*self._lock("PENDING", claim), *self._lock("RETRY", claim)]
            found.sort(key=lambda row: (-row[_PRIORITY], row[_NEXT_ATTEMPT], row[_ID]))
            rows = [list(row) for row in found[: claim.limit]]
            if not rows:
                return []
            # One clock for the whole claim: the end of the lease is what the first SELECT said.
            expires = rows[0][-1]
            for row in rows:
                row[_ATTEMPTS] += 1
                row[_OWNER], row[_TOKEN], row[_EXPIRES] = claim.worker_id, claim.token, expires
            self.execute(
                sql(_TAKE, ids=marks(len(rows))),
                [claim.worker_id, claim.token, expires, *(row[_ID] for row in rows)],
            )
            return rows

    def _lock(self, status: str, claim: Claim) -> list[Any]:
        expires, microseconds = self.after(claim.lease_seconds)
        conditions, values = claim.wanted.conditions()
        statement = sql(_LOCK, reached=self.reached, conditions=conditions, expires=expires)
        return self.query(statement, [microseconds, status, *values, claim.limit])

    def update_free(self, change: Change, condition: str, params: Sequence[Any]) -> set[int]:
        """Lock the rows, then update them: an UPDATE may not read its own table here.

        Args:
            change: What to set.
            condition: Which rows.
            params: The values of the condition.
        """
        skips = self.connection.features.has_select_for_update_skip_locked
        lock = " FOR UPDATE SKIP LOCKED" if skips else " FOR UPDATE"
        with transaction.atomic(using=self.using):
            found = self.query(
                sql("SELECT id FROM {table} WHERE {condition}{lock}", condition=condition, lock=lock), params
            )
            ids = [row[0] for row in found]
            if ids:
                statement = sql(
                    "UPDATE {table} SET {change} WHERE id IN ({ids})", change=change.text, ids=marks(len(ids))
                )
                self.execute(statement, [*change.params, *ids])
        return set(ids)

    def is_contention(self, error: OperationalError) -> bool:
        """Whether it was a deadlock or a lock wait timeout.

        Args:
            error: The error.
        """
        return bool(error.args) and error.args[0] in {_DEADLOCK, _LOCK_TIMEOUT, _CHANGED_SINCE_READ}
