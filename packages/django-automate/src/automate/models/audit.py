"""Who changed what."""

from __future__ import annotations

from typing import Any

from automate_core.redaction import redact
from django.db import models

from automate.models.immutable import AppendOnlyModel

__all__ = ["AuditLogEntry"]


class AuditLogEntry(AppendOnlyModel):
    """One change, for compliance. Append-only; details are redacted before they are written."""

    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=100, db_index=True)
    resource = models.CharField(max_length=300, db_index=True)
    details = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

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
        self.details = redact(self.details)
        super().save(*args, **kwargs)
