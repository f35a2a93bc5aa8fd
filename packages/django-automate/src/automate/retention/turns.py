"""Who prunes: of several workers, one."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from automate_outbox.store.dialect import dialect_of
from django.db import connections, transaction

__all__ = ["TurnTaken", "Turns"]

T = TypeVar("T")


class TurnTaken(Exception):
    """Somebody else prunes this database at the moment."""


class Turns:
    """Runs short transactions of which one at a time is under way in the whole database.

    On PostgreSQL each transaction takes an advisory lock that ends with it, so that nothing is left behind where a
    pooler gives every transaction another connection. On MySQL and MariaDB one lock is held from the first to the
    last. SQLite has one writer anyway.

    Args:
        using: Alias of the database.

    Attributes:
        count: Transactions so far.
        longest: Seconds that the longest one took.
    """

    def __init__(self, using: str) -> None:
        self._connection: Any = connections[using]
        self._dialect = dialect_of(using)
        self._using = using
        self.count = 0
        self.longest = 0.0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the lock of MySQL and MariaDB; elsewhere do nothing.

        Raises:
            TurnTaken: If somebody else has it.
        """
        if self._connection.vendor != "mysql":
            yield
            return
        name = f"automate.retention.{self._connection.settings_dict['NAME']}"
        name = f"automate.{hashlib.sha256(name.encode()).hexdigest()[:32]}"  # it counts for the whole server
        if self._ask("SELECT GET_LOCK(%s, 0)", name) != 1:
            raise TurnTaken
        try:
            yield
        finally:
            self._ask("SELECT RELEASE_LOCK(%s)", name)

    def run(self, work: Callable[[], T]) -> T:
        """Run some work as one transaction, again where another writer was in the way.

        Args:
            work: Statements; what they wrote is committed when it returns.

        Returns:
            What the work returns.

        Raises:
            TurnTaken: If somebody else prunes.
        """

        def attempt() -> T:
            with transaction.atomic(using=self._using):
                self._lock()
                return work()

        started = time.monotonic()
        try:
            return self._dialect.retrying(attempt)
        finally:
            self.count += 1
            self.longest = max(self.longest, time.monotonic() - started)

    def _lock(self) -> None:
        if self._connection.vendor != "postgresql":
            return
        if not self._ask("SELECT pg_try_advisory_xact_lock(hashtext(%s))", "automate.retention"):
            raise TurnTaken

    def _ask(self, statement: str, *params: Any) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchone()[0]
