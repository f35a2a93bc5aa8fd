"""The store for databases on which claimers can pass each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from automate_core.errors import ConfigurationError

from automate_outbox.store.base import DatabaseOutboxStore
from automate_outbox.store.lane_dialect import LaneDialect
from automate_outbox.store.lanes import Cursor
from automate_outbox.store.statements import Claim

__all__ = ["SkipLockedClaimOutboxStore"]


class SkipLockedClaimOutboxStore(DatabaseOutboxStore):
    """Claims with ``FOR UPDATE SKIP LOCKED``: claimers never wait for each other.

    On PostgreSQL a claim is one statement, on MySQL and MariaDB a short transaction. SQLite has one writer, so there
    a claim is one UPDATE.

    Args:
        lease_seconds: How long a claim holds without being renewed.
        using: Alias of the database.

    Raises:
        ConfigurationError: If ``lease_seconds`` is not positive; at first use, if the database has no SKIP LOCKED.
    """

    def _choose_dialect(self) -> LaneDialect:
        dialect = super()._choose_dialect()
        connection = dialect.connection
        if connection.vendor != "sqlite" and not connection.features.has_select_for_update_skip_locked:
            raise ConfigurationError(
                f"Database {self.using!r} has no SKIP LOCKED: use OptimisticClaimOutboxStore, or get_store()."
            )
        return dialect

    def _claim(self, claim: Claim, cursors: Sequence[Cursor]) -> list[Any]:
        return self._dialect.claim(claim, cursors)
