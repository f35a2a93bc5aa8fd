"""How many items a worker takes in hand: as many as it finishes in a moment, and no more."""

from __future__ import annotations

import time

__all__ = ["Pace"]

_MOMENT = 0.3
"""What is in hand should be finished within this time, in seconds: it waits where others could take it."""
_SPAN = 0.02
"""The shortest time over which a rate says anything, in seconds."""
_WATCHED = 1.0
"""How long tasks have to wait for threads before it is asked how long they will, in seconds."""
_TOO_LONG = 2.0
"""What is not begun within this time should be where a thread is free, in seconds."""


class Pace:
    """The window of items in hand, between what can run at once and two full claims.

    Items that wait in hand hide the round trips to the database; more of them than are finished in a moment would
    only keep them from other workers. So the window follows the rate at which items are finished.

    Args:
        concurrency: Items that run at once.
        start: Items that the first claim asks for.
        largest: Items that one claim asks for at the most.
    """

    def __init__(self, concurrency: int, start: int, largest: int) -> None:
        self._concurrency, self._largest = concurrency, largest
        self._window = max(1, min(concurrency, start))
        self._since, self._finished = time.monotonic(), 0
        self._waiting_since, self._ended = self._since, 0

    def finished(self, total: int) -> None:
        """Take notice of how many items have been finished so far.

        Args:
            total: Their number since the start.
        """
        now = time.monotonic()
        passed, done = now - self._since, total - self._finished
        if done <= 0 or (passed < _SPAN and done < self._window):
            return
        self._since, self._finished = now, total
        least = self._concurrency
        self._window = max(least, min(int(done / max(passed, 1e-6) * _MOMENT), 2 * self._largest))

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

    def slow_down(self, handed_back: int) -> None:
        """Take in hand no more than runs at once, until items are finished faster again.

        Args:
            handed_back: How many items leave the hand unfinished.
        """
        self._window = self._concurrency
        self._finished += handed_back

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
