"""The store for databases without SKIP LOCKED."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from automate_outbox.store.base import DatabaseOutboxStore
from automate_outbox.store.lanes import Cursor
from automate_outbox.store.statements import Claim

__all__ = ["OptimisticClaimOutboxStore"]

_ROUNDS = 5


class OptimisticClaimOutboxStore(DatabaseOutboxStore):
    """Looks for due items, then takes those that nobody took in between; works on any database.

    Args:
        lease_seconds: How long a claim holds without being renewed.
        using: Alias of the database.

    Raises:
        ConfigurationError: If ``lease_seconds`` is not positive.
    """

    _claims_along = False

    def _claim(self, claim: Claim, cursors: Sequence[Cursor]) -> list[Any]:
        statement, params = self._dialect.due_in(cursors, claim.limit)
        for _ in range(_ROUNDS):
            found = [row[0] for row in self._dialect.query(statement, params)]
            if not found:
                break
            if rows := self._dialect.take(found, claim, due_only=True):
                return rows
        return []
