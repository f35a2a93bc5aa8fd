"""Keeping leases alive while their items are in hand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from automate_core.outbox import OutboxItem
from automate_outbox.store import DatabaseOutboxStore

from automate.runtime.connections import tidy_connections

__all__ = ["LeaseKeeper"]

logger = logging.getLogger("automate.worker")

_PATIENCE = 4 / 3
"""Leases that a keeper may be without a round before it counts as silent: four rounds would have fitted in."""


class LeaseKeeper:
    """Renews the leases of what is in hand at a third of their time, in one statement, from a thread of its own.

    Args:
        store: The store that claimed the items.
        worker_id: Who claimed them.
        held: What is in hand, by id; it is read from the keeper's thread.
        lost: Told the items whose claims are no longer live, in the keeper's thread: somebody else holds them, or they
            were ended by a commit of this moment.
    """

    def __init__(
        self,
        store: DatabaseOutboxStore,
        worker_id: str,
        held: Mapping[int, OutboxItem],
        lost: Callable[[Sequence[int]], None],
    ) -> None:
        self._store, self._worker_id, self._held, self._lost = store, worker_id, held, lost
        self._closed = threading.Event()
        self._last_round = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="automate-leases", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def close(self) -> None:
        """Stop renewing."""
        self._closed.set()

    @property
    def is_silent(self) -> bool:
        """Whether leases may have run out because nobody renews them: the thread has died, or waits in a black hole.

        A round that failed has ended: the database is away, and another process would not renew anything either.
        """
        patience = self._store.lease_seconds * _PATIENCE
        return bool(self._held) and time.monotonic() - self._last_round > patience

    def _run(self) -> None:
        while not self._closed.wait(self._store.lease_seconds / 3):
            # One bytecode copies it, so the engine's thread cannot change it meanwhile.
            tokens = {item.id: item.lease_token for item in list(self._held.values())}
            try:
                if tokens:
                    self._renew(tokens)
            except BaseException as error:  # noqa: BLE001 - without this thread every lease would run out
                # The leases hold for two more rounds; whoever loses them is told by the fence of the next write.
                logger.warning("Leases could not be renewed: %s: %s", type(error).__name__, error)
                tidy_connections()
            self._last_round = time.monotonic()
        from django.db import connections

        connections.close_all()

    def _renew(self, tokens: Mapping[int, str]) -> None:
        lost = self._store.renew_many(tokens, self._worker_id)
        # What was finished meanwhile is not held either, and nobody else has it; or it was claimed here anew.
        held = {item.id: item.lease_token for item in list(self._held.values())}
        lost = {item_id for item_id in lost if held.get(item_id) == tokens[item_id]}
        if lost:  # or just ended: the engine knows, once it has taken note of its last commit
            self._lost(sorted(lost))
