"""Taking back at once what a child held that is known to be dead, while its leases still hold."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from automate_core.outbox import JobStatus
from automate_core.redaction import redact_text
from automate_outbox.counters import fold
from automate_outbox.reaper import OutboxReaper

from automate.runtime.connections import RECONNECT, close_connections

__all__ = ["Recovery"]

logger = logging.getLogger("automate.worker")

_AGAIN_SECONDS = 1.0
"""When to look once more: a server may still have carried out what the child had sent, such as a claim."""


@dataclass(slots=True)
class _Dead:
    name: str
    due: float
    until: float
    looks: int = 2
    failures: int = 0
    counts: Counter[str] = field(default_factory=Counter)


class Recovery:
    """Reaps what dead children held, from a thread of its own, so that their parent waits for no database.

    The thread has a connection only while somebody has died. What cannot be taken back before the leases have run out
    is left to the reapers of the workers.

    Args:
        lease_seconds: How long the children's claims hold.
        max_crashes: Crashes before an item is FAILED.
    """

    def __init__(self, lease_seconds: float, max_crashes: int) -> None:
        self._lease, self._reaper = lease_seconds, OutboxReaper(max_crashes=max_crashes)
        self._told: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def take_back(self, worker_id: str) -> None:
        """Take back what a dead worker held, soon; returns at once.

        Args:
            worker_id: Its name in the leases. It is dead beyond doubt, and nobody else has ever had this name.
        """
        self._told.put(worker_id)
        if self._thread is not None and self._thread.is_alive():
            return
        thread = threading.Thread(target=self._run, name="automate-recovery", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no thread to be had, for now: the next death tries again, and leases run out
            logger.error("What %s held is left to the reapers of the workers: %s", worker_id, error)
        else:
            self._thread = thread

    def close(self, timeout: float) -> None:
        """Look once for each that was told of, and end.

        Args:
            timeout: How long that may take, in seconds.
        """
        if self._thread is not None:
            self._told.put(None)
            self._thread.join(timeout)

    def _run(self) -> None:
        dead: list[_Dead] = []
        closing = False
        while not closing:
            closing = self._listen(dead)
            for one in list(dead):
                if closing:
                    one.looks = 1
                elif one.due > time.monotonic():
                    continue
                if not self._look(one):
                    dead.remove(one)
            if closing or not dead:
                close_connections()

    def _listen(self, dead: list[_Dead]) -> bool:
        """Wait until it is time to look, and take in who died meanwhile; return whether this is the end."""
        wait = max(0.0, min(one.due for one in dead) - time.monotonic()) if dead else None
        try:
            name = self._told.get(timeout=wait)
            while name is not None:
                now = time.monotonic()
                dead.append(_Dead(name, now, now + self._lease))
                name = self._told.get_nowait()
        except queue.Empty:
            return False
        return True

    def _look(self, one: _Dead) -> bool:
        """Take back what there is, and return whether to look again."""
        try:
            reaped = self._reaper.reap(one.name)
            one.counts["reaped"] += len(reaped)
            one.counts["crashed"] += sum(item.status is JobStatus.FAILED for item in reaped)
            if one.looks == 1:
                fold(worker_id=one.name, counts=one.counts)
        except BaseException as error:  # noqa: BLE001 - handlers are told of deaths, and others may have died too
            one.failures += 1
            one.due = time.monotonic() + RECONNECT.delay(one.failures, random=random.random())  # noqa: S311 - jitter
            reason = redact_text(f"{type(error).__name__}: {error}")
            logger.warning("What %s held cannot be taken back yet: %s", one.name, reason)
            close_connections()
            return one.due < one.until
        one.looks -= 1
        one.due = time.monotonic() + _AGAIN_SECONDS
        return one.looks > 0
