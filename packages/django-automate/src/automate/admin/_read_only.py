"""What the admin pages are made of: everything can be looked at, nothing is edited by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from automate_core import pages
from automate_core.redaction import redact, redact_text
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from automate.artifacts import Reference

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyInline = admin.TabularInline[Any, Any]
else:  # Django's classes take their parameters from the stubs alone
    AnyModelAdmin, AnyInline = admin.ModelAdmin, admin.TabularInline

__all__ = ["ReadOnlyAdmin", "ReadOnlyInline", "RedactedChoices", "link", "pretty", "seconds_between"]


def pretty(value: Any) -> SafeString:
    """Show JSON, redacted, in a fixed-width block.

    Args:
        value: The JSON value.
    """
    if value is None:
        return format_html("{}", "-")
    if type(value) is Reference:
        page = link(value.sha256, "automate_artifact_change", value.sha256)
        return format_html("{} bytes of JSON, kept as the artifact {}", value.size, page)
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


class ReadOnly(pages.ReadOnly):
    """A page or an inline whose texts are redacted, JSON indented too."""

    model: type[models.Model]
    shown: tuple[str, ...] = ()
    """The fields to show; all of them where it is empty."""
    ordered: tuple[str, ...] = ()
    """The texts that a list may be ordered by: of one that may hold a secret, the order would tell it."""

    def visible_to(self, user: Any, rows: Any) -> Any:
        """Leave the rows that somebody may see; a row may belong to what belongs to a tenant.

        Args:
            user: The user.
            rows: All rows.
        """
        return rows.visible_to(user)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Show JSON and texts through their redacted forms, everything else as it is.

        Args:
            request: The request.
            obj: The row.
        """
        names = self.shown or tuple("event" if f.name == "event_id" else f.name for f in self.model._meta.fields)
        return [self._redacted(name) for name in names]

    def _redacted(self, name: str) -> str:
        """Return the name under which the redacted form of a field is shown, and of anything else the name itself."""
        field = next((field for field in self.model._meta.fields if field.name == name), None)
        if isinstance(field, models.JSONField):
            return f"pretty_{name}"
        is_text = isinstance(field, models.CharField | models.TextField) and not field.choices
        return f"text_{name}" if is_text else name

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
        kind, _, field = name.partition("_")
        if kind not in ("pretty", "text"):
            raise AttributeError(name)

        def show(row: Any) -> SafeString | str:
            value = getattr(row, field)
            return pretty(value) if kind == "pretty" else redact_text(value or "-")

        shown: Any = show  # the admin's own protocol
        shown.short_description, shown.admin_order_field = field.replace("_", " "), None
        if field in self.ordered:
            shown.admin_order_field = field
        return show


class RedactedChoices(admin.AllValuesFieldListFilter):
    """Lets a list be filtered by the values of a field, but for those that hold a secret."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Yield what may be chosen.

        Args:
            changelist: The list.
        """
        return (choice for choice in super().choices(changelist) if _is_clean(str(choice["display"])))


def _is_clean(text: str) -> bool:
    return redact_text(text) == text


class ReadOnlyAdmin(ReadOnly, pages.ReadOnlyPage, AnyModelAdmin):
    """A read-only page for one model."""

    list_per_page = 50

    class Media:
        """The style of the pages."""

        css: ClassVar = {"all": ["automate_outbox/admin.css"]}

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Show texts redacted.

        Args:
            request: The request.
        """
        return [self._redacted(str(name)) for name in super().get_list_display(request)]


class ReadOnlyInline(ReadOnly, AnyInline):
    """Read-only rows within the page of their parent."""

    extra = 0
    can_delete = False
    show_change_link = True
