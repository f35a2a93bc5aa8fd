"""The store for databases without SKIP LOCKED."""

from __future__ import annotations

from typing import Any

from automate_outbox.store.base import DatabaseOutboxStore
from automate_outbox.store.dialect import Claim, sql

__all__ = ["OptimisticClaimOutboxStore"]

_ROUNDS = 5
_LOOK = "SELECT id FROM {table} WHERE {live} AND {reached}{conditions} ORDER BY {order} LIMIT %s"
_ORDER = "priority DESC, next_attempt_at, id"


class OptimisticClaimOutboxStore(DatabaseOutboxStore):
    """Looks for due items, then takes those that nobody took in between; works on any database.

    Looking locks nothing: on SQLite an idle worker stays out of the writers' way.

    Args:
        lease_seconds: How long a claim holds without being renewed.
        using: Alias of the database.

    Raises:
        ConfigurationError: If ``lease_seconds`` is not positive.
    """

    def _claim(self, claim: Claim) -> list[Any]:
        conditions, values = claim.wanted.conditions()
        statement = sql(_LOOK, reached=self._dialect.reached, conditions=conditions, order=_ORDER)
        for _ in range(_ROUNDS):
            found = [row[0] for row in self._dialect.query(statement, [*values, claim.limit])]
            if not found:
                break
            if rows := self._take(found, claim.worker_id, claim.token, due_only=True):
                return rows
        return []
