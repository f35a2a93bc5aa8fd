"""Rows that are written once."""

from __future__ import annotations

from typing import Any

from automate_core.errors import AutomateError
from django.db import models

__all__ = ["AppendOnlyModel"]


class AppendOnlyModel(models.Model):
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
