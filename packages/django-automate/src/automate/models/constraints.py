"""Constraints that not every database can have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import CheckConstraint, Model

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor

__all__ = ["AutoFieldCheck"]


class AutoFieldCheck(CheckConstraint):
    """A check of a column that the database can number by itself; MySQL and MariaDB allow none there."""

    def constraint_sql(self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """Return what stands in the statement that creates the table; empty where there can be none.

        Args:
            model: The model.
            schema_editor: The schema editor.
        """
        return "" if _has_none(schema_editor) else super().constraint_sql(model, schema_editor)

    def create_sql(self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """Return the statement that adds it; empty where there can be none.

        Args:
            model: The model.
            schema_editor: The schema editor.
        """
        return "" if _has_none(schema_editor) else super().create_sql(model, schema_editor)

    def remove_sql(self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """Return the statement that takes it away; empty where there can be none.

        Args:
            model: The model.
            schema_editor: The schema editor.
        """
        return "" if _has_none(schema_editor) else super().remove_sql(model, schema_editor)


def _has_none(schema_editor: BaseDatabaseSchemaEditor | None) -> bool:
    return schema_editor is not None and schema_editor.connection.vendor == "mysql"
