"""What all wakers share: the mode, the interval of polling, the bell of the process, the thread that watches."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

from automate_core import settings
from automate_core.redaction import redact_text

from automate_outbox.wake.local import CHANNEL, listen, unlisten

__all__ = ["CHANNEL", "Mode", "Waker", "WatchingWaker"]

logger = logging.getLogger("automate.outbox.wake")

Mode = Literal["notify", "local", "poll"]
"""How a worker learns of new items: the database notifies, their commits are seen on this machine, or it looks."""

_SHORTEST_POLL = 0.02
_JOIN_SECONDS = 10.0


class Waker:
    """Calls back when there may be something new in an outbox.

    This one watches nothing: it hears the commits of its own process, and says how often to look for all others.

    Args:
        using: Alias of the database.
        on_wake: Says "look now"; see :func:`~automate_outbox.wake.waker_for`.
        mode: What it does.
        reason: Why it does no better.
    """

    def __init__(self, using: str, on_wake: Callable[[], object], *, mode: Mode = "poll", reason: str = "") -> None:
        self.using = using
        self._on_wake = on_wake
        self._mode: Mode = mode
        self._reason = reason

    def __repr__(self) -> str:
        return f"<{type(self).__name__} using={self.using!r} mode={self.mode!r}>"

    @property
    def mode(self) -> Mode:
        """What it does now; it may change at any time."""
        return self._mode

    @property
    def reason(self) -> str:
        """Why it does no better than that; empty where there is nothing better."""
        return self._reason

    def next_poll(self, idle: float) -> float:
        """Return how long to wait for a wake-up before looking all the same.

        Where nothing wakes, it is a quarter of the time without work, from 20 ms on: what comes shortly after other
        work is found quickly, and an idle worker asks seldom. ``WORKER.poll_seconds`` is the upper bound in any mode.

        Args:
            idle: Seconds since an item was last found.

        Returns:
            Seconds.
        """
        longest = settings.current().worker.poll_seconds
        return longest if self.mode != "poll" else min(longest, max(_SHORTEST_POLL, idle / 4))

    def start(self) -> None:
        """Begin to call back; where it has begun, it does nothing. A forked process begins anew."""
        listen(self.using, self._ring)

    def stop(self) -> None:
        """End calling back; nothing is left behind. It can be started again."""
        unlisten(self.using, self._ring)

    def _ring(self) -> None:
        self._on_wake()

    def wait_for_verdict(self, timeout: float) -> bool:
        """Wait until it has found out which mode it can have.

        Args:
            timeout: Seconds.

        Returns:
            Whether it has.
        """
        return True


class WatchingWaker(Waker):
    """A waker with a thread that watches the database. While it cannot, the mode is ``poll``.

    Args:
        using: Alias of the database.
        on_wake: Says "look now".
    """

    def __init__(self, using: str, on_wake: Callable[[], object]) -> None:
        super().__init__(using, on_wake, reason="not started")
        self._thread: threading.Thread | None = None
        self._decided = threading.Event()
        self._said: tuple[Mode, str] | None = None

    @property
    def mode(self) -> Mode:
        """What it does now; without its thread, as in a forked child, it can only be polled."""
        return self._mode if self._is_watching() else "poll"

    @property
    def reason(self) -> str:
        """Why it does no better than that; empty where there is nothing better."""
        return self._reason if self.mode == self._mode else "not running"

    def _is_watching(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to watch, in a daemon thread; where it has begun, it does nothing. A forked process begins anew."""
        if self._is_watching():
            return
        super().start()
        self._mode, self._reason = "poll", "starting"
        self._decided, self._said = threading.Event(), None
        self._prepare()
        self._thread = threading.Thread(target=self._run, name=f"automate-wake-{self.using}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End watching, with its thread and its connection. It can be started again."""
        super().stop()
        thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive():
            self._interrupt()
            thread.join(_JOIN_SECONDS)
        self._mode, self._reason = "poll", "stopped"

    def wait_for_verdict(self, timeout: float) -> bool:
        """Wait until it has found out which mode it can have.

        Args:
            timeout: Seconds.

        Returns:
            Whether it has.
        """
        return self._decided.wait(timeout)

    @abstractmethod
    def _prepare(self) -> None:
        """Make what :meth:`_interrupt` needs, before the thread starts."""

    @abstractmethod
    def _watch(self) -> None:
        """Watch until interrupted."""

    @abstractmethod
    def _interrupt(self) -> None:
        """Let :meth:`_watch` return soon; called from another thread."""

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:
            logger.exception("Watching the outbox of %r ended; it is polled from now on.", self.using)
            self._become("poll", "watching ended", f"{type(error).__name__}: {error}")

    def _become(self, mode: Mode, reason: str = "", detail: str = "") -> None:
        """Take note of what can be done now, and log it where it is news; details alone are none."""
        self._mode, self._reason = mode, f"{reason}: {redact_text(detail)}" if detail else reason
        is_news, self._said = self._said != (mode, reason), (mode, reason)
        self._decided.set()
        if is_news and mode == "poll":
            logger.warning("The outbox of %r is polled: %s", self.using, self._reason)
        elif is_news:
            logger.info("The outbox of %r wakes its workers by %s.", self.using, mode)
