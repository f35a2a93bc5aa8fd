"""The outbox stores: raw SQL through Django's connection, one module per database."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from automate_core import settings
from django.db import InterfaceError, OperationalError, connections

from automate_outbox.store.base import DatabaseOutboxStore
from automate_outbox.store.optimistic import OptimisticClaimOutboxStore
from automate_outbox.store.skip_locked import SkipLockedClaimOutboxStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from automate_outbox.store.lanes import Cursor
    from automate_outbox.store.statements import Claim

__all__ = ["DatabaseOutboxStore", "OptimisticClaimOutboxStore", "SkipLockedClaimOutboxStore", "get_store"]


def get_store(using: str = "default", *, lease_seconds: float | None = None) -> DatabaseOutboxStore:
    """Return the store that fits a database: skip-locked where claimers need not wait, optimistic elsewhere.

    Args:
        using: Alias of the database.
        lease_seconds: How long a claim holds without being renewed; None takes ``OUTBOX.lease_seconds``.

    Returns:
        The store. Where the database has to be asked what it can, and is away, it is one that asks at its first claim.

    Raises:
        ConfigurationError: If ``lease_seconds`` is not positive.
    """
    lease = settings.current().outbox.lease_seconds if lease_seconds is None else lease_seconds
    try:
        return _fitting(using)(lease, using=using)
    except (InterfaceError, OperationalError):
        return _LateStore(lease, using=using)


def _fitting(using: str) -> type[DatabaseOutboxStore]:
    connection = connections[using]
    # SQLite has one writer: there is nobody to skip.
    passes = connection.vendor == "sqlite" or connection.features.has_select_for_update_skip_locked
    return SkipLockedClaimOutboxStore if passes else OptimisticClaimOutboxStore


class _LateStore(DatabaseOutboxStore):
    """The store of a database that was away when it was made: at the first claim it is known how to claim there."""

    @cached_property
    def _chosen(self) -> DatabaseOutboxStore:
        return _fitting(self.using)(self.lease_seconds, using=self.using)

    @property
    def _claims_along(self) -> bool:  # type: ignore[override]  # known only later here
        return self._chosen._claims_along

    def _claim(self, claim: Claim, cursors: Sequence[Cursor]) -> list[Any]:
        return self._chosen._claim(claim, cursors)
