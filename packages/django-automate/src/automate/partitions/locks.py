"""Locks on the table that emitters write to: asked for briefly, and again, rather than waited for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from automate_core.errors import AutomateError
from django.db import OperationalError, connections, transaction

__all__ = ["LOCK_SECONDS", "locking"]

T = TypeVar("T")

LOCK_SECONDS = 0.5
"""How long a lock is waited for. Whoever comes after the one that waits, waits as long: it bounds the stall."""

_NOT_AVAILABLE = {"55P03", "40P01"}  # lock_not_available, deadlock_detected


def locking(using: str, work: Callable[[], T], *, tries: int = 60) -> T:
    """Run some work in a transaction that waits for no lock longer than :data:`LOCK_SECONDS`.

    Args:
        using: Alias of a PostgreSQL database.
        work: Statements; what they wrote is committed when it returns. Run again where a lock was not to be had.
        tries: How often.

    Returns:
        What the work returns.

    Raises:
        AutomateError: If the locks were not to be had; ``retryable``.
    """
    for attempt in range(tries):
        try:
            with transaction.atomic(using=using):
                with connections[using].cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = {int(LOCK_SECONDS * 1000)}")
                    cursor.execute("SET LOCAL statement_timeout = 0")
                return work()
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) not in _NOT_AVAILABLE:
                raise
            if attempt + 1 < tries:
                time.sleep(random.uniform(0.5, 1.5) * min(0.1 * 2**attempt, 2.0))  # noqa: S311 - spreads retries
    raise AutomateError(
        f"The table of events was in use at each of {tries} attempts to lock it for a moment: some transaction holds "
        "it for long. Look for it in pg_stat_activity, and try again.",
        retryable=True,
    )
