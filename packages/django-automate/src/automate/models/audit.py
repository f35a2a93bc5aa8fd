"""Who changed what."""

from __future__ import annotations

from typing import Any

from automate_core.redaction import redact
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from automate.models.immutable import AppendOnlyModel, AppendOnlyQuerySet

__all__ = ["AuditLogEntry"]


class RedactedJSONField(models.JSONField):
    """JSON that is redacted on its way into the database, whichever way it takes: save, bulk_create or update."""

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Return what is written.

        Args:
            value: The value; an expression is left as it is.
            connection: The connection.
        """
        plain = value if hasattr(value, "as_sql") else redact(value)
        return super().get_db_prep_save(plain, connection)

    def deconstruct(self) -> Any:
        """Return what a migration writes down: to the database it is plain JSON."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs


class AuditLogEntry(AppendOnlyModel):
    """One change, for compliance. Append-only; details are redacted before they are written."""

    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=100, db_index=True)
    resource = models.CharField(max_length=300, db_index=True)
    tenant = models.CharField(max_length=100, blank=True, default="", db_index=True)
    details = RedactedJSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        """Newest first, with a name that reads well."""

        ordering = ("-id",)
        verbose_name_plural = "audit log entries"

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.resource}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Redact the details and insert the row.

        Args:
            *args: As in Django.
            **kwargs: As in Django.
        """
        # The field does so too, whichever way the row takes; this is for whoever goes on with the object.
        self.details = redact(self.details)
        super().save(*args, **kwargs)
