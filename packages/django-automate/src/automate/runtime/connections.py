"""Database connections of threads that live long."""

from __future__ import annotations

from django.db import connections

__all__ = ["tidy_connections"]


def tidy_connections() -> None:
    """Drop the calling thread's connections that are broken or that somebody's code left inside a transaction.

    Sound ones are kept for the next item, whatever ``CONN_MAX_AGE`` says: there is no request that would end here.
    """
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block or not connection.autocommit:
            connection.close()
            del connections[connection.alias]  # what it believes about its transaction is not to be trusted
        elif connection.errors_occurred:
            if not connection.is_usable():
                connection.close()
            connection.errors_occurred = False
