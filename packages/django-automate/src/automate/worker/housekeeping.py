"""What a worker does beside its work, from a thread of its own: prune history by policy, record a pause belatedly."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from automate_core import settings
from automate_core.redaction import redact_text

from automate import retention
from automate.policy.switch import current_pause, record_pause
from automate.runtime.connections import tidy_connections

__all__ = ["Housekeeper"]

T = TypeVar("T")

logger = logging.getLogger("automate.worker")

_BUDGET_SECONDS = 5.0
"""The longest stretch of pruning, so that a worker that is told to stop ends soon."""
_PAUSE_SECONDS = 1.0
"""Time between two stretches while there is more to prune."""
_RECORD_SECONDS = 30.0
"""Time between two looks at whether a pause is still to be recorded."""


class Housekeeper:
    """Prunes at the interval of ``RETENTION.interval_seconds``; of several workers, one does it at a time.

    A pause that the audit log did not take is recorded once it does.
    """

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="automate-housekeeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End after the transaction under way; nobody waits for it."""
        self._closed.set()

    def _run(self) -> None:
        from django.db import connections

        interval = settings.current().retention.interval_seconds
        due = time.monotonic() + interval
        while not self._closed.wait(max(0.0, min(due - time.monotonic(), _RECORD_SECONDS))):
            _guarded(_record_pause, "Whether a pause is on record could not be read")
            if time.monotonic() >= due:
                wait = _guarded(_prune, "History could not be pruned")
                due = time.monotonic() + (interval if wait is None else wait)
        connections.close_all()


def _prune() -> float:
    """Prune for a while, and return the seconds until the next time."""
    interval = settings.current().retention.interval_seconds
    report = retention.sweep(_BUDGET_SECONDS)
    for notice in report.notices:
        logger.warning("Retention: %s", notice)
    return interval if report.complete or report.busy else _PAUSE_SECONDS


def _record_pause() -> None:
    paused = current_pause()
    if paused is not None and not paused.recorded and (why := record_pause()):
        logger.warning("Automation is paused, and not on record: %s", why)
        tidy_connections()


def _guarded(work: Callable[[], T], failure: str) -> T | None:
    try:
        return work()
    except BaseException as error:  # noqa: BLE001 - what is done later harms nothing
        logger.warning("%s: %s", failure, redact_text(f"{type(error).__name__}: {error}"))
        tidy_connections()
        return None
