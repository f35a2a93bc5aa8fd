"""The outbox in the admin: for looking, and for requeueing and discarding dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from automate_core.pages import ReadOnlyPage
from automate_core.redaction import redact, redact_text
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models
from django.template.response import TemplateResponse
from django.utils.html import format_html

from automate_outbox.dead import BATCH, DeadLetters, discard, requeue
from automate_outbox.handlers import registered_kinds, requeue_permission
from automate_outbox.models import OutboxJob

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    _OutboxJobAdmin = admin.ModelAdmin[OutboxJob]
else:
    _OutboxJobAdmin = admin.ModelAdmin

__all__ = ["OutboxJobAdmin"]


_TEXTS = (models.CharField, models.TextField, models.JSONField)


def _redacted(name: str) -> Callable[[OutboxJob], str]:
    """Return what shows a field of an item without its secrets."""

    def show(row: OutboxJob) -> str:
        value = getattr(row, name)
        if isinstance(value, str):
            return redact_text(value or "-")
        return format_html("<pre>{}</pre>", json.dumps(redact(value), indent=2, ensure_ascii=False, default=str))

    shown: Any = show  # the admin's own protocol
    shown.__name__ = name
    shown.short_description = name.replace("_", " ")  # and no order, which would tell what is redacted
    return show


@admin.register(OutboxJob)
class OutboxJobAdmin(ReadOnlyPage, _OutboxJobAdmin):
    """Lists the items; a row is changed by stores only, under its fence, but for those that are dead."""

    actions = ("requeue_dead", "discard_dead")
    list_display = (
        "id", _redacted("kind"), "status", _redacted("queue"),
        "attempts", "crashes", "next_attempt_at", _redacted("lease_owner"),
    )  # fmt: skip
    list_filter = ("status", "created_at")
    search_fields = ("=id", "=fingerprint", "kind", "=tenant", "lease_owner", "last_error")
    ordering = ("-id",)

    class Media:
        """The style of the pages."""

        css: ClassVar = {"all": ["automate_outbox/admin.css"]}

    def get_readonly_fields(self, request: HttpRequest, obj: OutboxJob | None = None) -> list[Any]:
        """Show every field, redacted, but the fencing token, which is a capability.

        Args:
            request: The request.
            obj: The row.
        """
        return [
            _redacted(field.name) if isinstance(field, _TEXTS) and not field.choices else field.name
            for field in self.opts.fields
            if field.name != "lease_token"
        ]

    def get_fields(self, request: HttpRequest, obj: OutboxJob | None = None) -> list[Any]:
        """Show the same fields.

        Args:
            request: The request.
            obj: The row.
        """
        return [*self.get_readonly_fields(request, obj)]

    # -- dead letters -----------------------------------------------------------------------------------------------

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may requeue items of some kind: what :func:`requeue_permission` says of it.

        Args:
            request: The request.
        """
        return any(request.user.has_perm(requeue_permission(kind)) for kind in ("", *registered_kinds()))

    def has_discard_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may discard: the model's delete permission.

        Args:
            request: The request.
        """
        return bool(request.user.has_perm("automate_outbox.delete_outboxjob"))

    @admin.action(description="Requeue selected dead letters", permissions=["requeue"])
    def requeue_dead(self, request: HttpRequest, queryset: QuerySet[OutboxJob]) -> HttpResponse | None:
        """Ask, with the count, and make the dead ones of the chosen items due again.

        Args:
            request: The request.
            queryset: The chosen items, alive or dead.
        """
        return self._change_dead(request, queryset, "requeue")

    @admin.action(description="Discard selected dead letters", permissions=["discard"])
    def discard_dead(self, request: HttpRequest, queryset: QuerySet[OutboxJob]) -> HttpResponse | None:
        """Ask, with the count, and delete the dead ones of the chosen items.

        Args:
            request: The request.
            queryset: The chosen items, alive or dead.
        """
        return self._change_dead(request, queryset, "discard")

    def _change_dead(self, request: HttpRequest, queryset: QuerySet[OutboxJob], verb: str) -> HttpResponse | None:
        dead, kept = queryset.filter(status="FAILED").order_by(), list[int]()
        if verb == "requeue":
            kinds = dead.values_list("kind", flat=True).distinct()
            others = [kind for kind in kinds if not request.user.has_perm(requeue_permission(kind))]
            kept = list(dead.filter(kind__in=others).values_list("pk", flat=True))
            dead = dead.exclude(kind__in=others)
        ids = sorted(dead.values_list("pk", flat=True))
        if ids and "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": f"{verb.capitalize()} dead letters?",
                "opts": self.opts,
                "verb": verb,
                "count": len(ids),
                "action": request.POST["action"],
                "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
                "select_across": request.POST.get("select_across", "0"),
                "checkbox_name": ACTION_CHECKBOX_NAME,
            }
            return TemplateResponse(request, "admin/automate_outbox/outboxjob/confirm.html", context)
        self.leave_out(request, f"{verb}_dead", kept, "permission")
        # In parts, as the ids are parameters of each statement, and are written down in each audit entry.
        parts = [DeadLetters(ids=tuple(ids[start : start + BATCH])) for start in range(0, len(ids), BATCH)]
        actor = f"{request.user.get_username()} (admin)"
        if verb == "requeue":
            outcomes = [requeue(letters, actor=actor, using=queryset.db) for letters in parts]
            done, left = sum(outcome.requeued for outcome in outcomes), sum(outcome.left for outcome in outcomes)
            text = f"{done} dead letters requeued."
        else:
            done, left = sum(discard(letters, actor=actor, using=queryset.db) for letters in parts), 0
            text = f"{done} dead letters discarded."
        if left:
            text += f" {left} stay dead: there is nothing that they could carry on, or it is not their turn."
        if gone := len(ids) - done - left:
            text += f" {gone} had gone meanwhile."
        if kept:
            text += f" {len(kept)} are of kinds that you may not requeue."
        self.message_user(request, text, messages.WARNING if done < len(ids) or kept or not ids else messages.SUCCESS)
        return None
