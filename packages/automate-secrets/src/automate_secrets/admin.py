"""The secrets in the admin: which there are, never what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automate_core.pages import ReadOnlyPage
from django.contrib import admin

from automate_secrets.models import Secret

if TYPE_CHECKING:
    _SecretAdmin = admin.ModelAdmin[Secret]
else:
    _SecretAdmin = admin.ModelAdmin

__all__ = ["SecretAdmin"]


@admin.register(Secret)
class SecretAdmin(ReadOnlyPage, _SecretAdmin):
    """Lists names and versions. ``automate secrets`` sets values; their ciphertext is not shown either."""

    list_display = ("name", "tenant", "version", "key_id", "created_at")
    list_filter = ("key_id",)
    search_fields = ("name", "tenant")
    fields = ("name", "tenant", "version", "key_id", "created_at")
    readonly_fields = fields
    seen_with = ("automate_secrets.manage_secrets",)
    recorded_as = "secret row"  # the redactor takes what stands behind "secret:" for one
