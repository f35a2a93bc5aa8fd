"""Workflows and their versions."""

from __future__ import annotations

from automate_core.tenancy import within
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from automate import publish
from automate.admin._filters import OwnTenantsFilter, OwnWorkflowsFilter
from automate.admin._read_only import ReadOnlyAdmin, ReadOnlyInline, RedactedChoices
from automate.models import Workflow, WorkflowVersion
from automate.permissions import PUBLISH_WORKFLOW, actor_of, may

__all__: list[str] = []


class VersionInline(ReadOnlyInline):
    """Versions of a workflow."""

    seen_with = (PUBLISH_WORKFLOW,)
    model = WorkflowVersion
    shown = ("version_num", "live", "shadow", "trigger_event", "created_at")


@admin.register(Workflow)
class WorkflowAdmin(ReadOnlyAdmin):
    """Workflows."""

    seen_with = (PUBLISH_WORKFLOW,)
    list_display = ("slug", "name", "tenant", "enabled", "created_at")
    list_filter = ("enabled", ("tenant", RedactedChoices))
    ordered = ("slug",)
    search_fields = ("slug", "=name")
    inlines = (VersionInline,)
    actions = ("enable", "disable")

    def has_publish_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may enable and disable.

        Args:
            request: The request.
        """
        return may(request.user, PUBLISH_WORKFLOW)

    @admin.action(description="Enable selected workflows", permissions=["publish"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Workflow]) -> None:
        """Let workflows listen and run again.

        Args:
            request: The request.
            queryset: The chosen ones.
        """
        self._switch(request, queryset, "enable")

    @admin.action(description="Disable selected workflows", permissions=["publish"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Workflow]) -> None:
        """Let nothing start workflows any more.

        Args:
            request: The request.
            queryset: The chosen ones.
        """
        self._switch(request, queryset, "disable")

    def _switch(self, request: HttpRequest, queryset: QuerySet[Workflow], action: str) -> None:
        """Switch those that are the user's: one of no tenant is everybody's to see, and not everybody's to switch."""
        own = list(within(queryset, request.user))
        others = list(queryset.exclude(pk__in=[row.pk for row in own]).values_list("pk", flat=True))
        switch = publish.enable if action == "enable" else publish.disable
        for row in own:
            switch(row.slug, actor=actor_of(request))
        self.leave_out(request, action, others, "tenant")
        text = f"{len(own)} workflows {action}d."
        if others:
            text += f" {len(others)} are not your tenant's."
        self.message_user(request, text, messages.WARNING if others else messages.SUCCESS)


@admin.register(WorkflowVersion)
class WorkflowVersionAdmin(ReadOnlyAdmin):
    """Versions."""

    seen_with = (PUBLISH_WORKFLOW,)
    list_display = ("workflow", "version_num", "live", "shadow", "trigger_event", "created_at")
    list_filter = ("live", "shadow", ("workflow__tenant", OwnTenantsFilter), ("workflow", OwnWorkflowsFilter))
    list_select_related = ("workflow",)
    search_fields = ("workflow__slug", "=hash")
