"""Where the embedded store keeps its rows: thin adapters that run SQL, and nothing else.

:class:`SqliteFile` is used without Django; :class:`DjangoDatabase` runs on a Django connection, in the caller's
transaction. Both speak the SQL of :mod:`automate_rag.statements`.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from automate_core.errors import ConfigurationError, RagError

from automate_rag.statements import DIALECTS, SQLITE_SCHEMA, Dialect, placeholders

__all__ = ["Database", "DjangoDatabase", "SqliteFile", "choose_database", "django_is_ready"]

_SCHEMA_VERSION = 1
_BATCH = 500


class Database(ABC):
    """Runs SQL."""

    @property
    @abstractmethod
    def dialect(self) -> Dialect:
        """What differs in its SQL."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What tells it from other databases of the process."""

    @abstractmethod
    def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows.

        Args:
            sql: The SQL, with ``%s`` for each parameter.
            parameters: The parameters.
        """

    @abstractmethod
    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it touched.

        Args:
            sql: The SQL, with ``%s`` for each parameter.
            parameters: The parameters.
        """

    @abstractmethod
    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each row of parameters.

        Args:
            sql: The SQL, with ``%s`` for each parameter.
            rows: The parameters of each.
        """

    @abstractmethod
    def transaction(self) -> Any:
        """Return a context manager: what is written within is written as a whole or not at all."""

    def close(self) -> None:
        """Close what this object opened itself."""
        return

    def fetch_in(
        self, sql: str, values: Sequence[Any], parameters: Sequence[Any] = (), *, lock: bool = False
    ) -> list[tuple[Any, ...]]:
        """Run a query for many values, a few hundred at a time.

        Args:
            sql: The SQL, with ``({})`` for the values, which come last.
            values: The values.
            parameters: The parameters before them.
            lock: Whether to lock the rows and read their newest state.
        """
        suffix = self.dialect.lock if lock else ""
        rows = []
        for at in range(0, len(values), _BATCH):
            part = values[at : at + _BATCH]
            rows += self.fetch(sql.format(placeholders(len(part))) + suffix, [*parameters, *part])
        return rows

    def execute_in(self, sql: str, values: Sequence[Any]) -> int:
        """Run a statement for many values, a few hundred at a time, and return how many rows it touched.

        Args:
            sql: The SQL, with ``({})`` for the values.
            values: The values.
        """
        parts = [values[at : at + _BATCH] for at in range(0, len(values), _BATCH)]
        return sum(self.execute(sql.format(placeholders(len(part))), part) for part in parts)


class SqliteFile(Database):
    """A SQLite file of the store's own, or memory; one connection, which threads take in turn.

    Args:
        path: The file, made where it is missing; ``":memory:"`` or nothing keeps everything in this process.

    Raises:
        ConfigurationError: If the file cannot be opened, was made by a newer version, or SQLite lacks FTS5.
    """

    def __init__(self, path: str = "") -> None:
        self.path = path or ":memory:"
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            folder = Path(self.path).absolute().parent
            raise ConfigurationError(
                f"The document store RAG.path = {self.path!r} cannot be opened: {error}. Its folder {folder} must "
                "exist, and be writable."
            ) from error
        self._close = weakref.finalize(self, self._connection.close)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("BEGIN IMMEDIATE")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in SQLITE_SCHEMA:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            remedy = " Use a Python whose SQLite has FTS5." if "fts5" in str(error) else ""
            raise ConfigurationError(f"The document store {self.path!r} cannot be made: {error}.{remedy}") from error
        if version > _SCHEMA_VERSION:
            raise ConfigurationError(
                f"The document store {self.path!r} was made by a newer automate-rag (schema {version}, this one knows "
                f"{_SCHEMA_VERSION}). Upgrade automate-rag, or choose another RAG.path."
            )

    @property
    def dialect(self) -> Dialect:
        """SQLite's."""
        return DIALECTS["sqlite"]

    @property
    def name(self) -> str:
        """The path."""
        return self.path

    @contextmanager
    def _cursor(self) -> Iterator[sqlite3.Cursor]:
        with self._lock:
            try:
                cursor = self._connection.cursor()
                try:
                    yield cursor
                finally:
                    cursor.close()
            except sqlite3.Error as error:
                raise _refused(error, retryable=isinstance(error, sqlite3.OperationalError)) from error

    def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows.

        Args:
            sql: The SQL, with ``%s`` for each parameter.
            parameters: The parameters.

        Raises:
            RagError: If the database refuses.
        """
        with self._cursor() as cursor:
            return cursor.execute(sql.replace("%s", "?"), parameters).fetchall()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it touched.

        Args:
            sql: The SQL, with ``%s`` for each parameter.
            parameters: The parameters.

        Raises:
            RagError: If the database refuses.
        """
        with self._cursor() as cursor:
            return cursor.execute(sql.replace("%s", "?"), parameters).rowcount

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each row of parameters.

        Args:
            sql: The SQL, with ``%s`` for each parameter.
            rows: The parameters of each.

        Raises:
            RagError: If the database refuses.
        """
        with self._cursor() as cursor:
            cursor.executemany(sql.replace("%s", "?"), rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write as a whole or not at all; other threads and processes wait meanwhile."""
        with self._lock:
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._close()


class DjangoDatabase(Database):
    """The tables of the app ``automate_rag`` in a Django database.

    Args:
        alias: The database; None asks the project's routers where documents are written.
    """

    def __init__(self, alias: str | None = None) -> None:
        self.alias = alias

    @property
    def _connection(self) -> Any:
        from django.db import connections, router

        from automate_rag.models import Document

        return connections[self.alias or router.db_for_write(Document)]

    @property
    def dialect(self) -> Dialect:
        """That of the database's vendor.

        Raises:
            ConfigurationError: If the store does not work on it.
        """
        vendor = self._connection.vendor
        if vendor not in DIALECTS:
            raise ConfigurationError(
                f"The embedded document store does not work on {vendor}: route the app automate_rag to SQLite, "
                "PostgreSQL, MySQL or MariaDB."
            )
        return DIALECTS[vendor]

    @property
    def name(self) -> str:
        """The alias."""
        return f"django:{self._connection.alias}"

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        from django.db import Error, OperationalError

        try:
            with self._connection.cursor() as cursor:
                yield cursor
        except Error as error:
            remedy = " If its tables are missing: manage.py migrate automate_rag."
            raise _refused(error, remedy, retryable=isinstance(error, OperationalError)) from error

    def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows.

        Args:
            sql: The SQL, with ``%s`` for each parameter.
            parameters: The parameters.

        Raises:
            RagError: If the database refuses.
        """
        with self._cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it touched.

        Args:
            sql: The SQL, with ``%s`` for each parameter.
            parameters: The parameters.

        Raises:
            RagError: If the database refuses.
        """
        with self._cursor() as cursor:
            cursor.execute(sql, parameters)
            return int(cursor.rowcount)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each row of parameters.

        Args:
            sql: The SQL, with ``%s`` for each parameter.
            rows: The parameters of each.

        Raises:
            RagError: If the database refuses.
        """
        if values := list(rows):
            with self._cursor() as cursor:
                cursor.executemany(sql, values)

    def transaction(self) -> Any:
        """Write as a whole or not at all: a transaction, or a savepoint within the caller's."""
        from django.db import transaction

        return transaction.atomic(using=self._connection.alias)


def _refused(error: Exception, remedy: str = "", *, retryable: bool) -> RagError:
    # The database's own words may quote a document; they stay on the cause.
    retryable = retryable and "no such table" not in str(error)
    return RagError(f"The document store's database refused ({type(error).__name__}).{remedy}", retryable=retryable)


def django_is_ready() -> bool:
    """Whether this process runs a Django project. Does not import Django."""
    module = sys.modules.get("django.apps")
    return module is not None and bool(module.apps.ready)


def choose_database(path: str = "") -> Database:
    """Return the database of the embedded store.

    Args:
        path: The file where Django's tables are not there.

    Returns:
        The Django tables where the app ``automate_rag`` is installed; else a SQLite file, or memory.

    Raises:
        ConfigurationError: If a Django project has neither the app nor a path: its documents would be lost in memory.
    """
    if not django_is_ready():
        return SqliteFile(path)
    from django.apps import apps

    if apps.is_installed("automate_rag"):
        return DjangoDatabase()
    if not path:
        raise ConfigurationError(
            "The document store has nowhere to keep its documents: add 'automate_rag' to INSTALLED_APPS and migrate, "
            "or set RAG.path to a file (or to ':memory:')."
        )
    return SqliteFile(path)
