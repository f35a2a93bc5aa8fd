"""Sending signals without keeping the engine waiting for their receivers."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any

from django.db import connections
from django.dispatch import Signal

from automate import signals
from automate.runtime.connections import tidy_connections

__all__ = ["Announcer"]

logger = logging.getLogger("automate.signals")


class Announcer:
    """Sends signals in their order from one thread, which starts with the first signal that somebody listens to."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Signal, Any, dict[str, Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __call__(self, signal: Signal, sender: Any, **named: Any) -> None:
        """Send a signal soon.

        Args:
            signal: One of :mod:`automate.signals`.
            sender: The class of what it is about.
            **named: Its arguments.
        """
        # Most signals of most projects: what Django would ask about the sender costs more than a step's row.
        if not signal.receivers or not signal.has_listeners(sender):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="automate-signals", daemon=True)
            self._thread.start()
        self._queue.put((signal, sender, named))

    def close(self, timeout: float) -> None:
        """Send what waits, and end.

        Args:
            timeout: How long that may take, in seconds.
        """
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(max(timeout, 0.0))

    def _run(self) -> None:
        while (told := self._queue.get()) is not None:
            signal, sender, named = told
            try:
                signals.send(signal, sender, **named)
            except BaseException as error:
                logger.error("A signal receiver tried to end its thread.", exc_info=error)
            tidy_connections()
        connections.close_all()
