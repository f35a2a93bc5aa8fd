"""Two names are one where they are the same, character by character, on every database.

MySQL and MariaDB compare texts by a collation, and by their defaults ``acme`` is ``ACME`` and, often, ``acme`` with a
space behind it. A tenant must not see the rows of another one, so migrations that create tables end with
:func:`compare_exactly`. Django itself is not imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["compare_exactly", "exact_collation"]

_NAMES = (
    "SELECT column_name, column_type, is_nullable FROM information_schema.columns WHERE table_schema = DATABASE() "
    "AND table_name = %s AND data_type IN ('char', 'varchar') ORDER BY ordinal_position"
)


def exact_collation(connection: Any) -> str:
    """Return the collation of MySQL or MariaDB by which texts are equal where all their characters are.

    Args:
        connection: A connection of Django to one of them.
    """
    return "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"


def compare_exactly(schema_editor: Any, tables: Iterable[str]) -> None:
    """Let the names in some tables be compared exactly, and those in columns that are added later on.

    Columns of long texts stay as they are: they are searched by people, who do not mind case. Other databases than
    MySQL and MariaDB need nothing. It comes before foreign keys, as at the end of the migration that creates the
    tables: a column that one refers to cannot be changed.

    Args:
        schema_editor: The schema editor of the migration.
        tables: The names of the tables.
    """
    connection = schema_editor.connection
    if connection.vendor != "mysql":
        return
    quote, exactly = connection.ops.quote_name, f"CHARACTER SET utf8mb4 COLLATE {exact_collation(connection)}"
    for table in tables:
        with connection.cursor() as cursor:
            cursor.execute(_NAMES, [table])
            columns = cursor.fetchall()
        changes = [
            f"MODIFY {quote(name)} {kind} {exactly} {'NULL' if nullable == 'YES' else 'NOT NULL'}"
            for name, kind, nullable in columns
        ]
        schema_editor.execute(f"ALTER TABLE {quote(table)} {', '.join([f'DEFAULT {exactly}', *changes])}")
