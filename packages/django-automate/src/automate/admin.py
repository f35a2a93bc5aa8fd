"""Read-only pages in Django's admin: everything can be looked at, nothing is edited by hand."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from automate_core.redaction import redact
from automate_core.rules import format_explanation
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from automate.models import (
    AuditLogEntry,
    Decision,
    DedupeKey,
    Event,
    Execution,
    ExecutionRun,
    StepRun,
    Workflow,
    WorkflowVersion,
)

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyInline = admin.TabularInline[Any, Any]
else:  # Django's classes take their parameters from the stubs alone
    AnyModelAdmin, AnyInline = admin.ModelAdmin, admin.TabularInline

__all__: list[str] = []


def pretty(value: Any) -> SafeString:
    """Show JSON, redacted, in a fixed-width block.

    Args:
        value: The JSON value.
    """
    if value is None:
        return format_html("{}", "-")
    return format_html("<pre>{}</pre>", json.dumps(redact(value), indent=2, ensure_ascii=False, default=str))


def link(text: Any, view: str, *args: Any, query: dict[str, Any] | None = None) -> SafeString:
    """Link to another page of the admin.

    Args:
        text: What to show.
        view: The page's name, without ``admin:``.
        *args: The arguments of its address.
        query: The filters of a list.
    """
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{view}", args=args, query=query), text)


def seconds_between(start: datetime | None, end: datetime | None) -> str:
    """Show how long something took.

    Args:
        start: When it began.
        end: When it ended.
    """
    return "-" if start is None or end is None else f"{(end - start).total_seconds():.3f}"


class ReadOnly:
    """Nothing may be added, changed or deleted; JSON is shown redacted and indented."""

    model: type[models.Model]
    shown: tuple[str, ...] = ()
    """The fields to show; all of them where it is empty."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        """Return False.

        Args:
            request: The request.
            *args: The parent, in an inline.
        """
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False.

        Args:
            request: The request.
            obj: The row.
        """
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False.

        Args:
            request: The request.
            obj: The row.
        """
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Show JSON through its pretty form, everything else as it is.

        Args:
            request: The request.
            obj: The row.
        """
        json_fields = {f.name for f in self.model._meta.fields if isinstance(f, models.JSONField)}
        names = self.shown or tuple("event" if f.name == "event_id" else f.name for f in self.model._meta.fields)
        return [f"pretty_{name}" if name in json_fields else name for name in names]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Every field is.

        Args:
            request: The request.
            obj: The row.
        """
        return self.get_fields(request, obj)

    @admin.display(description="event", ordering="event_id")
    def event(self, row: Any) -> SafeString | str:
        """The event of a row, which names it without a foreign key.

        Args:
            row: The row.
        """
        return "-" if row.event_id is None else link(row.event_id, "automate_event_change", row.event_id)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("pretty_"):
            raise AttributeError(name)
        field = name.removeprefix("pretty_")

        def show(row: Any) -> SafeString:
            return pretty(getattr(row, field))

        show.short_description = field.replace("_", " ")  # type: ignore[attr-defined]  # the admin's own protocol
        return show


class ReadOnlyAdmin(ReadOnly, AnyModelAdmin):
    """A read-only page for one model."""

    show_full_result_count = False
    list_per_page = 50


class ReadOnlyInline(ReadOnly, AnyInline):
    """Read-only rows within the page of their parent."""

    extra = 0
    can_delete = False
    show_change_link = True


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Events."""

    list_display = ("created_at", "type", "source", "subject", "tenant", "id")
    list_filter = ("created_at", "type", "source", "tenant")
    search_fields = ("=id", "type", "subject")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Show what became of the event too.

        Args:
            request: The request.
            obj: The event.
        """
        return ["decisions", "executions", *super().get_fields(request, obj)]  # above the payload, which can be long

    @admin.display(description="decisions")
    def decisions(self, row: Event) -> SafeString:
        """What the rules said.

        Args:
            row: The event.
        """
        query = {"event_id__exact": row.pk}
        return link(Decision.objects.filter(event_id=row.pk).count(), "automate_decision_changelist", query=query)

    @admin.display(description="executions")
    def executions(self, row: Event) -> SafeString:
        """What it started.

        Args:
            row: The event.
        """
        query = {"event_id__exact": row.pk}
        return link(Execution.objects.filter(event_id=row.pk).count(), "automate_execution_changelist", query=query)


@admin.register(DedupeKey)
class DedupeKeyAdmin(ReadOnlyAdmin):
    """Dedupe keys."""

    list_display = ("key", "source", "tenant", "event", "expires_at")
    list_filter = ("source", "tenant")
    search_fields = ("key", "=event_id")


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    """Decisions, with what the rules saw."""

    list_display = ("created_at", "version", "matched", "event", "why")
    list_filter = ("matched", "version__workflow")
    list_select_related = ("version__workflow",)
    search_fields = ("=event_id", "version__workflow__slug")
    shown = ("event", "version", "matched", "explained", "error", "created_at")

    @admin.display(description="explanation")
    def explained(self, row: Decision) -> SafeString:
        """The explanation as text, node by node.

        Args:
            row: The decision.
        """
        text = "every event of this type matches" if row.explanation is None else format_explanation(row.explanation)
        return format_html("<pre>{}</pre>", row.error or text)

    @admin.display(description="why")
    def why(self, row: Decision) -> str:
        """The sentence of the explanation.

        Args:
            row: The decision.
        """
        return row.error or (row.explanation or {}).get("reason", "")


class VersionInline(ReadOnlyInline):
    """Versions of a workflow."""

    model = WorkflowVersion
    shown = ("version_num", "live", "trigger_event", "hash", "created_at")


@admin.register(Workflow)
class WorkflowAdmin(ReadOnlyAdmin):
    """Workflows."""

    list_display = ("slug", "name", "enabled", "created_at")
    list_filter = ("enabled",)
    search_fields = ("slug", "name")
    inlines = (VersionInline,)


@admin.register(WorkflowVersion)
class WorkflowVersionAdmin(ReadOnlyAdmin):
    """Versions."""

    list_display = ("workflow", "version_num", "live", "trigger_event", "created_at")
    list_filter = ("live", "workflow")
    list_select_related = ("workflow",)
    search_fields = ("workflow__slug", "=hash")


class RunInline(ReadOnlyInline):
    """Runs of an execution."""

    model = ExecutionRun


@admin.register(Execution)
class ExecutionAdmin(ReadOnlyAdmin):
    """Executions."""

    list_display = ("created_at", "version", "status", "tenant", "id", "event")
    list_filter = ("status", "version__workflow", "tenant")
    list_select_related = ("version__workflow",)
    search_fields = ("=id", "=event_id", "version__workflow__slug")
    inlines = (RunInline,)


class StepInline(ReadOnlyInline):
    """Steps of a run."""

    model = StepRun
    shown = ("step_id", "action", "attempt", "status", "output", "error", "reason", "started_at", "seconds")

    @admin.display(description="seconds")
    def seconds(self, row: StepRun) -> str:
        """How long the attempt took.

        Args:
            row: The attempt.
        """
        return seconds_between(row.started_at, row.finished_at)


@admin.register(ExecutionRun)
class ExecutionRunAdmin(ReadOnlyAdmin):
    """Runs, with their steps."""

    list_display = ("started_at", "version", "status", "seconds", "number", "id")
    list_filter = ("status", "execution__version__workflow")
    list_select_related = ("execution__version__workflow",)
    search_fields = ("=id", "=execution__id", "=trace_id")
    inlines = (StepInline,)

    @admin.display(description="version", ordering="execution__version")
    def version(self, row: ExecutionRun) -> str:
        """The version that it runs.

        Args:
            row: The run.
        """
        return str(row.execution.version)

    @admin.display(description="seconds")
    def seconds(self, row: ExecutionRun) -> str:
        """How long it took, waits included.

        Args:
            row: The run.
        """
        return seconds_between(row.started_at, row.finished_at)


@admin.register(StepRun)
class StepRunAdmin(ReadOnlyAdmin):
    """Attempts of steps."""

    list_display = ("finished_at", "step_id", "action", "attempt", "status", "run_id")
    list_filter = ("status", "action")
    search_fields = ("=run__id", "step_id", "action")


@admin.register(AuditLogEntry)
class AuditLogEntryAdmin(ReadOnlyAdmin):
    """The audit log."""

    list_display = ("created_at", "actor", "action", "resource")
    list_filter = ("created_at", "action", "actor")
    search_fields = ("actor", "resource")
