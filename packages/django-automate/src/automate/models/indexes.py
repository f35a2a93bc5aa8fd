"""The index forms that the tables need on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Index, Model, Q

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.backends.ddl_references import Statement

__all__ = ["SparseIndex"]


class SparseIndex(Index):
    """An index over the rows whose first field is not NULL, so that the others cost nothing.

    Where the database has no partial indexes (MySQL, MariaDB) it is one over all rows.
    """

    def create_sql(
        self, model: type[Model], schema_editor: BaseDatabaseSchemaEditor, using: str = "", **kwargs: Any
    ) -> Statement:
        """Return the statement that creates the index on the database of the schema editor.

        Args:
            model: The model that is indexed.
            schema_editor: The schema editor.
            using: Index method, as Django passes it.
            **kwargs: Passed through to Django.
        """
        partial = schema_editor.connection.features.supports_partial_indexes
        condition = Q((f"{self.fields[0]}__isnull", False)) if partial else None
        index = Index(fields=self.fields, name=self.name, condition=condition)
        return index.create_sql(model, schema_editor, using=using, **kwargs)
