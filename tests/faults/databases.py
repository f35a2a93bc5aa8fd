"""Databases of the sites, over the drivers alone: what is under test takes no part in reading what became of it."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automate_core.testing.databases import find_server

__all__ = ["Database", "MariaDB", "Postgres", "SQLite", "empty_database", "next_name"]

_RUN = f"{os.getpid()}_{os.urandom(3).hex()}"


@dataclass
class Database:
    """One database of its own.

    Args:
        config: Django's entry for it.
    """

    config: dict[str, Any]
    kind = ""

    def connect(self) -> Any:
        """Return a connection in autocommit mode."""
        raise NotImplementedError

    def copy(self, name: str) -> Database:
        """Return a new database with the same contents; nobody may be using this one."""
        raise NotImplementedError

    def drop(self) -> None:
        """Remove it."""
        raise NotImplementedError

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """Open a connection for some statements."""
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            yield cursor

    def query(self, statement: str, *params: Any) -> list[Any]:
        """Run a statement that returns rows."""
        with self.cursor() as cursor:
            cursor.execute(statement, params)
            return list(cursor.fetchall())

    def execute(self, *statements: str) -> None:
        """Run statements."""
        with self.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


class SQLite(Database):
    """A file."""

    kind = "sqlite"

    def connect(self) -> sqlite3.Connection:
        """Open the file, with the function that the triggers call."""
        connection = sqlite3.connect(self.config["NAME"], timeout=30, isolation_level=None)
        connection.create_function("faults_writer", 0, lambda: "harness")
        return connection

    def copy(self, name: str) -> SQLite:
        """Copy the file."""
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        target = str(Path(self.config["NAME"]).with_name(f"{name}.sqlite3"))
        shutil.copy(self.config["NAME"], target)
        return SQLite({**self.config, "NAME": target})

    def drop(self) -> None:
        """Remove the file and its logs."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.config['NAME']}{suffix}").unlink(missing_ok=True)


@dataclass
class Postgres(Database):
    """A database of a PostgreSQL server.

    Args:
        config: Django's entry for it.
        suffix: What ``CREATE DATABASE`` is given beside the template.
    """

    suffix: str = ""
    kind = "postgres"

    def connect(self) -> Any:
        """Connect to it."""
        return self._connect(self.config["NAME"])

    def _connect(self, name: str) -> Any:
        import psycopg

        given = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
        options: dict[str, Any] = {option: self.config[key] or None for option, key in given.items()}
        return psycopg.connect(dbname=name, autocommit=True, connect_timeout=10, application_name="harness", **options)

    def _administer(self, statement: str) -> None:
        with closing(self._connect("postgres")) as connection:
            connection.execute(statement)

    def create(self, name: str, template: str = "template1") -> Postgres:
        """Create another database of this server."""
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {self.suffix}')
        return Postgres({**self.config, "NAME": name}, self.suffix)

    def copy(self, name: str) -> Postgres:
        """Create one from this one as its template."""
        return self.create(name, self.config["NAME"])

    def drop(self) -> None:
        """Drop it, whoever is connected."""
        self._administer(f'DROP DATABASE IF EXISTS "{self.config["NAME"]}" WITH (FORCE)')

    def terminate_others(self) -> int:
        """End every other connection to it, and return how many there were."""
        return len(
            self.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


class MariaDB(Database):
    """A database of a MariaDB or MySQL server."""

    kind = "mariadb"

    def connect(self) -> Any:
        """Connect to it."""
        return self._connect(self.config["NAME"])

    def _connect(self, name: str | None) -> Any:
        import pymysql

        return pymysql.connect(
            host=self.config["HOST"],
            port=int(self.config["PORT"] or 3306),
            user=self.config["USER"],
            password=self.config["PASSWORD"],
            database=name,
            charset="utf8mb4",
            autocommit=True,
        )

    def _administer(self, statement: str) -> None:
        with closing(self._connect(None)) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(statement)

    def create(self, name: str) -> MariaDB:
        """Create another database of this server."""
        self._administer(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return MariaDB({**self.config, "NAME": name})

    def copy(self, name: str) -> MariaDB:
        """Create one with the same tables, rows and triggers."""
        other = self.create(name)
        tables = [row[0] for row in self.query("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")]
        created = [self.query(f"SHOW CREATE TABLE `{table}`")[0][1] for table in tables]
        triggers = [self.query(f"SHOW CREATE TRIGGER `{row[0]}`")[0][2] for row in self.query("SHOW TRIGGERS")]
        copies = [f"INSERT INTO `{table}` SELECT * FROM `{self.config['NAME']}`.`{table}`" for table in tables]
        other.execute("SET FOREIGN_KEY_CHECKS = 0", *created, *copies, *triggers)
        return other

    def drop(self) -> None:
        """Drop it."""
        self._administer(f"DROP DATABASE IF EXISTS `{self.config['NAME']}`")


_numbers = itertools.count(1)


def next_name() -> str:
    """Return a name for a database that nobody else has."""
    return f"faults_{_RUN}_{next(_numbers)}"


def empty_database(kind: str, folder: Path) -> Database:
    """Create an empty database on the server that the tests use, or in a folder.

    Args:
        kind: ``sqlite``, ``postgres`` or ``mariadb``.
        folder: Where a SQLite file goes.
    """
    config = {key: value for key, value in find_server(kind).config.items() if key != "TEST"}
    if kind == "sqlite":
        return SQLite({**config, "NAME": str(folder / f"{next_name()}.sqlite3")})
    server = Postgres(config) if kind == "postgres" else MariaDB(config)
    return server.create(next_name())
