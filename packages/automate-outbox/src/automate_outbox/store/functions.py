"""Functions that migrations made on PostgreSQL: when they are called instead of the statements that they stand for.

Django lets psycopg put the parameters into the text of a statement, so that the server parses and plans it each time.
Of a function it keeps the plans for as long as the session lives, behind a pooler too, where prepared statements may
not work. But a session pays for the first call as much as it saves in some twenty, and many are over before that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["FEW", "call_of", "forget", "may_call"]

FEW = 20
"""How often the statement is sent before the function is called."""
_NEVER = -1
_WRITTEN = frozenset({int, str, type(None)})
_EMPTY = {"": "''", 0: "0", None: "NULL"}
_FIND = """SELECT bool_and(COALESCE(has_function_privilege(to_regproc(name), 'EXECUTE'), FALSE))
FROM unnest(%s::text[]) AS name"""

_asked: WeakKeyDictionary[Any, dict[Sequence[str], int]] = WeakKeyDictionary()
"""For each connection of the driver, how often these functions could have been called; _NEVER where they cannot."""


def may_call(functions: Sequence[str], connection: BaseDatabaseWrapper) -> bool:
    """Whether functions are to be called: not in the first statements of a session, nor where they are missing.

    They are missing before their migration, where tests leave migrations out, and where the role may not call them.

    Args:
        functions: Their names.
        connection: Django's connection.
    """
    session = connection.connection
    if session is None:
        return False
    asked = _asked.get(session)
    if asked is None:
        asked = _asked[session] = {}
    count = asked.get(functions, 0)
    if 0 <= count <= FEW:
        count = asked[functions] = _NEVER if count == FEW and not _are_there(functions, connection) else count + 1
    return count > FEW


def forget(functions: Sequence[str], connection: BaseDatabaseWrapper) -> None:
    """Call functions no more in this session.

    Args:
        functions: Their names.
        connection: Django's connection.
    """
    if connection.connection is not None:
        _asked.setdefault(connection.connection, {})[functions] = _NEVER


def _are_there(functions: Sequence[str], connection: BaseDatabaseWrapper) -> bool:
    # Behind the log of queries: whoever counts them counts the same whatever the session did before.
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.cursor.execute(_FIND, [list(functions)])
        return bool(cursor.fetchone()[0])


def call_of(function: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return a call, without its closing parenthesis, and its parameters.

    Each parameter costs the client time: a value that is empty is written into the text instead.

    Args:
        function: The name.
        values: Its arguments, in their order.
    """
    marks = ["%s" if value or type(value) not in _WRITTEN else _EMPTY[value] for value in values]
    return f"{function}({', '.join(marks)}", [value for value, mark in zip(values, marks, strict=True) if mark == "%s"]
