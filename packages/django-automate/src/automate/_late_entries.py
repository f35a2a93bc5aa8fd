"""Entries of the audit log that cannot be written where they come about, on their way to it.

A secret that the installation needs for itself may be read where nothing can be recorded: there is no database yet, or
one that is away; the code is in a transaction, which would lock the end of the log until it ends and take the entry
along if it is rolled back; or the log itself is being written. And a refusal rolls back the transaction of its request.
Such an entry is kept in this process and written with the next one, after the transaction, or at the end of the request
or of the step.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

from automate_core.errors import AutomateError
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import DatabaseError, connections, router, transaction

from automate.audit import AuditEntry, record_many

__all__ = ["put", "write_waiting"]

logger = logging.getLogger("automate.secrets")

_MOST = 1000
_CANNOT_NOW = (DatabaseError, ImproperlyConfigured, SynchronousOnlyOperation)
_lock = threading.Lock()
_waiting: deque[AuditEntry] = deque()
_this_thread = threading.local()


def put(entry: AuditEntry) -> None:
    """Write an entry, or keep it until that can be done.

    Args:
        entry: The entry.

    Raises:
        AuditError: If the log is there, and does not take it: what was read must not be used then.
    """
    using = _database()
    if getattr(_this_thread, "writes", False):
        _keep([entry])
    elif connections[using].in_atomic_block:
        _keep([entry])
        transaction.on_commit(write_waiting, using=using)
    else:
        older = _take()
        try:
            _write([*older, entry], using)
        except AutomateError:
            _keep(older)
            raise


def write_waiting(**_: Any) -> None:
    """Write what waits, where that can be done now; what fails goes on waiting. A receiver of ``request_finished``.

    Args:
        **_: What a signal sends.
    """
    if not _waiting or getattr(_this_thread, "writes", False) or connections[_database()].in_atomic_block:
        return
    entries = _take()
    try:
        _write(entries, _database())
    except AutomateError as error:
        _keep(entries)
        logger.warning("%d entries of the audit log are not on record yet: %s", len(entries), error)


def _database() -> str:
    from automate.models import AuditLogEntry

    return router.db_for_write(AuditLogEntry)


def _take() -> list[AuditEntry]:
    with _lock:
        entries = list(_waiting)
        _waiting.clear()
    return entries


def _keep(entries: Iterable[AuditEntry]) -> None:
    with _lock:
        for entry in entries:
            if len(_waiting) < _MOST:
                _waiting.append(entry)
            else:
                logger.error("%s of %s is not on record: too many wait already.", entry.action, entry.resource)


def _write(entries: list[AuditEntry], using: str) -> None:
    opened = connections[using].connection is None
    _this_thread.writes = True
    try:
        record_many(entries)
    except _CANNOT_NOW as error:
        _keep(entries)
        logger.warning("%d entries of the audit log are not on record yet (%s).", len(entries), type(error).__name__)
    finally:
        _this_thread.writes = False
        # The thread may be one that nobody tidies, such as those of asynchronous code.
        if opened and connections[using].connection is not None:
            connections[using].close()
