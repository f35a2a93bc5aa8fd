"""Items that could not be handled: another attempt where that may help, the dead letters otherwise."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import timedelta

from automate_core import settings
from automate_core.errors import AutomateError, LeaseLostError
from automate_core.outbox import OutboxItem
from automate_core.redaction import redact_text
from automate_core.retry import RetryPolicy
from automate_outbox.counters import Counters
from automate_outbox.handlers import get_handler
from automate_outbox.store import DatabaseOutboxStore
from django.db import DatabaseError, InterfaceError, transaction

from automate.runtime.connections import AWAY

__all__ = ["Failures"]

logger = logging.getLogger("automate.worker")


class Failures:
    """Collects items that failed and records them, each kind of outcome together where nobody else has a say.

    Args:
        store: The store that claimed the items.
        worker_id: Who claimed them.
        forget: Called with each item whose outcome is recorded, or will be by whoever takes it over.
        counters: Counts what became of them.
    """

    def __init__(
        self,
        store: DatabaseOutboxStore,
        worker_id: str,
        forget: Callable[[OutboxItem], None],
        counters: Counters,
    ) -> None:
        self._store, self._worker_id, self._forget, self._counters = store, worker_id, forget, counters
        self._failed: list[tuple[OutboxItem, Exception]] = []

    def __bool__(self) -> bool:
        return bool(self._failed)

    def add(self, item: OutboxItem, error: Exception) -> None:
        """Take a failure.

        Args:
            item: The item.
            error: Why.
        """
        logger.error("Item %s (%s) failed: %s", item.id, item.kind, _text(error), exc_info=error)
        self._failed.append((item, error))

    def record(self) -> None:
        """Record what was taken.

        Raises:
            OperationalError, InterfaceError, InternalError: If the database is away; what is not recorded is kept.
        """
        if not self._failed:
            return
        again = [(item, error) for item, error in self._failed if _helps(error) and item.attempts < item.max_attempts]
        if again:
            self._retry(again)
            kept = {item.id for item, _ in again}
            self._failed = [(item, error) for item, error in self._failed if item.id not in kept]
        while self._failed:
            item, error = self._failed[-1]
            self._bury(item, error)
            self._failed.pop()
            self._forget(item)

    def _retry(self, failed: list[tuple[OutboxItem, Exception]]) -> None:
        retries = {}
        for item, error in failed:
            delay = _delay(item, error)
            retries[item.id] = (timedelta(seconds=delay), _text(error))
        claims = {item.id: item.lease_token for item, _ in failed}
        written = self._store.mark_retry_many(claims, self._worker_id, retries)
        self._counters.retried += len(written)
        self._counters.stale_refused += len(claims) - len(written)
        for item, _ in failed:
            self._forget(item)

    def _bury(self, item: OutboxItem, error: Exception) -> None:
        """Fail an item for good, and tell its handler in the same transaction."""
        text = _text(error)
        try:
            with transaction.atomic():
                self._store.mark_failed(item.id, self._worker_id, text, lease_token=item.lease_token)
                get_handler(item.kind).on_dead(item, text)
            self._counters.failed += 1
        except LeaseLostError:
            self._counters.stale_refused += 1
            logger.warning("Item %s had been taken over.", item.id)
        except AWAY:
            raise
        except Exception as failure:  # noqa: BLE001 - the worker outlives an item whose handler fails at its death too
            reason = _text(failure)
            logger.error("That could not be recorded (%s); its lease runs out and it is taken up again.", reason)


def _helps(error: Exception) -> bool:
    """Whether another attempt may help."""
    if isinstance(error, DatabaseError | InterfaceError) or not isinstance(error, AutomateError):
        return True
    return error.retryable


def _text(error: Exception) -> str:
    name = type(error).__name__
    try:
        return redact_text(f"{name}: {error}")
    except BaseException:  # noqa: BLE001 - an exception that cannot even be shown is still an outcome of the item
        return f"{name} was raised."


def _delay(item: OutboxItem, error: Exception) -> float:
    policy = RetryPolicy.from_settings(settings.current().execution)
    wanted = error.retry_after if isinstance(error, AutomateError) else None
    return policy.delay(item.attempts, random=random.random(), retry_after=wanted)  # noqa: S311 - jitter, no guard
