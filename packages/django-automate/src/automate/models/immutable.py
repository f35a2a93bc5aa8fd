"""Rows that are written once."""

from __future__ import annotations

from typing import Any, TypeVar

from automate_core.errors import AutomateError
from django.db import models

from automate.models.tenants import TenantModel, TenantQuerySet

__all__ = ["AppendOnlyModel", "AppendOnlyQuerySet", "ImmutableModel"]


class ImmutableModel(models.Model):
    """A row that is inserted and never changed through the model."""

    class Meta:
        """Abstract."""

        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the row.

        Args:
            *args: As in Django.
            **kwargs: As in Django.

        Raises:
            AutomateError: If the row exists already.
        """
        if not self._state.adding:
            raise AutomateError(f"{self._meta.verbose_name} {self.pk} is immutable: make a new one instead.")
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)


_Row = TypeVar("_Row", bound=models.Model, covariant=True)


class AppendOnlyQuerySet(TenantQuerySet[_Row]):
    """Rows that are neither changed nor deleted; only :mod:`automate.retention` deletes them, when they are old."""

    def update(self, **kwargs: Any) -> int:
        """Refuse.

        Args:
            **kwargs: As in Django.

        Raises:
            AutomateError: Always.
        """
        raise _refusal(self.model, "changed")

    def delete(self) -> tuple[int, dict[str, int]]:
        """Refuse.

        Raises:
            AutomateError: Always.
        """
        raise _refusal(self.model, "deleted")


class AppendOnlyModel(ImmutableModel, TenantModel):
    """A row that is inserted and neither changed nor deleted, one by one or many at once.

    Each model says ``objects = AppendOnlyQuerySet.as_manager()`` itself: inherited, type checkers lose its fields.
    """

    class Meta:
        """Abstract."""

        abstract = True

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Refuse.

        Args:
            *args: As in Django.
            **kwargs: As in Django.

        Raises:
            AutomateError: Always.
        """
        raise _refusal(type(self), "deleted")


def _refusal(model: type[models.Model], done: str) -> AutomateError:
    return AutomateError(
        f"Rows of {model._meta.verbose_name} are not {done}: they are append-only. History that is old goes by the "
        "settings of RETENTION, and the audit log never goes."
    )
