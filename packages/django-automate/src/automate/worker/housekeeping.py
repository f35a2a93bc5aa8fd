"""What a worker does beside its work: prune history by policy, from a thread of its own."""

from __future__ import annotations

import logging
import threading

from automate_core import settings
from automate_core.redaction import redact_text

from automate import retention
from automate.runtime.connections import tidy_connections

__all__ = ["Housekeeper"]

logger = logging.getLogger("automate.worker")

_BUDGET_SECONDS = 5.0
"""The longest stretch of pruning, so that a worker that is told to stop ends soon."""
_PAUSE_SECONDS = 1.0
"""Time between two stretches while there is more to prune."""


class Housekeeper:
    """Prunes at the interval of ``RETENTION.interval_seconds``; of several workers, one does it at a time."""

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="automate-retention", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End after the transaction under way; nobody waits for it."""
        self._closed.set()

    def _run(self) -> None:
        from django.db import connections

        pause = settings.current().retention.interval_seconds
        while not self._closed.wait(pause):
            try:
                pause = settings.current().retention.interval_seconds
                if not self._prune():
                    pause = _PAUSE_SECONDS
            except BaseException as error:  # noqa: BLE001 - history that stays a while longer harms nothing
                logger.warning("History could not be pruned: %s", redact_text(f"{type(error).__name__}: {error}"))
                tidy_connections()
        connections.close_all()

    def _prune(self) -> bool:
        """Prune for a while, and return whether that was all there is to do here."""
        report = retention.sweep(_BUDGET_SECONDS)
        for notice in report.notices:
            logger.warning("Retention: %s", notice)
        return report.complete or report.busy
