"""The secrets in the admin: which there are, never what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from automate_secrets.models import Secret

if TYPE_CHECKING:
    from django.http import HttpRequest

    _SecretAdmin = admin.ModelAdmin[Secret]
else:
    _SecretAdmin = admin.ModelAdmin

__all__ = ["SecretAdmin"]


@admin.register(Secret)
class SecretAdmin(_SecretAdmin):
    """Lists names and versions. ``automate secrets`` sets values; their ciphertext is not shown either."""

    list_display = ("name", "tenant", "version", "key_id", "created_at")
    list_filter = ("key_id",)
    search_fields = ("name", "tenant")
    fields = ("name", "tenant", "version", "key_id", "created_at")
    readonly_fields = fields
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse.

        Args:
            request: The request.
        """
        return False

    def has_change_permission(self, request: HttpRequest, obj: Secret | None = None) -> bool:
        """Refuse.

        Args:
            request: The request.
            obj: The row.
        """
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Secret | None = None) -> bool:
        """Refuse.

        Args:
            request: The request.
            obj: The row.
        """
        return False
