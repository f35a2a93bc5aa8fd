"""The secrets in the admin: which there are, never what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from automate_core.lookups import may_look_up
from automate_core.tenancy import within
from django.contrib import admin

from automate_secrets.models import Secret

if TYPE_CHECKING:
    from django.db.models import QuerySet
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

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Whether the address may hold a lookup: one of the filters, or the whole key of a row.

        Args:
            lookup: The lookup.
            value: What it is compared with.
            request: The request.
        """
        return may_look_up(self, lookup)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Secret]:
        """Leave the secrets of the user's tenants.

        Args:
            request: The request.
        """
        rows: QuerySet[Secret] = within(super().get_queryset(request), request.user)
        return rows

    def has_view_permission(self, request: HttpRequest, obj: Secret | None = None) -> bool:
        """Whether somebody may see which secrets there are: the permission to view them, or to manage them.

        Args:
            request: The request.
            obj: The row.
        """
        return super().has_view_permission(request, obj) or request.user.has_perm("automate_secrets.manage_secrets")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the page is listed.

        Args:
            request: The request.
        """
        return self.has_view_permission(request)

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
