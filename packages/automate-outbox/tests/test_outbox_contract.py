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
from automate_core.testing.outbox import JobRow, OutboxStoreContract
from automate_outbox.models import OutboxJob
from automate_outbox.store import DatabaseOutboxStore, lanes
from django.db import connections, transaction
from django.utils import timezone

T = TypeVar("T")


class DatabaseContract(OutboxStoreContract):
    store_class: type[DatabaseOutboxStore]
    sqlite_histories: int
    using: str

    @pytest.fixture(autouse=True, params=ALIASES)
    def _empty_table(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        self.using = require_database(request.param)
        # So that every history has one outcome; what the pause does has tests of its own.
        monkeypatch.setattr(lanes, "PAUSE_SECONDS", (0.0, 0.0))
        self.histories = self.sqlite_histories if self.using == "default" else 60
        self.clear()
        yield
        self.clear()

    def make_store(self, lease_seconds: float = 30.0) -> DatabaseOutboxStore:
        return self.store_class(lease_seconds, using=self.using)

    def reap(self, *, max_crashes: int = 3, owner: str | None = None) -> int:
        return OutboxReaper(using=self.using, max_crashes=max_crashes).reap_stale_items(owner)

    def rows(self) -> dict[int, JobRow]:
        names = [
            "status",
            "attempts",
            "crashes",
            "lease_owner",
            "lease_token",
            "lease_expires_at",
            "last_error",
            "fingerprint",
        ]
        rows = OutboxJob.objects.using(self.using).values_list("pk", "completed_at", *names)
        found = {pk: (completed, JobRow(JobStatus(status), *rest)) for pk, completed, status, *rest in rows}
        for completed, row in found.values():
            assert (completed is not None) == (row.status in {JobStatus.COMPLETED, JobStatus.FAILED})
        return {pk: row for pk, (_, row) in found.items()}

    def clear(self) -> None:
        OutboxJob.objects.using(self.using).all().delete()

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
    sqlite_histories = 100


class TestOptimistic(DatabaseContract):
    store_class = OptimisticClaimOutboxStore
    sqlite_histories = 300
