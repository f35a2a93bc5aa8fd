"""One life of one simulated worker: the product's own Worker, whose waits end in the scheduler."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from automate.worker import loop
from automate.worker.loop import Worker, WorkerOptions

from simulation.launcher import SimulatedLauncher
from simulation.ledger import Actor
from simulation.settings import LEASE

if TYPE_CHECKING:
    from simulation.world import World

__all__ = ["Life"]


_MOST_IDLE_TURNS = 200
"""Within a second; while something is in flight, a worker looks around twenty times."""


class _Inbox:
    """The queue of an engine; whoever finds it empty has waited."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._messages: deque[Callable[[], None]] = deque()

    def put(self, message: Callable[[], None]) -> None:
        self._messages.append(message)
        self._life.wake()

    def get(self, timeout: float) -> Callable[[], None]:
        if not self._messages:
            self._life.waits(timeout, lambda: bool(self._messages))
        return self.get_nowait()

    def get_nowait(self) -> Callable[[], None]:
        if not self._messages:
            raise queue.Empty
        return self._messages.popleft()


class _Draining(threading.Event):
    """The event on which a worker waits while the database is away."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            self._life.pauses(timeout or 0.0)
        return self.is_set()


class _OneRound(threading.Event):
    """Lets the keeper of leases go round once."""

    def wait(self, timeout: float | None = None) -> bool:
        before = self.is_set()
        self.set()
        return before


class Life(Actor):
    """One life of one worker.

    Args:
        world: Where it lives.
        name: Its name in the trace.
        worker_id: Its name in the leases; two lives may have the same.
    """

    def __init__(self, world: World, name: str, worker_id: str) -> None:
        super().__init__(name)
        self.world = world
        self.frozen_until = 0.0
        self.is_active = self.is_stopping = self.has_ended = False
        self._turn_number = self._failed_renewals = self.troubles = 0
        self._wait, self._seen, self._idle_turns = 0.0, (0, 0.0), 0
        with (
            patch.object(loop, "ThreadLauncher", partial(SimulatedLauncher, self)),
            patch.object(loop, "Stopping", lambda: _Draining(self)),
        ):
            self.worker: Any = Worker(WorkerOptions.from_settings(worker_id=worker_id))
        self.worker._stays = True
        inbox: Any = _Inbox(self)
        self.worker._engine._inbox = inbox
        self.worker._heartbeat._clock = world.clock.monotonic
        world.later(0.0, self, "turns", partial(self._turn, 0))
        world.later(LEASE / 3, self, "renews", self._keep)

    @property
    def in_hand(self) -> dict[int, Any]:
        in_hand: dict[int, Any] = self.worker._engine.in_hand
        return in_hand

    @property
    def is_gone(self) -> bool:
        return self.dead or self.has_ended

    # -- waiting ----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Take the next turn now; its wait is over."""
        if not self.is_active:
            self._schedule(0.0)

    def waits(self, seconds: float, until: Callable[[], bool]) -> None:
        """Note for how long the worker waits; while it shuts down, the others go on meanwhile."""
        if self.is_stopping:
            self.world.run_within(seconds, until)
        else:
            self._wait = seconds

    def pauses(self, seconds: float) -> None:
        """Note that the worker waits until the database is back."""
        self._wait = seconds

    def _schedule(self, seconds: float) -> None:
        self._turn_number += 1
        self.world.later(seconds, self, "turns", partial(self._turn, self._turn_number))

    # -- what it does -----------------------------------------------------------------------------------------------

    def _turn(self, number: int) -> None:
        if number == self._turn_number and not self.is_active:
            self.turn()

    def turn(self) -> None:
        """Deal with what has come, and go round once."""
        self.is_active, self._wait = True, 0.0
        self._expect_work()
        try:
            self.worker._engine.pump(0.0)
            self._wait = 0.0
            self.worker._guarded(self.worker._turn)
            if self.worker._launcher.is_stuck:
                self.worker.stop()
                self.world.replace(self)
            if self.worker._draining.is_set() and not self.dead:
                self.is_stopping = True
                self.excused_at = self.world.clock.now + 2 * LEASE  # what cannot be handed back is reaped
                self.worker._shut_down()
                self.has_ended = True
        finally:
            self.is_active = False
        if not self.is_gone:
            self._schedule(self._wait)

    def _expect_work(self) -> None:
        """Notice a loop that goes round without doing anything, as fast as it can."""
        statements, since = self._seen
        if statements != self.world.database.statements or self.world.clock.now - since > 1.0:
            self._seen, self._idle_turns = (self.world.database.statements, self.world.clock.now), 0
        self._idle_turns += 1
        if self._idle_turns > _MOST_IDLE_TURNS:
            self.world.ledger.wrong(f"{self.name} goes round and round without a statement")

    def stop(self) -> None:
        """Receive SIGTERM."""
        self.worker.stop()
        self._schedule(0.0)

    def ring(self) -> None:
        """Hear the doorbell."""
        self.worker._ring()

    def _keep(self) -> None:
        self.keep()
        self.world.later(LEASE / 3, self, "renews", self._keep)

    def keep(self) -> None:
        """Renew the leases of what is in hand, as the keeper's thread does, over a connection of its own."""
        broken, troubles = self.broken, self.troubles
        self.worker._keeper._closed = _OneRound()
        self.broken = False
        self.worker._keeper._run()
        self._failed_renewals = self._failed_renewals + 1 if self.troubles > troubles else 0
        if self._failed_renewals > 1:
            self.excused_at = self.world.clock.now
        self.broken = broken
