"""Large values, and what uses them."""

from __future__ import annotations

import json
from functools import partial

from automate_core.errors import ArtifactError
from automate_core.redaction import redact
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.defaults import page_not_found

from automate.admin._read_only import ReadOnlyAdmin, ReadOnlyInline, link
from automate.artifacts import content
from automate.models import Artifact, ArtifactUse
from automate.permissions import VIEW_RUN

__all__: list[str] = []


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
    ordered = ("sha256",)
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
        return [path("<str:object_id>/content/", view, name="automate_artifact_content"), *super().get_urls()]

    def content_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send the content as a file, redacted.

        Args:
            request: The request.
            object_id: The digest of the artifact.
        """
        return self.on_record(request, object_id, partial(self._send, request, object_id))

    def _send(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        artifact = self.get_object(request, object_id)
        if artifact is None:
            return page_not_found(request, Http404("There is no such artifact."))
        try:
            text = json.dumps(redact(content(artifact.reference)), indent=2, ensure_ascii=False)
        except ArtifactError as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(reverse("admin:automate_artifact_change", args=(object_id,)))
        disposition = f'attachment; filename="{artifact.sha256}.json"'
        headers = {"Content-Disposition": disposition, "X-Content-Type-Options": "nosniff"}
        return HttpResponse(text, content_type="application/json", headers=headers)
