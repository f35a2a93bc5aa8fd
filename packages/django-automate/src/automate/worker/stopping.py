"""Telling a loop to stop, from any thread and from signal handlers."""

from __future__ import annotations

import threading
import time

from automate.policy.switch import Watch
from automate.runtime.connections import AWAY

__all__ = ["Holding", "Stopping"]

_SLICE_SECONDS = 0.1


class Stopping(threading.Event):
    """An event that is set once, without a lock.

    A signal handler runs in the middle of whatever its thread is doing. The lock of a plain event may be held there,
    by the very wait or ``set()`` that was interrupted, and the handler would wait for it for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told = False

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._told

    def set(self) -> None:
        """Set it."""
        self._told = True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; that is noticed within a tenth of a second.

        Args:
            timeout: Seconds at the most; None waits for as long as it takes.

        Returns:
            Whether it is set.
        """
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._told and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_SECONDS))
        return self._told


class Holding(threading.Event):
    """Set while no further step shall be started: the worker stops, or automation is switched off.

    It belongs to the thread of its watch, which it asks itself: a turn of the loop may be many steps long.

    Args:
        watch: Knows whether anything may run.
        stopping: Set when the worker stops.

    Attributes:
        is_off: Whether automation was switched off when :meth:`look` was last called.
    """

    def __init__(self, watch: Watch, stopping: threading.Event | None = None) -> None:
        super().__init__()
        self._watch, self._stopping = watch, stopping
        self.is_off = False

    def look(self) -> bool:
        """Look at the switch; raises what the database raises.

        Returns:
            Whether automation is off, and was on at the last look.
        """
        was_off, self.is_off = self.is_off, not self._watch.is_on()
        return self.is_off and not was_off

    def is_set(self) -> bool:
        """Whether it is set."""
        return self.is_off or (self._stopping is not None and self._stopping.is_set()) or self._is_off_by_now()

    def _is_off_by_now(self) -> bool:
        try:
            return not self._watch.is_on()
        except AWAY:
            # No fault of the run that asks; the next look of the loop meets it, and waits. A pause that is known holds.
            return bool(self._watch.why)
