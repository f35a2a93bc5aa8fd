"""A PostgreSQL server of the benchmark's own, its databases, and what it counts about them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from measuring import say

_CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "START", "SAVEPOINT", "RELEASE")


@dataclass(frozen=True)
class Counted:
    """What a database did.

    Args:
        statements: Statements that clients sent, without those that only begin and end transactions.
        commits: Transactions that ended in a commit, those that only read included.
        wal: Bytes of write-ahead log, of the whole server.
    """

    statements: int
    commits: int
    wal: int

    def per(self, items: int) -> dict[str, float]:
        """Return the same for one of some items.

        Args:
            items: How many there were.
        """
        items = max(items, 1)
        return {
            "statements_per_item": self.statements / items,
            "commits_per_item": self.commits / items,
            "wal_per_item": self.wal / items,
        }


class Server:
    """A PostgreSQL server that preloads pg_stat_statements.

    Args:
        url: ``postgresql://user@host:port/…`` of a superuser.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        with self.connect() as connection:
            self.version = str(connection.info.parameter_status("server_version")).split()[0]
            self.counts = "pg_stat_statements" in str(self._ask(connection, "SHOW shared_preload_libraries"))
            self.durable = {name: self._ask(connection, f"SHOW {name}") for name in ("fsync", "synchronous_commit")}
        if not self.counts:
            say("SKIPPED: statements are not counted: the server does not preload pg_stat_statements")

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database.

        Args:
            database: Its name.
        """
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{database}"))

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """Return a new connection in autocommit mode.

        Args:
            database: The name of the database.
        """
        return psycopg.connect(self.url(database), autocommit=True)

    @staticmethod
    def _ask(connection: psycopg.Connection[tuple[object, ...]], query: str) -> object:
        row = connection.execute(query).fetchone()
        return row[0] if row else None

    def create(self, name: str, template: str = "template1") -> None:
        """Make a database anew.

        Args:
            name: Its name.
            template: What it is a copy of.
        """
        self.drop(name)
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        if self.counts and template == "template1":
            with self.connect(name) as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")

    def drop(self, name: str) -> None:
        """Remove a database; none is no error.

        Args:
            name: Its name.
        """
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @contextmanager
    def hurried(self, name: str) -> Iterator[None]:
        """Let new sessions of a database commit without waiting for the disk: for filling it, never for measuring.

        Args:
            name: Its name.
        """
        with self.connect() as connection:
            connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
            try:
                yield
            finally:
                connection.execute(f'ALTER DATABASE "{name}" RESET synchronous_commit')

    def settle(self, name: str) -> None:
        """Bring statistics up to date and write out what is dirty, so that neither falls into a measurement.

        Empty tables are left alone, as autovacuum leaves them: a session that learns of a table that it is empty scans
        it whole for every foreign key for as long as it keeps that plan.

        Args:
            name: The database.
        """
        with self.connect(name) as connection:
            tables = connection.execute(
                "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                " AND pg_relation_size(oid) > 0"
            ).fetchall()
            for (table,) in tables:
                connection.execute(f"VACUUM ANALYZE {table}")
            connection.execute("CHECKPOINT")

    def reset(self, name: str) -> Counted:
        """Begin to count the statements of a database anew, and return what else is counted.

        Args:
            name: The database.
        """
        if self.counts:
            with self.connect(name) as connection:
                connection.execute("SELECT pg_stat_statements_reset()")
        return Counted(0, *self._transactions(name))

    def statements(self, name: str) -> int:
        """Return how many statements clients sent since the reset.

        Args:
            name: The database.
        """
        if not self.counts:
            return 0
        query = (
            "SELECT query, calls FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
            "WHERE datname = current_database() AND query NOT ILIKE '%pg_stat_statements%' "
            "AND query NOT LIKE '%FROM ONLY%FOR KEY SHARE OF x'"  # sent by no client: foreign keys at the commit
        )
        with self.connect(name) as connection:
            rows = connection.execute(query).fetchall()
        sent = [(str(text).split()[0].upper().rstrip(";"), int(str(calls))) for text, calls in rows]
        return sum(calls for word, calls in sent if word not in _CONTROL)

    def since(self, name: str, before: Counted, statements: int) -> Counted:
        """Return what was counted since the reset. Sessions report their commits when they end at the latest.

        Args:
            name: The database.
            before: What the reset returned.
            statements: What :meth:`statements` returned.
        """
        commits, wal = self._transactions(name)
        return Counted(statements, commits - before.commits, wal - before.wal)

    def _transactions(self, name: str) -> tuple[int, int]:
        query = "SELECT xact_commit, pg_current_wal_lsn() - '0/0' FROM pg_stat_database WHERE datname = %s"
        with self.connect() as connection:
            row = connection.execute(query, [name]).fetchone() or (0, 0)
        return int(str(row[0])), int(str(row[1]))


@contextmanager
def private_server() -> Iterator[Server | None]:
    """Run a new server with the defaults of PostgreSQL for the block; None where its programs are missing."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    initdb = shutil.which("initdb") or next((str(path / "initdb") for path in reversed(folders)), "")
    if not initdb:
        say("SKIPPED: PostgreSQL's initdb is not there; install the server, or name one with --dsn")
        yield None
        return
    signal.signal(signal.SIGTERM, _leave)
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    control = str(Path(initdb).with_name("pg_ctl"))
    # Not /tmp, which is in memory on many machines: what is durable has to reach a disk.
    with tempfile.TemporaryDirectory(prefix="automate-bench-", dir="/var/tmp") as folder, socket.socket() as free:
        if as_user:
            shutil.chown(folder, "postgres")
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        data = f"{folder}/data"
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} "
            "-c shared_preload_libraries=pg_stat_statements -c max_connections=200"
        )
        _quietly(*as_user, initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8")
        try:
            _quietly(*as_user, control, "-D", data, "-l", f"{folder}/log", "-o", options, "-w", "start")
            yield Server(f"postgresql://postgres@127.0.0.1:{port}/postgres")
        finally:
            if Path(data, "postmaster.pid").exists():
                _quietly(*as_user, control, "-D", data, "-m", "immediate", "-w", "stop")


def _leave(number: int, frame: object) -> None:
    """End in an orderly way, so that the server does not stay behind; once, as the signal may come twice."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _quietly(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
