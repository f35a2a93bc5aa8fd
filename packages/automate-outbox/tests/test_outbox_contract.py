from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from automate_core.outbox import JobStatus
from automate_core.outbox.reaper import OutboxReaper
from automate_core.outbox.store import OptimisticClaimOutboxStore, SkipLockedClaimOutboxStore
from automate_core.testing.databases import ALIASES, require_database
from automate_core.testing.memory_outbox import MemoryOutbox, MemoryOutboxReaper, MemoryOutboxStore
from automate_core.testing.outbox import JobRow, OutboxStoreContract
from automate_outbox.models import OutboxJob
from automate_outbox.store import DatabaseOutboxStore
from django.db import connections, transaction
from django.utils import timezone

T = TypeVar("T")


class DatabaseContract(OutboxStoreContract):
    store_class: type[DatabaseOutboxStore]
    using: str

    @pytest.fixture(autouse=True, params=ALIASES)
    def _empty_table(self, request: pytest.FixtureRequest) -> Iterator[None]:
        self.using = require_database(request.param)
        OutboxJob.objects.using(self.using).all().delete()
        yield
        OutboxJob.objects.using(self.using).all().delete()

    def make_store(self, lease_seconds: float = 30.0) -> DatabaseOutboxStore:
        return self.store_class(lease_seconds, using=self.using)

    def reap(self, *, max_crashes: int = 3) -> int:
        return OutboxReaper(using=self.using, max_crashes=max_crashes).reap_stale_items()

    def row(self, item_id: int) -> JobRow:
        job = OutboxJob.objects.using(self.using).get(pk=item_id)
        assert (job.completed_at is not None) == (job.status in {"COMPLETED", "FAILED"})
        return JobRow(
            JobStatus(job.status),
            job.attempts,
            job.crashes,
            job.lease_owner,
            job.lease_token,
            job.lease_expires_at,
            job.last_error,
        )

    def count(self) -> int:
        return OutboxJob.objects.using(self.using).count()

    def expire_lease(self, item_id: int) -> None:
        rows = OutboxJob.objects.using(self.using).filter(pk=item_id, status="CLAIMED")
        assert rows.update(lease_expires_at=timezone.now() - timedelta(minutes=1))

    def make_due(self, item_id: int) -> None:
        rows = OutboxJob.objects.using(self.using).filter(pk=item_id, status__in=["PENDING", "RETRY"])
        assert rows.update(next_attempt_at=timezone.now() - timedelta(minutes=1))

    def atomic(self) -> AbstractContextManager[Any]:
        return transaction.atomic(using=self.using)

    def in_thread(self, work: Callable[[], T]) -> T:
        try:
            return work()
        finally:
            connections[self.using].close()


class TestSkipLocked(DatabaseContract):
    store_class = SkipLockedClaimOutboxStore


class TestOptimistic(DatabaseContract):
    store_class = OptimisticClaimOutboxStore


class TestMemory(OutboxStoreContract):
    supports_transactions = False

    @pytest.fixture(autouse=True)
    def _new_outbox(self) -> None:
        self.outbox = MemoryOutbox()

    def make_store(self, lease_seconds: float = 30.0) -> MemoryOutboxStore:
        return MemoryOutboxStore(lease_seconds, outbox=self.outbox)

    def reap(self, *, max_crashes: int = 3) -> int:
        return MemoryOutboxReaper(self.outbox, max_crashes=max_crashes).reap_stale_items()

    def row(self, item_id: int) -> JobRow:
        row = self.outbox.rows[item_id]
        return JobRow(
            row.status,
            row.attempts,
            row.crashes,
            row.lease_owner,
            row.lease_token,
            row.lease_expires_at,
            row.last_error,
        )

    def count(self) -> int:
        return len(self.outbox.rows)

    def expire_lease(self, item_id: int) -> None:
        row = self.outbox.rows[item_id]
        assert row.lease_expires_at
        row.lease_expires_at = self.outbox.clock() - timedelta(minutes=1)

    def make_due(self, item_id: int) -> None:
        self.outbox.rows[item_id].next_attempt_at = self.outbox.clock() - timedelta(minutes=1)
