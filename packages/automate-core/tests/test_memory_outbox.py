from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from automate_core.outbox import JobStatus, NewJob
from automate_core.testing.memory_outbox import MemoryJob, MemoryOutbox, MemoryOutboxReaper, MemoryOutboxStore
from automate_core.testing.outbox import JobRow, OutboxStoreContract


class TestMemoryOutboxStore(OutboxStoreContract):
    supports_transactions = False
    histories = 400

    @pytest.fixture(autouse=True)
    def _new_outbox(self) -> None:
        self.outbox = MemoryOutbox()

    def make_store(self, lease_seconds: float = 30.0) -> MemoryOutboxStore:
        return MemoryOutboxStore(lease_seconds, outbox=self.outbox)

    def reap(self, *, max_crashes: int = 3, owner: str | None = None) -> int:
        return MemoryOutboxReaper(self.outbox, max_crashes=max_crashes).reap_stale_items(owner)

    def rows(self) -> dict[int, JobRow]:
        return {row.id: self._read(row) for row in self.outbox.rows.values()}

    @staticmethod
    def _read(row: MemoryJob) -> JobRow:
        return JobRow(
            row.status,
            row.attempts,
            row.crashes,
            row.lease_owner,
            row.lease_token,
            row.lease_expires_at,
            row.last_error,
            row.fingerprint,
        )

    def clear(self) -> None:
        self.outbox.rows.clear()

    def expire_lease(self, item_id: int) -> None:
        row = self.outbox.rows[item_id]
        assert row.lease_expires_at
        row.lease_expires_at = self.outbox.clock() - timedelta(minutes=1)

    def make_due(self, item_id: int) -> None:
        self.outbox.rows[item_id].next_attempt_at = self.outbox.clock() - timedelta(minutes=1)


def test_the_test_moves_the_clock() -> None:
    now = [datetime(2030, 1, 1, tzinfo=UTC)]
    outbox = MemoryOutbox(clock=lambda: now[0])
    store, reaper = MemoryOutboxStore(10, outbox=outbox), MemoryOutboxReaper(outbox, 5)
    (item_id,) = store.add([NewJob("test", due=timedelta(seconds=60))])
    assert store.seconds_until_due() == 60
    assert store.claim_batch("w") == []
    now[0] += timedelta(seconds=60)
    (item,) = store.claim_batch("w")
    assert item.lease_expires_at == now[0] + timedelta(seconds=10)
    now[0] += timedelta(seconds=15)
    assert reaper.reap_stale_items() == 0
    now[0] += timedelta(milliseconds=1)
    assert reaper.reap_stale_items() == 1
    assert outbox.rows[item_id].status is JobStatus.RETRY
