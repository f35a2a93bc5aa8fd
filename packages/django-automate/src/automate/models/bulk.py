"""Inserting many rows of the hot path: one statement, and on PostgreSQL one parameter."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from django.db import connection, models

__all__ = ["insert_rows"]

M = TypeVar("M", bound=models.Model)

_Columns = list[tuple[str, str, Callable[[Any], Any]]]
"""Of each column: its name, the attribute of a row that holds its value, and what makes JSON of that."""


def insert_rows(rows: Sequence[M]) -> None:
    """Insert rows of one model; what the database would number stays without a number.

    ``bulk_create`` gives PostgreSQL an array for each column, and quoting its elements costs the driver more than the
    server needs for all of it. Here every row is an object of one JSON document.

    Args:
        rows: The rows, none of them stored yet.
    """
    if not rows:
        return
    model = type(rows[0])
    if connection.vendor != "postgresql":
        model._default_manager.bulk_create(rows)
        return
    statement, columns, dated = _plan(model)
    for field in dated:
        for row in rows:
            field.pre_save(row, True)
    document = json.dumps([_document(row.__dict__, columns) for row in rows])
    with connection.cursor() as cursor:
        cursor.execute(statement, [document])


def _document(values: dict[str, Any], columns: _Columns) -> dict[str, Any]:
    return {
        name: None if (value := values[attribute]) is None else convert(value) for name, attribute, convert in columns
    }


@cache
def _plan(model: type[models.Model]) -> tuple[str, _Columns, list[Any]]:
    """Return the INSERT of a model, and where its columns come from."""
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    quote = connection.ops.quote_name
    names = [str(field.column) for field in fields]
    typed = ", ".join(
        f"{quote(name)} {field.rel_db_type(connection) if field.is_relation else field.db_type(connection)}"
        for name, field in zip(names, fields, strict=True)
    )
    columns = ", ".join(map(quote, names))
    statement = (
        f"INSERT INTO {quote(model._meta.db_table)} ({columns}) "  # noqa: S608 - names and types of the model alone
        f"SELECT {columns} FROM json_to_recordset(%s::json) AS row ({typed})"
    )
    columns_of_rows = [(name, field.attname, _converter(field)) for name, field in zip(names, fields, strict=True)]
    return statement, columns_of_rows, [field for field in fields if getattr(field, "auto_now_add", False)]


def _converter(field: models.Field[Any, Any]) -> Callable[[Any], Any]:
    target: Any = getattr(field, "target_field", field)
    if isinstance(target, models.UUIDField):
        return str
    if isinstance(target, models.DateTimeField):
        return datetime.isoformat
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
