"""The loop of one worker process: claim, hand over, reap, wait."""

from __future__ import annotations

import logging
import os
import random
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

from automate_core import settings
from automate_core.errors import AutomateError, LeaseLostError
from automate_core.outbox import JobStatus, OutboxItem
from automate_core.redaction import redact_text
from automate_core.retry import RetryPolicy
from automate_outbox.handlers import get_handler, registered_kinds
from automate_outbox.reaper import OutboxReaper
from automate_outbox.store import get_store
from django.db import DatabaseError, InterfaceError, OperationalError, transaction

from automate.runtime.callers import Caller, EventLoop, InlineCaller, ThreadCaller, ThreadPool
from automate.runtime.connections import tidy_connections
from automate.runtime.stop import Stop
from automate.worker.handlers import Work
from automate.worker.leases import LeaseKeeper

__all__ = ["Worker", "WorkerOptions", "default_worker_id"]

T = TypeVar("T")

logger = logging.getLogger("automate.worker")


def default_worker_id() -> str:
    """Return a worker id that no other process has: host, process, and a random part."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker works.

    Args:
        worker_id: Its name in the leases.
        concurrency: Items in hand at once.
        lease: Seconds that a claim holds without being renewed.
        poll: Seconds between two looks at an empty outbox.
        grace: Seconds to finish what is in hand after it was told to stop.
        inline: Whether items are handled one by one in the calling thread.
    """

    worker_id: str
    concurrency: int
    lease: float
    poll: float
    grace: float
    inline: bool = False

    @classmethod
    def from_settings(cls, *, inline: bool = False, **given: Any) -> WorkerOptions:
        """Take from the settings what is not given.

        Args:
            inline: Whether items are handled one by one in the calling thread.
            **given: Options by name; None counts as not given.
        """
        current = settings.current()
        values = {
            "worker_id": default_worker_id(),
            "concurrency": current.worker.concurrency,
            "lease": current.outbox.lease_seconds,
            "poll": current.worker.poll_seconds,
            "grace": current.worker.grace_seconds,
            **{name: value for name, value in given.items() if value is not None},
        }
        if inline:
            values["concurrency"] = 1
        return cls(inline=inline, **values)


class Worker:
    """One worker.

    Args:
        options: How it works.
    """

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        self._store = get_store(lease_seconds=options.lease)
        self._keeper = LeaseKeeper(self._store, options.worker_id)
        self._reaper = OutboxReaper(max_crashes=settings.current().outbox.max_crashes)
        self._slots, self._actions = ThreadPool("automate-slot"), ThreadPool("automate-action")
        self._loop = EventLoop()
        self._stop = Stop()
        self._wake = threading.Event()
        self._in_hand = 0
        self._in_hand_changed = threading.Condition()
        self._next_reap = 0.0
        self._failures = 0
        self._batch = 0
        work = Work(self._store, options.worker_id, self._keeper, self._new_caller, self._stop)
        self._work = work

    def _new_caller(self) -> Caller:
        return InlineCaller() if self.options.inline else ThreadCaller(self._actions, self._loop)

    # -- stopping ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop claiming; what is in hand is finished within the grace, and handed back after it."""
        self._stop.draining.set()
        self._wake.set()

    def install_signal_handlers(self) -> None:
        """Stop on SIGTERM and SIGINT; the second signal ends the process at once."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self._stop.draining.is_set():
                os._exit(128 + number)
            logger.info("Signal %s: finishing what is in hand.", signal.Signals(number).name)
            self.stop()

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)

    # -- the loop ---------------------------------------------------------------------------------------------------

    def run(self, *, once: bool = False, drain: bool = False) -> int:
        """Work until told to stop.

        Args:
            once: Stop after one claim.
            drain: Stop when nothing is due.

        Returns:
            How many items were handled.
        """
        handled = 0
        try:
            while not self._stop.draining.is_set():
                claimed = self._guarded(self._turn)
                handled += claimed or 0
                if once and claimed is not None:
                    break
                if drain and claimed == 0 and self._in_hand == 0 and not self._is_due():
                    break
                if not claimed:
                    self._rest()
            return handled
        finally:
            self._shut_down()

    def _turn(self) -> int:
        self._reap()
        if not settings.current().enabled:
            return 0
        items = self._claim()
        for item in items:
            self._hand_over(item)
        return len(items)

    def _claim(self) -> list[OutboxItem]:
        """Claim no more than there are free slots; more at a time while the outbox has more than that."""
        current = settings.current()
        free = self.options.concurrency - self._in_hand
        limit = min(free, self._batch or current.execution.batch_size)
        if limit <= 0:
            return []
        items = self._store.claim_batch(self.options.worker_id, limit, kinds=registered_kinds())
        grown = min(2 * limit, current.outbox.max_batch_size)
        self._batch = grown if len(items) == limit else 0
        return items

    def _guarded(self, work: Callable[[], T]) -> T | None:
        """Do something with the database; when it is away, wait and come back."""
        try:
            result = work()
        except (OperationalError, InterfaceError) as error:
            self._failures += 1
            pause = RetryPolicy(initial=0.2, max=5.0).delay(self._failures, random=random.random())  # noqa: S311 - jitter
            logger.warning("The database does not answer (%s); looking again in %.1f s.", error, pause)
            tidy_connections()
            self._stop.draining.wait(pause)
            return None
        self._failures = 0
        return result

    def _reap(self) -> None:
        if time.monotonic() < self._next_reap:
            return
        self._next_reap = time.monotonic() + settings.current().outbox.reaper_interval_seconds
        reaped = self._reaper.reap_stale_items()
        if reaped:
            logger.warning("Took %s items back from workers that died.", reaped)

    def _is_due(self) -> bool:
        """Whether there is something to do now; asked once nothing is in hand that could add to it."""
        if not settings.current().enabled:
            return False
        seconds = self._guarded(lambda: self._store.seconds_until_due(kinds=registered_kinds()))
        return seconds is not None and seconds <= 0

    def _rest(self) -> None:
        self._wake.clear()
        if not self._stop.draining.is_set():
            self._wake.wait(self.options.poll)

    # -- one item ---------------------------------------------------------------------------------------------------

    def _hand_over(self, item: OutboxItem) -> None:
        with self._in_hand_changed:
            self._in_hand += 1
        if self.options.inline:
            self._handle(item)
        else:
            self._slots.submit(lambda: self._handle(item))

    def _handle(self, item: OutboxItem) -> None:
        try:
            get_handler(item.kind).handle(item, self._work)
        except LeaseLostError as error:
            logger.warning("Item %s was taken over: %s", item.id, error)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is an outcome of the item
            self._fail(item, error)
        finally:
            with self._in_hand_changed:
                self._in_hand -= 1
                self._in_hand_changed.notify_all()
            self._wake.set()

    def _fail(self, item: OutboxItem, error: Exception) -> None:
        """Record that an item could not be handled, with another attempt where that may help."""
        text = redact_text(f"{type(error).__name__}: {error}")
        logger.error("Item %s (%s) failed: %s", item.id, item.kind, text, exc_info=error)
        retryable = isinstance(error, DatabaseError | InterfaceError) or (
            not isinstance(error, AutomateError) or error.retryable
        )
        tidy_connections()
        try:
            with transaction.atomic():
                if retryable:
                    delay = RetryPolicy().delay(item.attempts, random=random.random())  # noqa: S311 - jitter
                    status = self._store.mark_retry(
                        item.id, self.options.worker_id, timedelta(seconds=delay), text, lease_token=item.lease_token
                    )
                else:
                    self._store.mark_failed(item.id, self.options.worker_id, text, lease_token=item.lease_token)
                    status = JobStatus.FAILED
                if status is JobStatus.FAILED:
                    get_handler(item.kind).on_dead(item, text)
        except LeaseLostError:
            logger.warning("Item %s had been taken over.", item.id)
        except Exception as failure:  # noqa: BLE001 - the worker outlives an item whose handler fails at its death too
            reason = redact_text(f"{type(failure).__name__}: {failure}")
            logger.error("That could not be recorded (%s); its lease runs out and it is taken up again.", reason)

    # -- the end ----------------------------------------------------------------------------------------------------

    def _shut_down(self) -> None:
        """Wait for what is in hand within the grace, and hand the rest back unharmed."""
        deadline = time.monotonic() + self.options.grace
        stopped = self._stop.draining.is_set()
        with self._in_hand_changed:
            while self._in_hand and (not stopped or time.monotonic() < deadline):
                self._in_hand_changed.wait(min(0.5, max(deadline - time.monotonic(), 0.01)))
                stopped = self._stop.draining.is_set()
        for item in self._keeper.held():
            try:
                self._store.release(item.id, self.options.worker_id, lease_token=item.lease_token)
                logger.info("Item %s was handed back.", item.id)
            except LeaseLostError:
                continue  # it ended this moment
            except (DatabaseError, InterfaceError) as error:
                logger.warning("Item %s could not be handed back (%s); its lease will run out.", item.id, error)
        self._keeper.abandon()
        self._keeper.close()
        for pool in (self._slots, self._actions):
            pool.close()
        self._loop.close()
