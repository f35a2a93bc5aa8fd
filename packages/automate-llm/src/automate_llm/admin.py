"""The budget and the calls in the admin, to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from automate_core.lookups import may_look_up
from automate_core.tenancy import tenants_of, within
from django.contrib import admin
from django.http import HttpRequest

from automate_llm.models import LLMBudgetDay, LLMCall

__all__ = ["LLMBudgetDayAdmin", "LLMCallAdmin"]


if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class _ReadOnlyAdmin(ModelAdmin):
    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        return may_look_up(self, lookup)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(LLMBudgetDay)
class LLMBudgetDayAdmin(_ReadOnlyAdmin):
    """What each day cost: all tenants together, for those who see all of them."""

    list_display = ("day", "spent_usd", "reserved_usd")
    date_hierarchy = "day"

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave the days, or nothing where the user sees some tenants alone.

        Args:
            request: The request.
        """
        rows = super().get_queryset(request)
        return rows if tenants_of(request.user) is None else rows.none()


@admin.register(LLMCall)
class LLMCallAdmin(_ReadOnlyAdmin):
    """The calls."""

    list_display = (
        "created_at", "provider", "model", "status", "error_code",
        "input_tokens", "output_tokens", "cost_usd", "latency_ms",
    )  # fmt: skip
    list_filter = ("status", "provider", "model", "day")
    search_fields = ("id", "run_id", "tenant", "prompt_hash")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave the calls of the user's tenants.

        Args:
            request: The request.
        """
        return within(super().get_queryset(request), request.user)
