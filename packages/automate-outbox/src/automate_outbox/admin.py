"""The outbox in the admin: for looking, not for touching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from automate_outbox.models import OutboxJob

if TYPE_CHECKING:
    from django.http import HttpRequest

    _OutboxJobAdmin = admin.ModelAdmin[OutboxJob]
else:
    _OutboxJobAdmin = admin.ModelAdmin

__all__ = ["OutboxJobAdmin"]


@admin.register(OutboxJob)
class OutboxJobAdmin(_OutboxJobAdmin):
    """Lists the items; a row is changed by stores only, under its fence."""

    list_display = ("id", "kind", "status", "queue", "attempts", "crashes", "next_attempt_at", "lease_owner")
    list_filter = ("status", "created_at")
    search_fields = ("=id", "kind", "tenant", "lease_owner", "last_error")
    ordering = ("-id",)
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: OutboxJob | None = None) -> list[str]:
        """Show every field but the fencing token, which is a capability.

        Args:
            request: The request.
            obj: The row.
        """
        return [field.name for field in self.opts.fields if field.name != "lease_token"]

    def get_fields(self, request: HttpRequest, obj: OutboxJob | None = None) -> list[Any]:
        """Show the same fields.

        Args:
            request: The request.
            obj: The row.
        """
        return [*self.get_readonly_fields(request, obj)]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse.

        Args:
            request: The request.
        """
        return False

    def has_change_permission(self, request: HttpRequest, obj: OutboxJob | None = None) -> bool:
        """Refuse.

        Args:
            request: The request.
            obj: The row.
        """
        return False

    def has_delete_permission(self, request: HttpRequest, obj: OutboxJob | None = None) -> bool:
        """Refuse.

        Args:
            request: The request.
            obj: The row.
        """
        return False
