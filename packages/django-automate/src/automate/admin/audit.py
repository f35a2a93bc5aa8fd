"""The audit log."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest

from automate.admin._read_only import ReadOnlyAdmin
from automate.audit.showing import entries_at
from automate.audit.verification import state_of
from automate.models import AuditLogEntry

__all__: list[str] = []


class _Entries(ChangeList):
    """The list of the entries: one that cannot be read is among them, and ends nothing."""

    def get_results(self, request: HttpRequest) -> None:
        """Find the entries of the page.

        Args:
            request: The request.
        """
        super().get_results(request)
        self.result_list = entries_at([row.pk for row in self.result_list], self.root_queryset.db)


@admin.register(AuditLogEntry)
class AuditLogEntryAdmin(ReadOnlyAdmin):
    """The audit log, and whether each entry is what was written; ``automate audit verify`` looks at all of it."""

    list_display = ("position", "created_at", "action", "resource", "state", "actor", "tenant")
    list_filter = ("created_at", "action", "tenant", "actor")
    ordered = ("actor", "action", "resource", "tenant")  # redacted before they were written
    search_fields = ("actor", "action", "resource")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave the entries of the user's tenants, by their positions alone: a column may hold what cannot be read.

        Args:
            request: The request.
        """
        return super().get_queryset(request).only("position")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the class of the list.

        Args:
            request: The request.
            **kwargs: As in Django.
        """
        return _Entries

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Find an entry, with what can be read of it.

        Args:
            request: The request.
            object_id: Its position, as the address says it.
            from_field: As in Django.
        """
        found = super().get_object(request, object_id, from_field)
        return found and next(iter(entries_at([found.pk], self.get_queryset(request).db)), None)

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
