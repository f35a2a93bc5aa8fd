"""What differs between databases: the clock, the claim, and which statements return rows."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from automate_core.errors import ConfigurationError
from automate_core.payload import MAX_DEPTH
from django.db import DatabaseError, IntegrityError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from automate_outbox.store.rows import ITEM_COLUMNS, NEW_COLUMNS, NewRow
from automate_outbox.store.statements import Along, Change, Pairs, marks, sql
from automate_outbox.wake.local import is_heard, ring

if TYPE_CHECKING:
    from automate_outbox.store.lane_dialect import LaneDialect

__all__ = ["Dialect", "dialect_of", "marks", "sql"]

_TRIES = 6

T = TypeVar("T")


class Dialect(ABC):
    """SQL of one kind of database, over one of Django's connections.

    Args:
        using: Alias of the database.
    """

    now: ClassVar[str]
    """The database's clock, constant within a statement."""
    lock: ClassVar[str] = ""
    """End of a SELECT that locks its rows."""
    lock_free: ClassVar[str] = ""
    """The same, leaving out the rows that others have locked."""
    place: ClassVar[str]
    """``next_attempt_at`` as a value that is quickly read, and that sorts."""
    expires: ClassVar[str]
    """``lease_expires_at`` as a value that is quickly read."""

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

    @property
    def columns(self) -> str:
        """The columns that make an item, in the order of :mod:`automate_outbox.store.rows`."""
        return f"{ITEM_COLUMNS}, {self.place}, {self.expires}"

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
        """Return a time that :attr:`expires` gave as an aware datetime.

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

    def ring(self) -> None:
        """Wake the workers of this process once what was written is committed."""
        if is_heard(self.using):
            self.when_committed(partial(ring, self.using))

    def announce(self) -> None:
        """Wake all workers that the database can reach, once what was written is committed."""
        self.ring()

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

    # -- new rows ---------------------------------------------------------------------------------------------------

    def insert(self, rows: Sequence[NewRow], *, notify: bool) -> list[int]:
        """Insert rows in one statement.

        Args:
            rows: The rows, at least one.
            notify: Whether sleeping workers are told, where the database can.

        Returns:
            The ids of the rows, in the order of the rows.
        """
        # Rows are numbered in the order of VALUES; the order of RETURNING is not promised.
        statement, params = self.insertion(rows)
        return sorted(row[0] for row in self.query(f"{statement} RETURNING id", params))

    def insert_along(self, along: Along, rows: Sequence[NewRow], *, notify: bool) -> list[int]:
        """Insert rows together with those of another INSERT: in the transaction that there is, or in one for both.

        Args:
            along: The other INSERT.
            rows: The rows, at least one.
            notify: As in :meth:`insert`.

        Returns:
            The ids of the rows, in the order of the rows.
        """
        with nullcontext() if self.connection.in_atomic_block else transaction.atomic(using=self.using):
            self.execute(along.statement, along.params)
            return self.insert(rows, notify=notify)

    def insert_claimed(self, rows: Sequence[NewRow]) -> list[Any]:
        """Insert rows that are born claimed, in one statement where the database can.

        Args:
            rows: The rows, at least one.

        Returns:
            The rows of :attr:`columns`, in the order of the rows.
        """
        statement, params = self.insertion(rows)
        return sorted(self.query(f"{statement} RETURNING {self.columns}", params), key=lambda row: int(row[0]))

    def insertion(self, rows: Sequence[NewRow]) -> tuple[str, list[Any]]:
        """Return an INSERT of rows, and its parameters.

        Args:
            rows: The rows, at least one.
        """
        texts, params = [], []
        for row in rows:
            due, due_value = self.moment(row.due)
            expires, expires_value = self.after(row.lease_seconds) if row.owner else ("NULL", None)
            texts.append(f"(%s, %s, %s, %s, %s, %s, %s, {due}, %s, %s, %s, %s, {expires}, 0, '', '', {self.now})")
            params += [row.kind, row.payload, row.priority, row.queue, row.ordering_key, row.tenant, row.max_attempts]
            params += [due_value, row.status, row.attempts, row.owner, row.token]
            params += [expires_value] if row.owner else []
        return sql("INSERT INTO {table} ({into}) VALUES {values}", into=NEW_COLUMNS, values=", ".join(texts)), params

    # -- claimed rows -----------------------------------------------------------------------------------------------

    @abstractmethod
    def pairs(self, held: Mapping[int, str]) -> Pairs:
        """Return the condition that a row is one of some claims, each with its own token.

        Args:
            held: Fencing tokens by id.
        """

    def matching(
        self, held: Mapping[int, str], condition: str, params: Sequence[Any], *, lock: bool = False
    ) -> set[int]:
        """Return which of some claims have a row that fits a condition.

        Args:
            held: Fencing tokens by id.
            condition: The condition.
            params: Its values.
            lock: Whether to lock these rows until the transaction ends.
        """
        pairs = self.pairs(held)
        statement = sql(
            "SELECT id FROM {table}{source} WHERE {pairs} AND {condition} ORDER BY id{lock}",
            source=f", {pairs.source}" if pairs.source else "",
            pairs=pairs.condition,
            condition=condition,
            lock=self.lock if lock else "",
        )
        return {row[0] for row in self.query(statement, [*pairs.params, *pairs.values, *params])}

    def change_claimed(self, held: Mapping[int, str], worker_id: str, change: Change, answer: str = "id") -> list[Any]:
        """Update the rows of live claims, each under its own token: the only way by which a claimed row is written.

        Args:
            held: Fencing tokens by id.
            worker_id: Who holds them.
            change: What to set.
            answer: Columns to return; the first is the id.

        Returns:
            A row for each claim that was live.
        """
        pairs = self.pairs(held)
        statement = sql(
            "UPDATE {table} SET {change}{source} WHERE {pairs} AND {claimed} AND lease_owner = %s RETURNING {answer}",
            change=change.text,
            source=f" FROM {pairs.source}" if pairs.source else "",
            pairs=pairs.condition,
            answer=answer,
        )
        return self.query(statement, [*change.params, *pairs.params, *pairs.values, worker_id])

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
    def is_contention(self, error: DatabaseError) -> bool:
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
            except (OperationalError, IntegrityError) as error:
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


def dialect_of(using: str) -> LaneDialect:
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
    dialects: dict[str, type[LaneDialect]] = {
        "postgresql": PostgresDialect,
        "mysql": MySQLDialect,
        "sqlite": SQLiteDialect,
    }
    if vendor not in dialects:
        raise ConfigurationError(
            f"The outbox does not support {vendor} (database {using!r}): use PostgreSQL, MySQL, MariaDB or SQLite."
        )
    return dialects[vendor](using)
