"""Waking on SQLite: the commits of all other connections, of this process and others, are seen in the file."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from contextlib import closing

from automate_core.retry import RetryPolicy

from automate_outbox.wake.base import WatchingWaker

__all__ = ["SQLiteWaker"]

# A look takes 3 µs, but each awakening of a thread some 100: it is spent where more is likely to come.
_BUSY_SECONDS, _IDLE_SECONDS, _BUSY_FOR = 0.005, 0.015, 1.0
_AFTER_FAILURE = RetryPolicy(initial=0.2, max=30.0)


class SQLiteWaker(WatchingWaker):
    """Asks SQLite every 15 ms, and every 5 ms in the second after a commit, whether the data changed.

    That reads a few bytes of shared memory and locks nobody out. ``PRAGMA data_version`` changes with each commit of
    another connection, and with nothing else: not with writes that are rolled back, and not with a claim that finds
    nothing.
    """

    def _prepare(self) -> None:
        self._ending = threading.Event()

    def _interrupt(self) -> None:
        self._ending.set()

    def _watch(self) -> None:
        failures = 0
        while not self._ending.is_set():
            try:
                with closing(self._connect()) as connection:
                    version = _version(connection, None)
                    self._become("local")
                    failures = 0
                    self._on_wake()  # there may have been commits before the first version
                    self._follow(connection, version)
            except sqlite3.Error as error:
                failures += 1
                self._become("poll", "the file cannot be watched", str(error))
                self._ending.wait(_AFTER_FAILURE.delay(failures, random=random.random()))  # noqa: S311 - jitter

    def _follow(self, connection: sqlite3.Connection, version: int | None) -> None:
        """Wake at each new version until interrupted."""
        busy_until = 0.0
        while not self._ending.is_set():
            time.sleep(_BUSY_SECONDS if time.monotonic() < busy_until else _IDLE_SECONDS)
            seen, version = version, _version(connection, version)
            if version != seen:
                busy_until = time.monotonic() + _BUSY_FOR
                self._on_wake()

    def _connect(self) -> sqlite3.Connection:
        from django.db import connections

        database = connections[self.using].get_connection_params()["database"]
        return sqlite3.connect(database, uri=True, timeout=0, isolation_level=None)


def _version(connection: sqlite3.Connection, before: int | None) -> int | None:
    """Return the version of the data, or the one before while a commit locks the file, as without a WAL it does."""
    try:
        version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return before
        raise
    return version
