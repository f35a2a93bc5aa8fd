"""Keeping leases alive while their items are being worked on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from automate_core.outbox import OutboxItem
from automate_outbox.store import DatabaseOutboxStore

from automate.runtime.connections import tidy_connections

__all__ = ["LeaseKeeper"]

logger = logging.getLogger("automate.worker")


class LeaseKeeper:
    """Renews the leases of the items in hand at a third of their time, from a thread that starts with the first one.

    Args:
        store: The store that claimed the items.
        worker_id: Who claimed them.
    """

    def __init__(self, store: DatabaseOutboxStore, worker_id: str) -> None:
        self._store, self._worker_id = store, worker_id
        self._interval = store.lease_seconds / 3
        self._held: dict[int, tuple[OutboxItem, threading.Event]] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> LeaseKeeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop renewing."""
        self._closed.set()

    @contextmanager
    def holding(self, item: OutboxItem, lost: threading.Event) -> Iterator[None]:
        """Keep the lease of an item alive within the block.

        Args:
            item: The claimed item.
            lost: Set when somebody else holds it by now.
        """
        with self._lock:
            self._held[item.id] = (item, lost)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="automate-leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(item.id, None)

    def held(self) -> list[OutboxItem]:
        """Return the items in hand."""
        with self._lock:
            return [item for item, _ in self._held.values()]

    def abandon(self) -> None:
        """Tell everything in hand that nobody waits for it any more."""
        with self._lock:
            for _, lost in self._held.values():
                lost.set()

    def _run(self) -> None:
        while not self._closed.wait(self._interval):
            with self._lock:
                held = dict(self._held)
            if not held:
                continue
            try:
                lost = self._store.renew_many({item.id: item.lease_token for item, _ in held.values()}, self._worker_id)
            except Exception as error:  # noqa: BLE001 - without this thread every lease would run out
                # The leases hold for two more rounds; whoever loses them is told by the fence of the next write.
                logger.warning("Leases could not be renewed: %s", error)
                tidy_connections()
                continue
            for item_id in lost:
                logger.warning("The lease of item %s was lost: another worker took it over.", item_id)
                held[item_id][1].set()
        from django.db import connections

        connections.close_all()
