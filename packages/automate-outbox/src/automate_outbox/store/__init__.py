"""The outbox stores: raw SQL through Django's connection, one module per database."""

from __future__ import annotations

from automate_core import settings

from automate_outbox.store.base import DatabaseOutboxStore
from automate_outbox.store.optimistic import OptimisticClaimOutboxStore
from automate_outbox.store.skip_locked import SkipLockedClaimOutboxStore

__all__ = ["DatabaseOutboxStore", "OptimisticClaimOutboxStore", "SkipLockedClaimOutboxStore", "get_store"]


def get_store(using: str = "default", *, lease_seconds: float | None = None) -> DatabaseOutboxStore:
    """Return the store that fits a database: skip-locked where claimers need not wait, optimistic elsewhere.

    Args:
        using: Alias of the database.
        lease_seconds: How long a claim holds without being renewed; None takes ``OUTBOX.lease_seconds``.

    Raises:
        ConfigurationError: If the outbox does not support the database.
    """
    from django.db import connections

    lease = settings.current().outbox.lease_seconds if lease_seconds is None else lease_seconds
    connection = connections[using]
    # SQLite has one writer: there is nobody to skip.
    passes = connection.vendor == "sqlite" or connection.features.has_select_for_update_skip_locked
    store = SkipLockedClaimOutboxStore if passes else OptimisticClaimOutboxStore
    return store(lease, using=using)
