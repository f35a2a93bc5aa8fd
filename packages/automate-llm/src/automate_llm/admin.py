"""The budget and the calls in the admin, to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from automate_llm.models import LLMBudgetDay, LLMCall

__all__ = ["LLMBudgetDayAdmin", "LLMCallAdmin"]


if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class _ReadOnlyAdmin(ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(LLMBudgetDay)
class LLMBudgetDayAdmin(_ReadOnlyAdmin):
    """What each day cost."""

    list_display = ("day", "spent_usd", "reserved_usd")
    date_hierarchy = "day"


@admin.register(LLMCall)
class LLMCallAdmin(_ReadOnlyAdmin):
    """The calls."""

    list_display = (
        "created_at", "provider", "model", "status", "error_code",
        "input_tokens", "output_tokens", "cost_usd", "latency_ms",
    )  # fmt: skip
    list_filter = ("status", "provider", "model", "day")
    search_fields = ("id", "run_id", "tenant", "prompt_hash")
