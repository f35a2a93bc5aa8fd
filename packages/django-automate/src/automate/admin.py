"""Read-only pages in Django's admin: everything can be looked at, nothing is edited by hand."""

from __future__ import annotations

import json
from typing import Any

from automate_core.errors import ArtifactError
from automate_core.redaction import redact, redact_text
from automate_core.rules import format_explanation
from automate_core.tenancy import may_see
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from automate import publish
from automate._admin_filters import OwnTenantsFilter, OwnWorkflowsFilter
from automate._read_only import ReadOnlyAdmin, ReadOnlyInline, RedactedChoices, link, seconds_between
from automate.artifacts import content
from automate.audit import record
from automate.audit.verification import state_of
from automate.cancellation import cancel_executions
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
from automate.permissions import (
    CANCEL_RUN,
    PUBLISH_WORKFLOW,
    VIEW_RAW_PAYLOAD,
    VIEW_RUN,
    actor_of,
    may,
    refuse,
)

__all__: list[str] = []


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Events."""

    seen_with = (VIEW_RUN,)
    list_display = ("created_at", "type", "source", "subject", "tenant", "id")
    list_filter = ("created_at", *((name, RedactedChoices) for name in ("type", "source", "tenant")))
    search_fields = ("=id", "type", "subject")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Show what became of the event too.

        Args:
            request: The request.
            obj: The event.
        """
        above = ["decisions", "executions", *(["as_sent"] if may(request.user, VIEW_RAW_PAYLOAD) else [])]
        return [*above, *super().get_fields(request, obj)]  # above the payload, which can be long

    @admin.display(description="as it was sent")
    def as_sent(self, row: Event) -> SafeString:
        """A link to the page that reveals the payload.

        Args:
            row: The event.
        """
        return link("Reveal the payload", "automate_event_raw", row.pk)

    def get_urls(self) -> list[URLPattern]:
        """Add the page that reveals a payload."""
        view = self.admin_site.admin_view(self.raw_view)
        return [path("<path:object_id>/raw/", view, name="automate_event_raw"), *super().get_urls()]

    def raw_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why, put it on record, and show the payload as it was sent.

        Args:
            request: The request; the reason is posted.
            object_id: Which event.

        Raises:
            Http404: If there is no such event among those that the user may see.
        """
        event = self.get_object(request, object_id)
        if event is None:
            raise Http404
        if not may(request.user, VIEW_RAW_PAYLOAD, tenant=event.tenant):
            return refuse(request, VIEW_RAW_PAYLOAD, f"event:{event.pk}", tenant=event.tenant)
        reason = request.POST.get("reason", "").strip()[:500]
        context = {
            **self.admin_site.each_context(request),
            "title": "Reveal a payload",
            "opts": self.opts,
            "event": event,
            "payload": None,
            "missing": request.method == "POST" and not reason,
        }
        if reason:
            try:
                payload = json.dumps(content(event.payload), indent=2, ensure_ascii=False)
            except ArtifactError as error:
                self.message_user(request, str(error), messages.ERROR)
                return HttpResponseRedirect(reverse("admin:automate_event_change", args=(event.pk,)))
            details = {"reason": reason}
            record(
                "payload.revealed", f"event:{event.pk}", actor=actor_of(request), tenant=event.tenant, details=details
            )
            context["payload"] = payload
        return TemplateResponse(request, "admin/automate/event/raw.html", context)

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

    seen_with = (VIEW_RUN,)
    list_display = ("key", "source", "tenant", "event", "expires_at")
    list_filter = (("source", RedactedChoices), ("tenant", RedactedChoices))
    search_fields = ("key", "=event_id")


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    """Decisions, with what the rules saw."""

    seen_with = (VIEW_RUN,)
    list_display = ("created_at", "version", "matched", "shadow", "event", "why")
    list_filter = ("matched", "shadow", ("version__workflow", OwnWorkflowsFilter))
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

    seen_with = (PUBLISH_WORKFLOW,)
    model = WorkflowVersion
    shown = ("version_num", "live", "shadow", "trigger_event", "hash", "created_at")


@admin.register(Workflow)
class WorkflowAdmin(ReadOnlyAdmin):
    """Workflows."""

    seen_with = (PUBLISH_WORKFLOW,)
    list_display = ("slug", "name", "tenant", "enabled", "created_at")
    list_filter = ("enabled", ("tenant", RedactedChoices))
    search_fields = ("slug", "name")
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
        self._switch(request, queryset, publish.enable, "enabled")

    @admin.action(description="Disable selected workflows", permissions=["publish"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Workflow]) -> None:
        """Let nothing start workflows any more.

        Args:
            request: The request.
            queryset: The chosen ones.
        """
        self._switch(request, queryset, publish.disable, "disabled")

    def _switch(self, request: HttpRequest, queryset: QuerySet[Workflow], switch: Any, done: str) -> None:
        """Switch those that are the user's: one of no tenant is everybody's to see, and not everybody's to switch."""
        own = [row.slug for row in queryset if may_see(request.user, row.tenant)]
        for slug in own:
            switch(slug, actor=actor_of(request))
        others = len(queryset) - len(own)
        text = f"{len(own)} workflows {done}." + (f" {others} are not your tenant's." if others else "")
        self.message_user(request, text, messages.WARNING if others else messages.SUCCESS)


@admin.register(WorkflowVersion)
class WorkflowVersionAdmin(ReadOnlyAdmin):
    """Versions."""

    seen_with = (PUBLISH_WORKFLOW,)
    list_display = ("workflow", "version_num", "live", "shadow", "trigger_event", "created_at")
    list_filter = ("live", "shadow", ("workflow__tenant", OwnTenantsFilter), ("workflow", OwnWorkflowsFilter))
    list_select_related = ("workflow",)
    search_fields = ("workflow__slug", "=hash")


class RunInline(ReadOnlyInline):
    """Runs of an execution."""

    seen_with = (VIEW_RUN,)
    model = ExecutionRun


@admin.register(Execution)
class ExecutionAdmin(ReadOnlyAdmin):
    """Executions."""

    seen_with = (VIEW_RUN,)
    list_display = ("created_at", "version", "status", "tenant", "id", "event")
    list_filter = ("status", ("version__workflow", OwnWorkflowsFilter), ("tenant", RedactedChoices))
    list_select_related = ("version__workflow",)
    search_fields = ("=id", "=event_id", "version__workflow__slug")
    inlines = (RunInline,)
    actions = ("cancel",)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may cancel.

        Args:
            request: The request.
        """
        return may(request.user, CANCEL_RUN)

    @admin.action(description="Cancel selected executions", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Execution]) -> None:
        """Cancel those of the chosen executions that have not ended.

        Args:
            request: The request.
            queryset: The chosen ones.
        """
        ids = list(queryset.order_by().values_list("pk", flat=True))
        cancelled = cancel_executions(ids, actor=actor_of(request))
        text = f"{cancelled} executions cancelled."
        if ended := len(ids) - cancelled:
            text += f" {ended} had ended."
        self.message_user(request, text, messages.WARNING if ended else messages.SUCCESS)


class StepInline(ReadOnlyInline):
    """Steps of a run."""

    seen_with = (VIEW_RUN,)
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

    seen_with = (VIEW_RUN,)
    list_display = ("started_at", "version", "status", "seconds", "number", "id")
    list_filter = ("status", ("execution__version__workflow", OwnWorkflowsFilter))
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

    seen_with = (VIEW_RUN,)
    list_display = ("finished_at", "step_id", "action", "attempt", "status", "run_id")
    list_filter = ("status", "action")
    search_fields = ("=run__id", "step_id", "action")


class UseInline(ReadOnlyInline):
    """What uses an artifact."""

    seen_with = (VIEW_RUN,)
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

    seen_with = (VIEW_RUN,)
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
        artifact = self.get_object(request, sha256)
        if artifact is None:
            raise Http404
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
    """The audit log, and whether each entry is what was written; ``automate audit verify`` looks at all of it."""

    list_display = ("position", "created_at", "actor", "action", "resource", "tenant", "state")
    list_filter = ("created_at", "action", "tenant", "actor")
    search_fields = ("actor", "action", "resource")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Show the state of the entry too.

        Args:
            request: The request.
            obj: The entry.
        """
        return ["state", *super().get_fields(request, obj)]

    @admin.display(description="chain")
    def state(self, row: AuditLogEntry) -> str:
        """Whether the entry is what was written.

        Args:
            row: The entry.
        """
        return state_of(row)
