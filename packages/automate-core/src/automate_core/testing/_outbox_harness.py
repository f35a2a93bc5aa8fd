"""What the contract of the outbox stores stands on."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest

from automate_core.errors import LeaseLostError
from automate_core.outbox import JobStatus, NewJob, OutboxItem, OutboxStore

__all__ = ["LATER", "SOON", "JobRow", "OutboxHarness"]

T = TypeVar("T")

SOON = timedelta(seconds=-1)
LATER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class JobRow:
    """What a row says.

    Args:
        status: Where it stands.
        attempts: Attempts charged.
        crashes: Claims whose lease ran out.
        lease_owner: Who holds it.
        lease_token: The token of the live claim.
        lease_expires_at: When that runs out.
        last_error: Why it was given back or failed.
        fingerprint: Of the error, where it is FAILED.
    """

    status: JobStatus
    attempts: int
    crashes: int
    lease_owner: str
    lease_token: str
    lease_expires_at: datetime | None
    last_error: str
    fingerprint: str


class OutboxHarness(ABC):
    """What the tests of a store need to know of it, and what they share."""

    supports_transactions = True
    """Whether the store takes part in the caller's transaction (see :meth:`atomic`)."""
    histories = 100
    """How many random histories of calls are compared with the model."""

    # -- what a subclass says ---------------------------------------------------------------------------------------

    @abstractmethod
    def make_store(self, lease_seconds: float = 30.0) -> OutboxStore:
        """Return a new store object over the same items as the other ones of this test.

        Args:
            lease_seconds: How long its leases hold.
        """

    @abstractmethod
    def reap(self, *, max_crashes: int = 3, owner: str | None = None) -> int:
        """Recover stale items, as a reaper of its own would, and return how many.

        Args:
            max_crashes: Crashes before an item is FAILED.
            owner: Recover what this dead worker held instead, whether or not its leases have run out.
        """

    @abstractmethod
    def rows(self) -> dict[int, JobRow]:
        """Return what is stored, by id."""

    @abstractmethod
    def clear(self) -> None:
        """Remove every item."""

    @abstractmethod
    def expire_lease(self, item_id: int) -> None:
        """Move the end of an item's lease into the past.

        Args:
            item_id: The item.
        """

    @abstractmethod
    def make_due(self, item_id: int) -> None:
        """Move an item's next attempt into the past.

        Args:
            item_id: The item.
        """

    def atomic(self) -> AbstractContextManager[Any]:
        """Return a transaction that rolls back when an exception leaves it."""
        raise TypeError("a store that supports transactions must say how one is opened")

    def in_thread(self, work: Callable[[], T]) -> T:
        """Run some work in a thread; a subclass closes its thread's connections here.

        Args:
            work: What to run.
        """
        return work()

    # -- small helpers ----------------------------------------------------------------------------------------------

    def row(self, item_id: int) -> JobRow:
        """Return what is stored of an item.

        Args:
            item_id: The item.
        """
        return self.rows()[item_id]

    def add(self, store: OutboxStore, **fields: Any) -> int:
        """Add one item.

        Args:
            store: The store.
            **fields: Of :class:`~automate_core.outbox.NewJob`.
        """
        return store.add([NewJob(**{"kind": "test", **fields})])[0]

    def claim(self, store: OutboxStore, worker_id: str = "w", **fields: Any) -> OutboxItem:
        """Add one item and claim it.

        Args:
            store: The store.
            worker_id: Who claims.
            **fields: Of :class:`~automate_core.outbox.NewJob`.
        """
        item_id = self.add(store, **fields)
        (item,) = store.claim_batch(worker_id, 10)
        assert item.id == item_id
        return item

    def together(self, *works: Callable[[], T]) -> list[T]:
        """Start every piece of work at one moment, each in its thread.

        Args:
            *works: What to run.

        Returns:
            What they returned.
        """
        barrier = threading.Barrier(len(works))

        def start(work: Callable[[], T]) -> T:
            def run() -> T:
                barrier.wait(timeout=30)
                return work()

            return self.in_thread(run)

        with ThreadPoolExecutor(len(works)) as pool:
            return [future.result(timeout=120) for future in [pool.submit(start, work) for work in works]]

    def assert_refused(self, item_id: int, store: OutboxStore, worker_id: str, token: str | None) -> None:
        """Check that a stale caller can do nothing and changes nothing.

        Args:
            item_id: The item.
            store: The caller's store.
            worker_id: The caller.
            token: The token that it passes.
        """
        before = self.row(item_id)
        attempts: list[Callable[[], Any]] = [
            lambda: store.mark_success(item_id, worker_id, lease_token=token),
            lambda: store.mark_retry(item_id, worker_id, SOON, "stale", lease_token=token),
            lambda: store.mark_failed(item_id, worker_id, "stale", lease_token=token),
            lambda: store.renew(item_id, worker_id, lease_token=token),
            lambda: store.release(item_id, worker_id, lease_token=token),
        ]
        for attempt in attempts:
            with pytest.raises(LeaseLostError):
                attempt()
        if token:
            claims, error = {item_id: token}, {item_id: "stale"}
            assert store.renew_many(claims, worker_id) == {item_id}
            assert store.mark_success_many(claims, worker_id) == {item_id}
            assert store.mark_failed_many(claims, worker_id, error) == {item_id}
            assert store.mark_retry_many(claims, worker_id, {item_id: (SOON, "stale")}) == {}
            assert store.release_many(claims, worker_id) == {item_id}
            assert store.reschedule_many(claims, worker_id, {item_id: SOON}) == {item_id}
            assert store.complete_and_claim(claims, worker_id, 0) == ({item_id}, [])
        assert self.row(item_id) == before
