"""The index form that the outbox needs on every database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import Index, Model, Q

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.backends.ddl_references import Statement

__all__ = ["StatusIndex"]


class StatusIndex(Index):
    """An index over the rows of some statuses.

    It is partial where the database has partial indexes, so that finished rows cost nothing; where it has none
    (MySQL, MariaDB) it is an ordinary index led by the status column.

    Args:
        statuses: The statuses whose rows are indexed.
        fields: The fields, ``-`` in front for descending.
        name: Name of the index.
    """

    def __init__(self, *, statuses: Sequence[str], fields: Sequence[str], name: str) -> None:
        self.statuses = tuple(statuses)
        super().__init__(fields=list(fields), name=name)

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
        if schema_editor.connection.features.supports_partial_indexes:
            index = Index(fields=self.fields, name=self.name, condition=Q(status__in=self.statuses))
        else:
            index = Index(fields=["status", *self.fields], name=self.name)
        return index.create_sql(model, schema_editor, using=using, **kwargs)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """Return what a migration writes down."""
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "statuses": self.statuses}
