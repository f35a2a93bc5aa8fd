"""The index forms that the outbox needs on every database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import Index, Model, Q, UniqueConstraint

if TYPE_CHECKING:
    from django.core.checks import CheckMessage
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.backends.ddl_references import Statement

__all__ = ["StatusIndex", "UniqueWherePossible"]


class StatusIndex(Index):
    """An index over the rows of some statuses.

    It is partial where the database has partial indexes, so that finished rows cost nothing; where it has none
    (MySQL, MariaDB) it is an ordinary index led by what would be its condition.

    Args:
        statuses: The statuses whose rows are indexed.
        ordered: Whether only rows with an ordering key are, or only those without; None means both.
        fields: The fields, ``-`` in front for descending.
        name: Name of the index.
    """

    def __init__(
        self, *, statuses: Sequence[str], fields: Sequence[str], name: str, ordered: bool | None = None
    ) -> None:
        self.statuses = tuple(statuses)
        self.ordered = ordered
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
            condition = Q(status__in=self.statuses)
            if self.ordered is not None:
                condition &= Q(ordering_key__gt="") if self.ordered else Q(ordering_key="")
            index = Index(fields=self.fields, name=self.name, condition=condition)
        else:
            lead = ["status", "ordering_key"] if self.ordered is False else ["status"]
            index = Index(fields=[*lead, *self.fields], name=self.name)
        return index.create_sql(model, schema_editor, using=using, **kwargs)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        """Return what a migration writes down."""
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "statuses": self.statuses, "ordered": self.ordered}


class UniqueWherePossible(UniqueConstraint):
    """A conditional constraint that databases without partial indexes may lack, as something else holds it there."""

    def check(self, model: type[Model], connection: BaseDatabaseWrapper) -> list[CheckMessage]:
        """Check the fields; do not warn of databases that lack the constraint.

        Args:
            model: The model.
            connection: The connection.
        """
        found: list[CheckMessage] = super().check(model, connection)  # type: ignore[misc, unused-ignore]
        return [message for message in found if message.id != "models.W036"]
