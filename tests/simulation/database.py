"""The database of a simulation: in memory, with the virtual clock, behind the seam at which faults happen."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

from django.core.management import call_command
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper as PlainWrapper

from simulation.backend.base import DatabaseWrapper
from simulation.ledger import TRIGGERS, Ledger

__all__ = ["Faults", "SimulatedDatabase"]

STATEMENT_SECONDS = 0.0002


class Faults(Protocol):
    """Says what goes wrong, by raising."""

    def before(self, *, alone: bool) -> None:
        """A statement comes next; alone, it commits by itself."""

    def committing(self) -> None:
        """A commit comes next."""

    def committed(self, *, claimed: set[int]) -> None:
        """A commit was made; these items were claimed with it."""

    def is_connected(self) -> bool: ...

    def reconnect(self) -> None: ...


@cache
def template() -> sqlite3.Connection:
    """Return a migrated database; made once for each process."""
    wrapper: Any = connections["default"]
    call_command("migrate", verbosity=0, interactive=False)
    raw: sqlite3.Connection = wrapper.connection
    raw.execute("CREATE TABLE sim_effect (run TEXT, step TEXT)")
    wrapper.connection = None
    return raw


class SimulatedDatabase:
    """One empty, migrated database.

    Args:
        now: Returns the time as text.
        advance: Lets time pass, in seconds.
        ledger: Is told what was committed.
        faults: Say what goes wrong.
    """

    def __init__(
        self, now: Callable[[], str], advance: Callable[[float], None], ledger: Ledger, faults: Faults
    ) -> None:
        original, wrapper = template(), connections["default"]
        self._wrapper: Any = wrapper
        self.raw: Any = PlainWrapper.get_new_connection(wrapper, wrapper.get_connection_params())
        original.backup(self.raw)
        self._advance, self._ledger, self._faults = advance, ledger, faults
        self._quiet = False
        self.statements = 0
        self.raw.create_function("sim_now", 0, now)
        for name, count in (("sim_job", 14), ("sim_run", 5), ("sim_step", 5)):
            self.raw.create_function(name, count, getattr(ledger, name.replace("sim", "note")))
        self.raw.executescript(TRIGGERS)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make it Django's default database."""
        wrapper = self._wrapper
        wrapper.connection, DatabaseWrapper.seam = None, self
        try:
            with wrapper.execute_wrapper(self._statement):
                yield
        finally:
            DatabaseWrapper.seam = wrapper.connection = None
            wrapper.in_atomic_block = wrapper.needs_rollback = wrapper.errors_occurred = False
            wrapper.savepoint_ids, wrapper.run_on_commit, wrapper.atomic_blocks = [], [], []
            self.raw.close()

    @property
    def in_transaction(self) -> bool:
        return bool(self._wrapper.in_atomic_block)

    def query(self, sql: str, *params: Any) -> list[Any]:
        """Look at the rows from outside of the simulation."""
        return list(self.raw.execute(sql, params))

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """Run statements to which nothing happens."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def lose(self) -> None:
        """Take back what was not committed, as a server does when a connection ends."""
        self.raw.rollback()
        self._ledger.discard()
        self._wrapper.errors_occurred = True

    # -- statements -------------------------------------------------------------------------------------------------

    def _statement(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        sql = sql.replace("'now'", "sim_now()")
        alone = not self.in_transaction and sql != "BEGIN"
        self.statements += 1
        if not self._quiet:
            self._faults.before(alone=alone)
        self._advance(STATEMENT_SECONDS)
        self._ledger.savepoint(sql)
        try:
            result = execute(sql, params, many, context)
        except Exception:
            if alone:
                self._ledger.discard()
            raise
        if alone and self._ledger.has_news:
            try:
                self._done()
            except BaseException:
                context["cursor"].cursor.fetchall()  # SQLite commits when a statement has given its last row
                raise
        return result

    def _done(self) -> None:
        claimed = self._ledger.commit()
        if not self._quiet:
            self._faults.committed(claimed=claimed)

    def committing(self) -> None:
        if not self._quiet:
            self._faults.committing()

    def committed(self) -> None:
        self._done()

    def rolled_back(self) -> None:
        self._ledger.discard()

    def is_connected(self) -> bool:
        return self._faults.is_connected()

    def reconnect(self) -> None:
        self._faults.reconnect()
