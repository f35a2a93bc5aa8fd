"""Read-only pages in Django's admin: everything can be looked at, nothing is edited by hand."""

from __future__ import annotations

import json
from typing import Any

from automate_core.errors import ArtifactError
from automate_core.redaction import redact, redact_text
from automate_core.rules import format_explanation
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from automate._read_only import ReadOnlyAdmin, ReadOnlyInline, RedactedChoices, link, seconds_between
from automate.artifacts import content
from automate.models import (
    Artifact,
    ArtifactUse,
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

__all__: list[str] = []


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Events."""

    list_display = ("created_at", "type", "source", "subject", "tenant", "id")
    list_filter = ("created_at", *((name, RedactedChoices) for name in ("type", "source", "tenant")))
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
    list_filter = (("source", RedactedChoices), ("tenant", RedactedChoices))
    search_fields = ("key", "=event_id")


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    """Decisions, with what the rules saw."""

    list_display = ("created_at", "version", "matched", "shadow", "event", "why")
    list_filter = ("matched", "shadow", "version__workflow")
    list_select_related = ("version__workflow",)
    search_fields = ("=event_id", "version__workflow__slug")
    shown = ("event", "version", "matched", "shadow", "explained", "error", "reason", "created_at")

    @admin.display(description="explanation")
    def explained(self, row: Decision) -> SafeString:
        """The explanation as text, node by node.

        Args:
            row: The decision.
        """
        text = "every event of this type matches" if row.explanation is None else format_explanation(row.explanation)
        return format_html("<pre>{}</pre>", redact_text(row.error or text))

    @admin.display(description="why")
    def why(self, row: Decision) -> str:
        """The sentence of the explanation.

        Args:
            row: The decision.
        """
        return redact_text(row.error or row.reason or (row.explanation or {}).get("reason", ""))


class VersionInline(ReadOnlyInline):
    """Versions of a workflow."""

    model = WorkflowVersion
    shown = ("version_num", "live", "shadow", "trigger_event", "hash", "created_at")


@admin.register(Workflow)
class WorkflowAdmin(ReadOnlyAdmin):
    """Workflows."""

    list_display = ("slug", "name", "tenant", "enabled", "created_at")
    list_filter = ("enabled", ("tenant", RedactedChoices))
    search_fields = ("slug", "name")
    inlines = (VersionInline,)


@admin.register(WorkflowVersion)
class WorkflowVersionAdmin(ReadOnlyAdmin):
    """Versions."""

    list_display = ("workflow", "version_num", "live", "shadow", "trigger_event", "created_at")
    list_filter = ("live", "shadow", ("workflow__tenant", RedactedChoices), "workflow")
    list_select_related = ("workflow",)
    search_fields = ("workflow__slug", "=hash")


class RunInline(ReadOnlyInline):
    """Runs of an execution."""

    model = ExecutionRun


@admin.register(Execution)
class ExecutionAdmin(ReadOnlyAdmin):
    """Executions."""

    list_display = ("created_at", "version", "status", "tenant", "id", "event")
    list_filter = ("status", "version__workflow", ("tenant", RedactedChoices))
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


class UseInline(ReadOnlyInline):
    """What uses an artifact."""

    model = ArtifactUse
    shown = ("owner", "page")
    show_change_link = False

    @admin.display(description="of")
    def page(self, row: ArtifactUse) -> SafeString:
        """The page of the owner.

        Args:
            row: The use.
        """
        model = "executionrun" if row.owner == "run" else row.owner
        return link(row.owner_id, f"automate_{model}_change", row.owner_id)


@admin.register(Artifact)
class ArtifactAdmin(ReadOnlyAdmin):
    """Artifacts; who may view them may download them, redacted."""

    list_display = ("created_at", "sha256", "bytes")
    list_filter = ("created_at",)
    search_fields = ("=sha256",)
    shown = ("sha256", "bytes", "created_at", "download")
    inlines = (UseInline,)

    @admin.display(description="content")
    def download(self, row: Artifact) -> SafeString:
        """A link to the content.

        Args:
            row: The artifact.
        """
        return link("Download", "automate_artifact_content", row.pk)

    def get_urls(self) -> list[URLPattern]:
        """Add the page of the content."""
        view = self.admin_site.admin_view(self.content_view)
        return [path("<str:sha256>/content/", view, name="automate_artifact_content"), *super().get_urls()]

    def content_view(self, request: HttpRequest, sha256: str) -> HttpResponse:
        """Send the content as a file, redacted.

        Args:
            request: The request.
            sha256: Which one.

        Raises:
            PermissionDenied: If the user may not view artifacts.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        artifact = get_object_or_404(Artifact, pk=sha256)
        try:
            text = json.dumps(redact(content(artifact.reference)), indent=2, ensure_ascii=False)
        except ArtifactError as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(reverse("admin:automate_artifact_change", args=(sha256,)))
        disposition = f'attachment; filename="{artifact.sha256}.json"'
        headers = {"Content-Disposition": disposition, "X-Content-Type-Options": "nosniff"}
        return HttpResponse(text, content_type="application/json", headers=headers)


@admin.register(AuditLogEntry)
class AuditLogEntryAdmin(ReadOnlyAdmin):
    """The audit log."""

    list_display = ("created_at", "actor", "action", "resource")
    list_filter = ("created_at", "action", "actor")
    search_fields = ("actor", "resource")
