"""Database connections of threads that live long, and of code that may leave them in any state."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from automate_core.errors import PermanentError
from automate_core.retry import RetryPolicy
from django.db import InterfaceError, InternalError, OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["AWAY", "RECONNECT", "close_connections", "contained", "pipelined", "tidy_connections"]

AWAY = (OperationalError, InterfaceError, InternalError)
"""What is raised where the database cannot do its work now, whatever it is asked for.

An InternalError is the state of the session, such as that of a PostgreSQL that became a standby and reads only.
"""

RECONNECT = RetryPolicy(initial=0.2, max=3.0)
"""The waits before the database is asked again."""

logger = logging.getLogger("automate.runtime")


@contextmanager
def pipelined() -> Iterator[None]:
    """Send statements without waiting for the answers to those before them, where the driver can (PostgreSQL).

    While the server works on one statement, the next is being written. Reading a result waits for it, and for all
    before it. What goes wrong with a statement is raised by a later one, or at the end of the block at the latest. How
    many rows a statement changed is not known within the block, so nobody else's code belongs there: Django's own
    ``save()`` asks for it.

    Raises:
        DatabaseError: What the server said about a statement of the block.
    """
    connection.ensure_connection()
    if connection.vendor != "postgresql" or not _has_pipeline(connection.connection):
        yield
        return
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


def _has_pipeline(session: object) -> bool:
    """Whether a connection of the driver has the pipeline mode: psycopg 3 over libpq 14 or newer."""
    if not hasattr(session, "pipeline"):
        return False
    from psycopg import Pipeline

    return Pipeline.is_supported()


def close_connections() -> None:
    """Let go of the database altogether: close the calling thread's connections, and the pools of this process.

    Nothing is raised: what cannot be closed in good order is forgotten.
    """
    for used in connections.all(initialized_only=True):
        try:
            used.close()
            getattr(used, "close_pool", _nothing)()
        except Exception as error:
            logger.warning("The connection %r could not be closed in good order.", used.alias, exc_info=error)
            used.connection = None


def _nothing() -> None:
    pass


def tidy_connections() -> None:
    """Drop the calling thread's connections that are broken or that somebody's code left inside a transaction.

    Sound ones are kept for the next item, whatever ``CONN_MAX_AGE`` says: there is no request that would end here.
    Nothing is raised, as it is called where something has failed already: what cannot be tidied is forgotten.
    """
    for used in connections.all(initialized_only=True):
        try:
            _tidy(used)
        except Exception as error:
            logger.warning("The connection %r could not be closed in good order.", used.alias, exc_info=error)
            used.connection = None


def _tidy(used: BaseDatabaseWrapper) -> None:
    if _in_transaction(used):
        _drop(used)
    elif used.errors_occurred:
        # Django's question to MySQL fails where there is no connection, as after one that could not be made.
        if used.connection is not None and not used.is_usable():
            used.close()
        used.errors_occurred = False


@contextmanager
def contained() -> Iterator[None]:
    """Run somebody's code so that the calling thread's transactions stay as they are.

    Within a transaction of the caller it runs in a savepoint: its failure leaves that transaction usable.

    Raises:
        PermanentError: If the code left a transaction open. What it wrote there is rolled back, and what is written
            next would go with it.
    """
    before = _open_transactions()
    if before and connection.in_atomic_block:
        with transaction.atomic():
            yield
        return
    try:
        yield
    finally:
        left_open = [used for used in _open_transactions() if used not in before]
        for used in left_open:
            _drop(used)
    if left_open:
        names = ", ".join(sorted(used.alias for used in left_open))
        raise PermanentError(
            f"The action left a transaction open on {names}, so what it wrote there was rolled back. Commit it, or use "
            "transaction.atomic() as a context manager.",
            context={"databases": names},
        )


def _open_transactions() -> list[BaseDatabaseWrapper]:
    return [used for used in connections.all(initialized_only=True) if _in_transaction(used)]


def _in_transaction(used: BaseDatabaseWrapper) -> bool:
    return bool(used.in_atomic_block or (used.connection is not None and not used.autocommit))


def _drop(used: BaseDatabaseWrapper) -> None:
    used.in_atomic_block = False  # or Django would remember the transaction beyond its connection
    used.close()
    used.connection = None  # close() leaves it where somebody closed it within the transaction
