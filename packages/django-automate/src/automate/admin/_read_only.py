"""What the admin pages are made of: everything can be looked at, nothing is edited by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from automate_core.lookups import may_look_up
from automate_core.redaction import redact, redact_text
from automate_core.tenancy import tenants_of
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from automate.artifacts import Reference
from automate.audit import record
from automate.permissions import actor_of, refuse

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


class ReadOnly:
    """Nothing may be added, changed or deleted; texts are redacted, JSON indented too, tenants' rows for their users.

    Who may see them has the model's own view permission, or one of :attr:`seen_with`.
    """

    model: type[models.Model]
    seen_with: tuple[str, ...] = ()
    """Permissions that open the page too."""
    shown: tuple[str, ...] = ()
    """The fields to show; all of them where it is empty."""
    ordered: tuple[str, ...] = ()
    """The texts that a list may be ordered by: of one that may hold a secret, the order would tell it."""

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave the rows of the user's tenants.

        Args:
            request: The request.
        """
        rows: Any = super().get_queryset(request)  # type: ignore[misc] # there is one in every class that has this
        return rows.visible_to(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may see such rows.

        Args:
            request: The request.
            obj: The row.
        """
        user: Any = request.user
        allowed: bool = super().has_view_permission(request, obj)  # type: ignore[misc] # as above
        return allowed or any(user.has_perm(permission) for permission in self.seen_with)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the page is listed.

        Args:
            request: The request.
        """
        return self.has_view_permission(request)

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


class ReadOnlyAdmin(ReadOnly, AnyModelAdmin):
    """A read-only page for one model."""

    show_full_result_count = False
    list_per_page = 50

    class Media:
        """The style of the pages."""

        css: ClassVar = {"all": ["automate_outbox/admin.css"]}

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Whether the address may hold a lookup: one of the filters, or the whole key of a row.

        Args:
            lookup: The lookup.
            value: What it is compared with.
            request: The request.
        """
        return may_look_up(self, lookup)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """List the rows.

        Args:
            request: The request.
            extra_context: As in Django.
        """
        return self.on_record(request, None, partial(super().changelist_view, request, extra_context))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a row.

        Args:
            request: The request.
            object_id: Its primary key; None is a new one, which nobody may add.
            form_url: As in Django.
            extra_context: As in Django.
        """
        needed = "add" if object_id is None else "change" if request.method == "POST" else "view"
        view = partial(super().changeform_view, request, object_id, form_url, extra_context)
        return self.on_record(request, object_id, view, needed)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Refuse.

        Args:
            request: The request.
            object_id: Which row.
            extra_context: As in Django.
        """
        view = partial(super().delete_view, request, object_id, extra_context)
        return self.on_record(request, object_id, view, "delete")

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what was done to a row in the admin.

        Args:
            request: The request.
            object_id: Which row.
            extra_context: As in Django.
        """
        view = partial(super().history_view, request, object_id, extra_context)
        return self.on_record(request, object_id, view)

    def on_record(
        self, request: HttpRequest, object_id: str | None, view: Callable[[], HttpResponse], needed: str = "view"
    ) -> HttpResponse:
        """Answer with a view, and put on record who may not see what it shows, or asks for another tenant's row.

        What the view refuses becomes an answer, and is recorded outside of the transactions of the view: an exception
        would take the record along where requests are transactions (``ATOMIC_REQUESTS``).

        Args:
            request: The request.
            object_id: Which row, as the address says it; None where it is about no row in particular.
            view: The view; it must not raise ``Http404``.
            needed: Which permission for the model it asks for: ``view``, ``add``, ``change`` or ``delete``.

        Returns:
            The answer; for another tenant's row the one that a row gets that does not exist.
        """
        name = "*" if object_id is None else unquote(object_id)
        resource = f"{self.opts.model_name}:{name}"
        details = {"why": "tenant"} if object_id is not None and self._hides(request, name) else {}
        try:
            answer = view()
        except PermissionDenied:
            permission = f"{self.opts.app_label}.{get_permission_codename(needed, self.opts)}"
            return refuse(request, permission, resource, details=details)
        if details:
            record("access.denied", resource, actor=actor_of(request), details=details)
        return answer

    def _hides(self, request: HttpRequest, object_id: str) -> bool:
        """Whether there is such a row, and it is another tenant's."""
        if tenants_of(request.user) is None or self.get_object(request, object_id) is not None:
            return False
        return self._exists(object_id)

    def _exists(self, object_id: str) -> bool:
        try:
            return self.model._default_manager.filter(pk=object_id).exists()
        except (ValidationError, ValueError):
            return False

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
