"""Events, their dedupe keys, and what was decided about them."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from automate_core.errors import ArtifactError
from automate_core.redaction import redact_text
from automate_core.rules import format_explanation
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.defaults import page_not_found

from automate.admin._filters import OwnWorkflowsFilter
from automate.admin._read_only import ReadOnlyAdmin, RedactedChoices, link
from automate.artifacts import content
from automate.audit import record
from automate.models import Decision, DedupeKey, Event, Execution
from automate.permissions import VIEW_RAW_PAYLOAD, VIEW_RUN, actor_of, may, refuse

__all__: list[str] = []


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Events."""

    seen_with = (VIEW_RUN,)
    list_display = ("created_at", "type", "source", "subject", "tenant", "id")
    list_filter = ("created_at", *((name, RedactedChoices) for name in ("type", "source", "tenant")))
    search_fields = ("=id", "=type", "=subject")

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
        """
        return self.on_record(request, object_id, partial(self._reveal, request, object_id))

    def _reveal(self, request: HttpRequest, object_id: str) -> HttpResponse:
        event = self.get_object(request, object_id)
        if event is None:
            return page_not_found(request, Http404("There is no such event."))
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
    search_fields = ("=key", "=event_id")


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    """Decisions, with what the rules saw."""

    seen_with = (VIEW_RUN,)
    list_display = ("created_at", "version", "matched", "why", "shadow", "event")
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
