"""The audit log."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from automate.admin._read_only import ReadOnlyAdmin
from automate.audit.verification import state_of
from automate.models import AuditLogEntry

__all__: list[str] = []


@admin.register(AuditLogEntry)
class AuditLogEntryAdmin(ReadOnlyAdmin):
    """The audit log, and whether each entry is what was written; ``automate audit verify`` looks at all of it."""

    list_display = ("position", "created_at", "action", "resource", "state", "actor", "tenant")
    list_filter = ("created_at", "action", "tenant", "actor")
    ordered = ("actor", "action", "resource", "tenant")  # redacted before they were written
    search_fields = ("actor", "action", "resource")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Show the state of the entry too.

        Args:
            request: The request.
            obj: The entry.
        """
        return ["state", *super().get_fields(request, obj)]

    @admin.display(description="chain")
    def state(self, row: AuditLogEntry) -> str:
        """Whether the entry is what was written.

        Args:
            row: The entry.
        """
        return state_of(row)
