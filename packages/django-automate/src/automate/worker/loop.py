"""The loop of one worker process: claim, hand over, write together, reap, wait."""

from __future__ import annotations

import logging
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Literal, TypeVar

from automate_core import settings
from automate_core.outbox import JobStatus, OutboxItem
from automate_outbox.counters import Counters, Heartbeat
from automate_outbox.handlers import registered_kinds
from automate_outbox.reaper import OutboxReaper
from automate_outbox.store import get_store
from automate_outbox.wake import waker_for
from django.db import DatabaseError, InterfaceError

from automate import signals
from automate.audit import note_settings
from automate.policy.switch import LOOK_SECONDS, Watch
from automate.runtime.connections import AWAY, RECONNECT, tidy_connections
from automate.runtime.journal import ClaimRequest
from automate.worker.announcer import Announcer
from automate.worker.engine import Engine
from automate.worker.housekeeping import Housekeeper
from automate.worker.launch import InlineLauncher, ThreadLauncher
from automate.worker.leases import LeaseKeeper
from automate.worker.pace import Pace
from automate.worker.stopping import Holding, Stopping
from automate.worker.suspects import Suspects

__all__ = ["Worker", "WorkerOptions", "default_worker_id"]

T = TypeVar("T")

logger = logging.getLogger("automate.worker")

_STALLED_SECONDS = 60.0
"""A turn that takes longer than this will not end: its statement was swallowed, or something blocks for ever."""


def default_worker_id() -> str:
    """Return a worker id that no other process has: host, process, and a random part."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker works.

    Args:
        worker_id: Its name in the leases.
        concurrency: Items that run at once.
        lease: Seconds that a claim holds without being renewed.
        poll: Seconds between two looks at an empty outbox.
        grace: Seconds to finish what is in hand after it was told to stop.
        mode: ``thread``; ``process`` where it is one of several processes that do one thing at a time each;
            ``synchronous`` where items are handled one by one in the calling thread.
        queues: The queues that it serves; None means all.
    """

    worker_id: str
    concurrency: int
    lease: float
    poll: float
    grace: float
    mode: Literal["thread", "process", "synchronous"] = "thread"
    queues: tuple[str, ...] | None = None

    @classmethod
    def from_settings(cls, *, inline: bool = False, **given: Any) -> WorkerOptions:
        """Take from the settings what is not given.

        Args:
            inline: Whether items are handled one by one in the calling thread.
            **given: Options by name; None counts as not given.
        """
        if inline:
            given["mode"] = "synchronous"
        current = settings.current()
        values = {
            "worker_id": default_worker_id(),
            "concurrency": current.worker.concurrency,
            "lease": current.outbox.lease_seconds,
            "poll": current.worker.poll_seconds,
            "grace": current.worker.grace_seconds,
            **{name: value for name, value in given.items() if value is not None},
        }
        options = cls(**values)
        return replace(options, concurrency=1) if options.inline else options

    @property
    def inline(self) -> bool:
        """Whether items are handled one by one in the calling thread."""
        return self.mode == "synchronous"


class Worker:
    """One worker.

    Args:
        options: How it works.

    Attributes:
        counters: What it has done so far.
    """

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        current = settings.current()
        self._store = get_store(lease_seconds=options.lease)
        self._reaper = OutboxReaper(max_crashes=current.outbox.max_crashes)
        self._suspects = Suspects(options.concurrency, current.outbox.max_crashes)
        self._draining = Stopping()
        self._holding = Holding(Watch(), self._draining)
        self._signal = 0
        self._launcher = InlineLauncher() if options.inline else ThreadLauncher(options.concurrency)
        self._announcer = Announcer()
        self.counters = Counters()
        self._heartbeat = Heartbeat(options.worker_id, self.counters, mode=options.mode)
        self._housekeeper = Housekeeper()
        self._engine = Engine(
            self._store,
            options.worker_id,
            self._launcher,
            self._holding,
            announce=signals.send if options.inline else self._announcer,
            counters=self.counters,
        )
        self._keeper = LeaseKeeper(self._store, options.worker_id, self._engine.in_hand, self._engine.lose)
        self._waker = waker_for(on_wake=self._ring)
        self._pace = Pace(options.concurrency, current.execution.batch_size, current.outbox.max_batch_size)
        self._rung = True
        self._next_look = self._next_reap = self._last_work = 0.0
        self._last_turn = time.monotonic()
        self._stays = False
        self._failures = self._accepted = 0

    @property
    def is_alive(self) -> bool:
        """Whether the loop goes round, and the leases of what is in hand are looked after."""
        goes_round = time.monotonic() - self._last_turn < max(_STALLED_SECONDS, 2 * self.options.poll)
        return goes_round and not self._keeper.is_silent

    # -- stopping ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop claiming; what is in hand is finished within the grace, and handed back after it."""
        self._draining.set()
        self._engine.wake()

    def install_signal_handlers(self) -> None:
        """Stop on SIGTERM and SIGINT; the second signal ends the process at once."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self._draining.is_set():
                os._exit(128 + number)
            self._signal = number  # logged by the loop, as a handler of logs may be what was interrupted
            self.stop()

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)

    def _ring(self) -> None:
        if not self._rung:
            self._rung = True
            self._engine.wake()

    def note_settings(self, actor: str) -> None:
        """Put on record by which settings it works; a database that is away is waited for.

        Args:
            actor: Who started it.
        """
        while not self._draining.is_set() and self._guarded(lambda: (note_settings(actor=actor),)) is None:
            pass

    # -- the loop ---------------------------------------------------------------------------------------------------

    def run(self, *, once: bool = False, drain: bool = False) -> int:
        """Work until told to stop.

        Args:
            once: Stop after one claim.
            drain: Stop when nothing is due.

        Returns:
            How many items were claimed and handled.
        """
        self._keeper.start()
        self._stays = not (once or drain)
        if self._stays:
            self._waker.start()
            self._housekeeper.start()
        try:
            while not self._draining.is_set():
                looked = self._guarded(self._turn)
                if once and looked is not None and looked >= 0:
                    break
                if drain and looked is not None and looked <= 0 and not self._engine.in_hand and not self._is_due():
                    break
                if self._launcher.is_stuck:
                    logger.error("%s actions hang: this process ends, to be replaced.", self.options.concurrency)
                    self.stop()
            return self._accepted
        except BaseException:
            self.stop()  # what is in hand gets the grace and no more: this engine may never finish it
            raise
        finally:
            self._shut_down()

    def _turn(self) -> int:
        """Write, claim, accept, and wait for what comes of it.

        Returns:
            How many items were claimed; -1 where there was no look at the outbox, as it was too early.
        """
        self._reap()
        self._look_at_switch()
        if self._stays:
            self._heartbeat.beat(in_hand=len(self._engine.in_hand), wake=self._waker.mode)
        request = self._request()
        claimed: list[OutboxItem] | None = None
        if request is not None or self._engine.wants_flush:
            claimed = self._engine.flush(request)
        if self._suspects.next is not None and not self._engine.in_hand:
            self._engine.accept(self._claim_alone(self._suspects.next))
        elif request is not None and claimed is not None:
            self._note(request, claimed)
            accepted = self._without_refused(claimed)
            self._accepted += len(accepted)
            self._engine.accept(accepted)
        else:
            self._engine.accept(())
        self._engine.pump(self._patience())
        if request is None:
            return 0 if self._holding.is_off else -1
        return len(claimed or ())

    def _look_at_switch(self) -> None:
        """Switched off, nothing is claimed, and what is in hand is put down at its next checkpoint."""
        if self._holding.look():
            self._engine.put_down_waiting()

    def _request(self) -> ClaimRequest | None:
        """Return what to claim now: no more than there are free slots, and only where something may have come."""
        self._pace.went_on(self._engine.ended + self._engine.dismissed)
        if self._pace.is_behind(self._engine.ended, self._engine.waiting):
            # It was claimed at a better pace. Whoever has a free thread may have what waits here for one.
            self._engine.put_down_waiting()
            self._pace.slow_down()
        limit = self._room()
        if not limit or self._holding.is_off:
            return None
        if not self._rung and time.monotonic() < self._next_look:
            return None
        self._rung = False
        return ClaimRequest(limit, registered_kinds(), self.options.queues)

    def _room(self) -> int:
        return self._suspects.room(self._engine.in_hand.values(), self._pace.free(len(self._engine.in_hand)))

    def _note(self, request: ClaimRequest, claimed: list[OutboxItem]) -> None:
        now = time.monotonic()
        self.counters.claimed += len(claimed)
        self._pace.looked(len(claimed), len(self._engine.in_hand))
        if claimed:
            self._last_work = now
        if len(claimed) >= request.limit:
            self._rung = True  # there may be more
        idle = now - self._last_work if self._last_work else self.options.poll
        self._next_look = now + min(self.options.poll, self._waker.next_poll(idle))

    def _patience(self) -> float:
        """Return how long to wait for messages before the next turn."""
        now = time.monotonic()
        if self._engine.in_hand and not self._room():
            return min(self.options.poll, max(self._next_reap - now, 0.0))
        if self._holding.is_off:
            return min(self.options.poll, LOOK_SECONDS)
        if self._rung:
            return 0.0
        return max(0.0, min(self._next_look - now, self._next_reap - now))

    def _without_refused(self, items: list[OutboxItem]) -> list[OutboxItem]:
        """Hand back what should not be in hand beside other items, as one of them may kill this process too."""
        refused = self._suspects.refuse(items, len(self._engine.in_hand))
        if not refused:
            return items
        self._rung = True
        try:
            self._release(refused)
        except AWAY:
            self._engine.hand_back(items)
            raise
        ids = {item.id for item in refused}
        return [item for item in items if item.id not in ids]

    def _claim_alone(self, item_id: int) -> list[OutboxItem]:
        """Claim the one that was handed back, unless another worker has it by now."""
        item = None
        if not self._holding.is_off:
            item = self._store.claim_job(self.options.worker_id, item_id, due_only=True)
        self._suspects.took(item)
        self.counters.claimed += item is not None
        self._accepted += item is not None
        return [] if item is None else [item]

    def _guarded(self, work: Callable[[], T]) -> T | None:
        """Do something with the database; when it is away, wait and come back."""
        self._last_turn = time.monotonic()
        try:
            result = work()
        except AWAY as error:
            self._failures += 1
            pause = RECONNECT.delay(self._failures, random=random.random())  # noqa: S311 - jitter
            logger.warning("The database does not answer (%s); looking again in %.1f s.", error, pause)
            tidy_connections()
            self._rung = True
            if self._draining.is_set():
                time.sleep(min(pause, 0.2))  # the grace goes by, and nothing is gained by asking at full speed
            else:
                self._draining.wait(pause)
            return None
        self._failures = 0
        return result

    def _reap(self) -> None:
        if time.monotonic() < self._next_reap:
            return
        self._next_reap = time.monotonic() + settings.current().outbox.reaper_interval_seconds
        reaped = self._reaper.reap()
        self.counters.reaped += len(reaped)
        self.counters.crashed += sum(one.status is JobStatus.FAILED for one in reaped)
        if reaped:
            logger.warning("Took %s items back from workers that died.", len(reaped))
            self._rung = True

    def _is_due(self) -> bool:
        """Whether there is something to do now; asked once nothing is in hand that could add to it."""
        if self._holding.is_off:
            return False
        answer = self._guarded(
            lambda: (self._store.seconds_until_due(kinds=registered_kinds(), queues=self.options.queues),)
        )
        self._rung = True
        if answer is None:
            return True  # nobody answered, so there may be
        (seconds,) = answer
        return seconds is not None and seconds <= 0

    # -- the end ----------------------------------------------------------------------------------------------------

    def _shut_down(self) -> None:
        """Wait for what is in hand within the grace, and hand the rest back unharmed."""
        if self._signal:
            logger.info("Signal %s: finishing what is in hand.", signal.Signals(self._signal).name)
        deadline: float | None = None
        while self._engine.in_hand:
            now = time.monotonic()
            if self._draining.is_set():
                if deadline is None:
                    deadline = now + self.options.grace
                    self._engine.put_down_waiting()
                if now >= deadline:
                    break
            try:
                self._guarded(self._finish_turn)
            except Exception as error:
                logger.error("What is in hand cannot be finished (%s).", error, exc_info=error)
                break
        self._hand_back()  # before anything that may take its time: whoever waits for this process may kill it
        self._sign_off()
        self._keeper.close()
        self._housekeeper.close()
        self._waker.stop()
        self._launcher.close()
        self._announcer.close(max(1.0, self.options.grace))

    def _finish_turn(self) -> None:
        self._engine.accept(())
        if self._engine.wants_flush:
            self._engine.flush()
        if self._engine.in_hand:
            self._engine.pump(0.2)

    def _hand_back(self) -> None:
        try:
            if self._engine.in_hand:
                self._guarded(self._engine.finish)
        except Exception as error:
            logger.error("What has ended cannot be written (%s).", error, exc_info=error)
        left = self._engine.abandon()
        if not left:
            return
        try:
            self._release(left)
            logger.info("%s items were handed back.", len(left))
        except (DatabaseError, InterfaceError) as error:
            logger.warning("%s items could not be handed back (%s); their leases will run out.", len(left), error)

    def _release(self, items: list[OutboxItem]) -> None:
        lost = self._store.release_many({item.id: item.lease_token for item in items}, self.options.worker_id)
        self.counters.released += len(items) - len(lost)
        self.counters.stale_refused += len(lost)

    def _sign_off(self) -> None:
        """Leave what was counted behind."""
        if not any(self.counters.snapshot().values()):
            return
        try:
            self._heartbeat.end()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The counters could not be written (%s).", error)
