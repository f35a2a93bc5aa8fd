"""Reading what the tables hold, whatever was made of it past Automate: no value in them ends the reading."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from automate_core.errors import AuditChainBroken
from django.db import DataError, OperationalError, connections, transaction

from automate.audit.chain import FIELDS

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from automate.models import AuditHead, AuditLogEntry

__all__ = ["COLUMNS", "HEAD", "read_head", "read_rows", "unreadable"]

COLUMNS = (*FIELDS, "mac")
"""Every column of an entry."""

HEAD = 1
"""The id of the head; there is no other one."""


def read_rows(entries: QuerySet[AuditLogEntry, AuditLogEntry], limit: int) -> list[dict[str, Any]]:
    """Return the columns of entries. What no column of Automate's holds is left out, or a time that is none a text.

    Args:
        entries: The entries, in their order.
        limit: How many at the most.
    """
    try:
        with _reading(entries.db):
            return [_strict(row) for row in _values(entries)[:limit]]
    except _UnreadableError:
        positions = list(entries.values_list("position", flat=True)[:limit])
    return [_read_row(entries.filter(position=position)) for position in positions]


def unreadable(row: dict[str, Any]) -> list[str]:
    """Return the columns of a row that could not be read.

    Args:
        row: One of :func:`read_rows`.
    """
    return [name for name in COLUMNS if name not in row]


def read_head(using: str) -> AuditHead | None:
    """Return the head of the log; None where there is none.

    Args:
        using: The database.

    Raises:
        AuditChainBroken: If it holds what no head does.
    """
    from automate.models import AuditHead

    broken = AuditChainBroken("The head of the audit log cannot be read: it holds what was never written.")
    try:
        with _reading(using):
            head = AuditHead.objects.using(using).filter(pk=HEAD).first()
    except _UnreadableError as error:
        raise broken from error
    if head is not None and not _is_head(head):
        raise broken
    return head


def _is_head(head: Any) -> bool:
    """Whether its columns are of the types that they have; SQLite keeps others too."""
    return isinstance(head.position, int) and all(isinstance(text, str) for text in (head.mac, head.key_id, head.seal))


# What drivers and Django raise; an AttributeError where MySQL's zero of a date stays a text.
_NOT_OF_THE_TYPE = (DataError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)


class _UnreadableError(Exception):
    """A column holds what its type cannot be."""


@contextmanager
def _reading(using: str) -> Iterator[None]:
    """Let a transaction go on behind what cannot be read. None is begun: on SQLite that may lock out who writes."""
    try:
        with transaction.atomic(using=using) if connections[using].in_atomic_block else nullcontext():
            yield
    except _NOT_OF_THE_TYPE as error:
        raise _UnreadableError from error
    except OperationalError as error:
        if "decode to UTF-8" not in str(error):  # SQLite says so of a text that is none, and calls it operational
            raise
        raise _UnreadableError from error


def _read_row(one: QuerySet[AuditLogEntry, AuditLogEntry]) -> dict[str, Any]:
    """Return what can be read of one entry, column by column where it is not all of it."""
    try:
        with _reading(one.db):
            return _strict(_values(one)[0])
    except _UnreadableError:
        row: dict[str, Any] = {}
    for name in COLUMNS:
        with suppress(_UnreadableError), _reading(one.db):
            row[name] = _strict(_values(one, name)[0])[name]
    if "created_at" not in row:
        with suppress(_UnreadableError), _reading(one.db):
            row["created_at"] = one.annotate(told=_as_text("created_at")).values_list("told", flat=True)[0]
    return row


def _values(entries: QuerySet[AuditLogEntry, AuditLogEntry], *columns: str) -> QuerySet[AuditLogEntry, dict[str, Any]]:
    """Return columns of entries, and with the details how they are written."""
    written = {"text": _as_text("details")} if not columns or "details" in columns else {}
    found: QuerySet[AuditLogEntry, dict[str, Any]] = entries.annotate(**written).values(*columns or COLUMNS, *written)
    return found


def _as_text(column: str) -> Any:
    from django.db.models import TextField
    from django.db.models.functions import Cast

    return Cast(column, TextField())


def _strict(row: dict[str, Any]) -> dict[str, Any]:
    """Refuse details with a key twice: who reads them past Automate may take the first one, and this takes the last."""
    if "text" in row:
        json.loads(row.pop("text"), object_pairs_hook=_unique)
    return row


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found
