"""How many items a worker takes in hand: as many as it carries on in a moment, and no more."""

from __future__ import annotations

import time

__all__ = ["Pace"]

_MOMENT = 0.2
"""What is in hand should go on within this time, in seconds: it waits where others could take it."""
_SPAN = 0.02
"""The shortest time over which a rate says anything, in seconds."""
_MEMORY = 0.5
"""How far back a rate looks at the least, in seconds: what is claimed together goes on together, and then pauses."""
_WATCHED = 1.0
"""How long tasks have to wait for threads before it is asked how long they will, in seconds."""
_TOO_LONG = 2.0
"""What is not begun within this time should be where a thread is free, in seconds."""


class Pace:
    """The window of items in hand, between what can run at once and two full claims.

    Items that wait in hand share the round trips to the database; more of them than go on in a moment would only be
    kept from other workers. So the window follows the rate of their steps. The rate at which items are finished would
    not do: runs of many steps take so many round trips that a small window could never grow.

    Args:
        concurrency: Items that run at once.
        start: Items that the first claim asks for.
        largest: Items that one claim asks for at the most.
    """

    def __init__(self, concurrency: int, start: int, largest: int) -> None:
        self._concurrency, self._largest = concurrency, largest
        self._window = max(1, min(concurrency, start))
        self._total, self._idle = 0, True
        self._restart()
        self._waiting_since, self._ended = time.monotonic(), 0

    def _restart(self) -> None:
        """Forget what was before this moment."""
        self._since = self._middle = time.monotonic(), self._total

    def went_on(self, total: int) -> None:
        """Take notice of how many steps there have been so far.

        Args:
            total: Their number since the start: actions and handlers that ended, and items for which none was called.
        """
        now, self._total = time.monotonic(), total
        passed, done = now - self._since[0], total - self._since[1]
        if done <= 0 or passed < _SPAN:
            return
        if now - self._middle[0] >= _MEMORY:
            self._since, self._middle = self._middle, (now, total)
        self._window = max(self._concurrency, min(round(done / passed * _MOMENT), 2 * self._largest))

    def is_behind(self, ended: int, waiting: int) -> bool:
        """Return whether tasks wait for threads that will not be free soon. To be asked at every turn.

        Args:
            ended: How many tasks have ended so far.
            waiting: How many wait for a thread.
        """
        now = time.monotonic()
        passed = now - self._waiting_since
        if waiting and passed < _WATCHED:
            return False
        done = ended - self._ended
        self._waiting_since, self._ended = now, ended
        return waiting * passed > done * _TOO_LONG

    def slow_down(self) -> None:
        """Take in hand no more than runs at once, until items go on faster again."""
        self._window = self._concurrency
        self._restart()

    def looked(self, claimed: int, in_hand: int) -> None:
        """Take notice of a look at the outbox. How long nothing was there to do says nothing about the pace.

        Args:
            claimed: How many items it brought.
            in_hand: How many were in hand beside them.
        """
        if claimed and self._idle:
            self._restart()
        self._idle = not claimed and not in_hand

    def free(self, in_hand: int) -> int:
        """Return how many items to claim now; 0 where it is not worth a statement yet.

        Args:
            in_hand: How many are in hand.
        """
        if self._window <= in_hand < self._concurrency:
            self._window = self._concurrency  # what the first claim brought takes its time
        free = self._window - in_hand
        if in_hand >= self._concurrency and free < min(self._largest, self._window // 2):
            return 0  # nobody is idle, and a larger claim costs no more than a small one
        return max(0, min(free, self._largest))
