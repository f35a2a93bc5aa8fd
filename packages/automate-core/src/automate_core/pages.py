"""What the pages of Django's admin have in common in every package that has some. Django itself is not imported.

A page is for looking: nothing is added, changed or deleted by hand, and users see the rows of their tenants. Who
keeps an audit log (django-automate) sees each request first, and hears of the rows that an action leaves out and of
what Django refuses past the page, so that whoever is refused is on record, whichever package the page is of; see
:func:`answer_with`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

from automate_core.lookups import may_look_up
from automate_core.tenancy import within

__all__ = ["ReadOnly", "ReadOnlyPage", "answer_with"]

_Response = TypeVar("_Response")
Answer = Callable[[Any, Any, "str | None", Callable[[], Any], str], Any]
LeaveOut = Callable[[Any, Any, str, Sequence[Any], str], None]
NoteRefusal = Callable[[Any, Any], None]


def _as_it_is(page: Any, request: Any, object_id: str | None, view: Callable[[], Any], needed: str) -> Any:
    return view()


def _unrecorded(page: Any, request: Any, action: str, keys: Sequence[Any], why: str) -> None:
    """Without an audit log there is nothing to be done."""


def _unnoted(page: Any, request: Any) -> None:
    """As above."""


_answer: Answer = _as_it_is
_leave_out: LeaveOut = _unrecorded
_note_refusal: NoteRefusal = _unnoted


def answer_with(answer: Answer, leave_out: LeaveOut, note_refusal: NoteRefusal) -> None:
    """Let a function answer the requests of every :class:`ReadOnlyPage`, as long as this process lives.

    Args:
        answer: Gets the page, the request, which row is asked for (the text of the address, or None), the view, which
            is called without arguments, and which permission for the model it needs (``view``, ``add``, ``change`` or
            ``delete``). Returns the answer.
        leave_out: Puts on record which rows an action leaves out. Gets the page, the request, the name of the action,
            the primary keys of the rows, and why: ``tenant`` or ``permission``.
        note_refusal: Puts on record that somebody may not see such rows where Django refuses it, by an exception that
            rolls back the transaction of the request: see :meth:`ReadOnlyPage.has_view_permission`. Gets the page and
            the request.
    """
    global _answer, _leave_out, _note_refusal
    _answer, _leave_out, _note_refusal = answer, leave_out, note_refusal


class ReadOnly:
    """Mixed into a ``ModelAdmin`` or an inline: rows are looked at, never changed, by users of their tenants.

    Who may see them has the model's own view permission, or one of :attr:`seen_with`.
    """

    seen_with: ClassVar[tuple[str, ...]] = ()
    """Permissions that open the page too."""

    def get_queryset(self, request: Any) -> Any:
        """Leave the rows of the user's tenants.

        Args:
            request: The request.
        """
        rows = super().get_queryset(request)  # type: ignore[misc] # there is one in every class that has this
        return self.visible_to(request.user, rows)

    def visible_to(self, user: Any, rows: Any) -> Any:
        """Leave the rows that somebody may see: by their column ``tenant``, unless the page knows better.

        Args:
            user: The user.
            rows: All rows, a query set.
        """
        return within(rows, user)

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        """Whether the user may see such rows.

        Args:
            request: The request.
            obj: The row.
        """
        allowed: bool = super().has_view_permission(request, obj)  # type: ignore[misc] # as above
        return allowed or any(request.user.has_perm(permission) for permission in self.seen_with)

    def has_module_permission(self, request: Any) -> bool:
        """Whether the page is listed.

        Args:
            request: The request.
        """
        return self.has_view_permission(request)

    def has_add_permission(self, request: Any, *args: Any) -> bool:
        """Return False.

        Args:
            request: The request.
            *args: The parent, in an inline.
        """
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Return False.

        Args:
            request: The request.
            obj: The row.
        """
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Return False.

        Args:
            request: The request.
            obj: The row.
        """
        return False


class ReadOnlyPage(ReadOnly):
    """Mixed into a ``ModelAdmin``: a read-only page of one model, whose refusals are on record."""

    show_full_result_count = False
    recorded_as: ClassVar[str] = ""
    """What a row is called in the audit log; left out, by the name of its model."""

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        """Whether the user may see such rows. Who may not, and asks for them to complete a field, is on record.

        What completes fields is a view of the site, for all models at once, so no view of the page is asked then.

        Args:
            request: The request.
            obj: The row.
        """
        allowed = super().has_view_permission(request, obj)
        if not allowed and _completes(request) and not getattr(request, "is_refusal_noted", False):
            request.is_refusal_noted = True  # whoever lists the pages in the answer asks them all
            _note_refusal(self, request)
        return allowed

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Whether the address may hold a lookup: one of the filters, or the whole key of a row.

        Args:
            lookup: The lookup.
            value: What it is compared with; no row has a NUL.
            request: The request.
        """
        return may_look_up(self, lookup, str(value))

    def get_object(self, request: Any, object_id: str, from_field: str | None = None) -> Any:
        """Find a row.

        Args:
            request: The request.
            object_id: Its primary key, as the address says it; the key of no row has a NUL.
            from_field: As in Django.
        """
        if "\0" in object_id:
            return None
        return super().get_object(request, object_id, from_field)  # type: ignore[misc] # as above

    def get_search_results(self, request: Any, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Search the rows, for the list and for whoever completes a field.

        Args:
            request: The request.
            queryset: The rows.
            search_term: What is looked for; no row has a NUL.
        """
        if "\0" in search_term:
            return queryset.none(), False
        found: tuple[Any, bool] = super().get_search_results(request, queryset, search_term)  # type: ignore[misc] # as above
        return found

    def on_record(
        self, request: Any, object_id: str | None, view: Callable[[], _Response], needed: str = "view"
    ) -> _Response:
        """Answer with a view, and put on record who may not see what it shows, or asks for another tenant's row.

        Args:
            request: The request.
            object_id: Which row, as the address says it; None where it is about no row in particular.
            view: The view; it must not raise ``Http404``.
            needed: Which permission for the model it asks for: ``view``, ``add``, ``change`` or ``delete``.

        Returns:
            The answer; for another tenant's row the one that a row gets that does not exist.
        """
        answered: _Response = _answer(self, request, object_id, view, needed)
        return answered

    def leave_out(self, request: Any, action: str, keys: Sequence[Any], why: str) -> None:
        """Put on record which of the chosen rows an action leaves out, as the user may not do that to them.

        Args:
            request: The request.
            action: The name of the action.
            keys: Their primary keys.
            why: ``tenant``, or ``permission``.
        """
        _leave_out(self, request, action, keys, why)

    def changelist_view(self, request: Any, extra_context: dict[str, Any] | None = None) -> Any:
        """List the rows.

        Args:
            request: The request.
            extra_context: As in Django.
        """
        view = super().changelist_view  # type: ignore[misc] # as above
        return self.on_record(request, None, partial(view, request, extra_context))

    def changeform_view(
        self,
        request: Any,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show a row.

        Args:
            request: The request.
            object_id: Its primary key; None is a new one, which nobody may add.
            form_url: As in Django.
            extra_context: As in Django.
        """
        needed = "add" if object_id is None else "change" if request.method == "POST" else "view"
        view = super().changeform_view  # type: ignore[misc] # as above
        return self.on_record(request, object_id, partial(view, request, object_id, form_url, extra_context), needed)

    def delete_view(self, request: Any, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Refuse.

        Args:
            request: The request.
            object_id: Which row.
            extra_context: As in Django.
        """
        view = super().delete_view  # type: ignore[misc] # as above
        return self.on_record(request, object_id, partial(view, request, object_id, extra_context), "delete")

    def history_view(self, request: Any, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Show what was done to a row in the admin.

        Args:
            request: The request.
            object_id: Which row.
            extra_context: As in Django.
        """
        view = super().history_view  # type: ignore[misc] # as above
        return self.on_record(request, object_id, partial(view, request, object_id, extra_context))


def _completes(request: Any) -> bool:
    """Whether a request is for what completes a field in the admin."""
    match = getattr(request, "resolver_match", None)
    return match is not None and match.app_names[-1:] == ["admin"] and match.url_name == "autocomplete"
