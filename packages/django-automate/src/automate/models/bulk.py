"""Rows of the hot path: making, inserting and loading many of them costs the worker more than the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import connection, connections, models
from django.db.models.base import ModelState
from django.db.models.fields import NOT_PROVIDED
from pydantic_core import to_json

__all__ = ["insert_rows", "load_rows", "new_row"]

M = TypeVar("M", bound=models.Model)

_Columns = list[tuple[str, str]]
"""Of each column: its name in the document, and the attribute of a row that holds its value."""


def new_row(model: type[M], **values: Any) -> M:
    """Return a row that is not stored yet, as the model's constructor makes it, at a tenth of its cost.

    The model must have no constructor and no property among the values; ``pre_init`` and ``post_init`` are not sent.

    Args:
        model: The model.
        **values: Its fields by name; those that are left out get their defaults.
    """
    constants, factories, relations = _blank(model)
    row = model.__new__(model)
    row._state = state = ModelState()
    columns = row.__dict__
    columns.update(constants)
    columns.update(values)
    for name, column in relations:
        if (related := columns.pop(name, None)) is not None:
            columns[column] = related.pk
            state.fields_cache[name] = related
    for name, factory in factories:
        if name not in values:
            columns[name] = factory()
    return row


@cache
def _blank(
    model: type[models.Model],
) -> tuple[dict[str, Any], list[tuple[str, Callable[[], Any]]], list[tuple[str, str]]]:
    """Return what the fields of a new row hold, what makes their values, and the relations, each with its column."""
    constants: dict[str, Any] = {}
    factories = []
    for field in model._meta.concrete_fields:
        if callable(field.default) and field.default is not NOT_PROVIDED:
            factories.append((field.attname, field.default))
        constants[field.attname] = None if callable(field.default) else field.get_default()
    relations = [(field.name, field.attname) for field in model._meta.concrete_fields if field.is_relation]
    return constants, factories, relations


def load_rows(rows: models.QuerySet[M], ids: Iterable[Any]) -> dict[Any, M]:
    """Return rows by primary key, like ``in_bulk``; on PostgreSQL the keys are one parameter.

    Args:
        rows: Those among which they are looked for.
        ids: Their keys, which are UUIDs.
    """
    if connections[rows.db].vendor != "postgresql":
        return rows.in_bulk(list(ids))
    keys = models.Value(",".join(map(str, ids)), output_field=models.TextField())
    return {row.pk: row for row in rows.filter(_AmongUUIDs(models.F("pk"), keys))}


class _AmongUUIDs(models.Lookup):
    lookup_name = "among_uuids"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        column, params = self.process_lhs(compiler, connection)
        keys, more = self.process_rhs(compiler, connection)
        return f"{column} = ANY(string_to_array({keys}, ',')::uuid[])", (*params, *more)


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
    # What is left out is NULL. Names are short, as every row repeats them.
    document = to_json(
        [{name: value for name, place in columns if (value := values[place]) is not None} for values in map(vars, rows)]
    ).decode()
    with connection.cursor() as cursor:
        cursor.execute(statement, [document])


@cache
def _plan(model: type[models.Model]) -> tuple[str, _Columns, list[Any]]:
    """Return the INSERT of a model, where its columns come from, and the fields that take the time of the insertion."""
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    quote = connection.ops.quote_name
    short = [f"c{number}" for number in range(len(fields))]
    typed = ", ".join(
        f"{name} {field.rel_db_type(connection) if field.is_relation else field.db_type(connection)}"
        for name, field in zip(short, fields, strict=True)
    )
    columns = ", ".join(quote(str(field.column)) for field in fields)
    statement = (
        f"INSERT INTO {quote(model._meta.db_table)} ({columns}) "  # noqa: S608 - names and types of the model alone
        f"SELECT {', '.join(short)} FROM json_to_recordset(%s::json) AS row ({typed})"
    )
    places = [(name, field.attname) for name, field in zip(short, fields, strict=True)]
    return statement, places, [field for field in fields if getattr(field, "auto_now_add", False)]
