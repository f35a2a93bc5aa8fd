"""What differs between databases: the clock, the claim, and which statements return rows."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

from automate_core.errors import ConfigurationError
from automate_core.payload import MAX_DEPTH
from django.db import OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from automate_outbox.store.rows import ITEM_COLUMNS, TABLE

__all__ = ["LIVE", "Change", "Claim", "Dialect", "Filter", "dialect_of", "marks", "sql"]

LIVE = "status IN ('PENDING', 'RETRY')"
"""The condition of the partial index, letter by letter: SQLite uses the index only then."""

_TRIES = 6

T = TypeVar("T")


def sql(template: str, **parts: str) -> str:
    """Fill a statement with the names and conditions of this package; values are always parameters.

    Args:
        template: The statement, with ``{table}``, ``{columns}`` and the names of the parts.
        **parts: Further pieces of SQL.
    """
    return template.format_map({"table": TABLE, "columns": ITEM_COLUMNS, "live": LIVE, **parts})


def marks(count: int) -> str:
    """Return that many placeholders.

    Args:
        count: How many.
    """
    return ", ".join(["%s"] * count)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items a worker may claim.

    Args:
        kinds: Only these kinds; None means all.
        queues: Only these queues; None means all.
    """

    kinds: Sequence[str] | None = None
    queues: Sequence[str] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing can match."""
        return (self.kinds is not None and not self.kinds) or (self.queues is not None and not self.queues)

    def conditions(self) -> tuple[str, list[Any]]:
        """Return ``AND …`` conditions and their parameters."""
        text, values = "", []
        for column, wanted in (("kind", self.kinds), ("queue", self.queues)):
            if wanted is not None:
                text += f" AND {column} IN ({marks(len(wanted))})"
                values += list(wanted)
        return text, values


@dataclass(frozen=True, slots=True)
class Claim:
    """One request to claim items.

    Args:
        worker_id: Who claims.
        token: The fencing token of this claim.
        lease_seconds: How long the lease holds.
        limit: How many items at the most.
        wanted: Which items.
    """

    worker_id: str
    token: str
    lease_seconds: float
    limit: int
    wanted: Filter


@dataclass(frozen=True, slots=True)
class Change:
    """What an UPDATE sets.

    Args:
        text: The assignments.
        params: Their values.
    """

    text: str
    params: Sequence[Any] = ()


class Dialect(ABC):
    """SQL of one kind of database, over one of Django's connections.

    Args:
        using: Alias of the database.
    """

    now: ClassVar[str]
    """The database's clock, constant within a statement."""
    updates_return_rows: ClassVar[bool] = True
    """Whether ``UPDATE … RETURNING`` exists."""
    lock_free: ClassVar[str] = ""
    """End of a SELECT that locks its rows and leaves out those that others have locked."""

    def __init__(self, using: str) -> None:
        self.using = using

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """Django's connection of this thread."""
        return connections[self.using]

    @property
    def max_depth(self) -> int:
        """Levels of nesting that a JSON column takes."""
        return MAX_DEPTH

    # -- the clock --------------------------------------------------------------------------------------------------

    @property
    def reached(self) -> str:
        """Condition that an item is due."""
        return f"next_attempt_at <= {self.now}"

    @abstractmethod
    def after(self, seconds: float) -> tuple[str, Any]:
        """Return an expression for the database's now plus some seconds, and its parameter.

        Args:
            seconds: How many.
        """

    @property
    @abstractmethod
    def seconds_until(self) -> str:
        """Aggregate: seconds from now until the earliest ``next_attempt_at``."""

    def moment(self, value: datetime | timedelta | None) -> tuple[str, Any]:
        """Return an expression for a moment, and its parameter.

        Args:
            value: An aware datetime, a timedelta from the database's now, or None for now.
        """
        if isinstance(value, datetime):
            return "%s", self.connection.ops.adapt_datetimefield_value(value.astimezone(UTC))
        return self.after(value.total_seconds() if value else 0.0)

    @abstractmethod
    def read_time(self, value: Any) -> datetime:
        """Return a time that a statement returned as an aware datetime.

        Args:
            value: What the driver gave.
        """

    # -- statements -------------------------------------------------------------------------------------------------

    def execute(self, statement: str, params: Sequence[Any]) -> int:
        """Run a statement.

        Args:
            statement: SQL with ``%s`` placeholders.
            params: Their values.

        Returns:
            How many rows it matched.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(statement, params)
            return int(cursor.rowcount)

    def query(self, statement: str, params: Sequence[Any]) -> list[Any]:
        """Run a statement that returns rows.

        Args:
            statement: SQL with ``%s`` placeholders.
            params: Their values.

        Returns:
            The rows.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(statement, params)
            rows: list[Any] = cursor.fetchall()
            return rows

    def insert(self, statement: str, params: Sequence[Any], count: int) -> list[int]:
        """Run an INSERT of one or more rows.

        Args:
            statement: The INSERT.
            params: Its values.
            count: How many rows it inserts.

        Returns:
            The ids of the rows, in the order of the rows.
        """
        # Rows are numbered in the order of VALUES; the order of RETURNING is not promised.
        return sorted(row[0] for row in self.query(f"{statement} RETURNING id", params))

    @abstractmethod
    def claim(self, claim: Claim) -> list[Any]:
        """Claim due items so that two claimers never meet.

        Args:
            claim: The request.

        Returns:
            Rows of :data:`automate_outbox.store.rows.ITEM_COLUMNS`, in no particular order.
        """

    def update_free(self, change: Change, condition: str, params: Sequence[Any]) -> set[int]:
        """Update the rows that fit a condition and that nobody else is writing, in one statement.

        Args:
            change: What to set.
            condition: Which rows.
            params: The values of the condition.

        Returns:
            The ids of the changed rows.
        """
        statement = sql(
            "UPDATE {table} SET {change} WHERE id IN (SELECT id FROM {table} WHERE {condition}{lock}) RETURNING id",
            change=change.text,
            condition=condition,
            lock=self.lock_free,
        )
        return {row[0] for row in self.query(statement, [*change.params, *params])}

    # -- contention -------------------------------------------------------------------------------------------------

    @abstractmethod
    def is_contention(self, error: OperationalError) -> bool:
        """Whether the database gave up on a statement because of another writer, having changed nothing.

        Args:
            error: The error.
        """

    def retrying(self, work: Callable[[], T]) -> T:
        """Run some work again where another writer was in the way.

        Inside the caller's transaction the error propagates: the database may have rolled all of it back.

        Args:
            work: Statements that are one unit: a single statement, or a block with its own transaction.
        """
        for attempt in range(1, _TRIES):
            try:
                return work()
            except OperationalError as error:
                if self.connection.in_atomic_block or not self.is_contention(error):
                    raise
            time.sleep(random.uniform(0.5, 1.5) * 0.005 * 2**attempt)  # noqa: S311 - spreads retries, guards nothing
        return work()

    def when_committed(self, callback: Callable[[], None]) -> None:
        """Call back once what was written is durable: at once outside a transaction.

        Args:
            callback: What to call.
        """
        if self.connection.in_atomic_block:
            transaction.on_commit(callback, using=self.using)
        else:
            callback()


def dialect_of(using: str) -> Dialect:
    """Return the dialect of a database.

    Args:
        using: Its alias.

    Raises:
        ConfigurationError: If the outbox does not support it.
    """
    from automate_outbox.store.mysql import MySQLDialect
    from automate_outbox.store.postgres import PostgresDialect
    from automate_outbox.store.sqlite import SQLiteDialect

    vendor = connections[using].vendor
    dialects: dict[str, type[Dialect]] = {
        "postgresql": PostgresDialect,
        "mysql": MySQLDialect,
        "sqlite": SQLiteDialect,
    }
    if vendor not in dialects:
        raise ConfigurationError(
            f"The outbox does not support {vendor} (database {using!r}): use PostgreSQL, MySQL, MariaDB or SQLite."
        )
    return dialects[vendor](using)
