"""The budget and the calls in the admin, to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from automate_core.pages import ReadOnlyPage
from automate_core.tenancy import tenants_of
from django.contrib import admin

from automate_llm.models import LLMBudgetDay, LLMCall

__all__ = ["LLMBudgetDayAdmin", "LLMCallAdmin"]


if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


@admin.register(LLMBudgetDay)
class LLMBudgetDayAdmin(ReadOnlyPage, ModelAdmin):
    """What each day cost: all tenants together, for those who see all of them."""

    list_display = ("day", "spent_usd", "reserved_usd")
    date_hierarchy = "day"

    def visible_to(self, user: Any, rows: Any) -> Any:
        """Leave the days, or nothing where the user sees some tenants alone.

        Args:
            user: The user.
            rows: The days.
        """
        return rows if tenants_of(user) is None else rows.none()


@admin.register(LLMCall)
class LLMCallAdmin(ReadOnlyPage, ModelAdmin):
    """The calls."""

    list_display = (
        "created_at", "provider", "model", "status", "error_code",
        "input_tokens", "output_tokens", "cost_usd", "latency_ms",
    )  # fmt: skip
    list_filter = ("status", "provider", "model", "day")
    search_fields = ("id", "run_id", "tenant", "prompt_hash")
