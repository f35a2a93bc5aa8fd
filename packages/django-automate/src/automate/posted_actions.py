"""Actions that the lists of the admin are asked for, and the record of those that are refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from automate_core.tenancy import tenants_of

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

__all__ = ["answer_action", "leave_out", "resource_of"]

NAMED = 24
"""Rows of one refusal with an entry of their own; the others are counted."""


def resource_of(page: Any, name: Any) -> str:
    """Return what a row is called in the audit log.

    Args:
        page: The page of its model, a ``ModelAdmin``.
        name: Its primary key; ``*`` is no row in particular.
    """
    return f"{page.recorded_as or page.opts.model_name}:{name}"


def answer_action(page: Any, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
    """Answer who posts to a list, and put on record the action and the rows that are not the user's.

    Args:
        page: The page, a ``ModelAdmin``.
        request: The request.
        view: The view, which acts on the rows that the user may see.

    Returns:
        The answer of the view; for an action that the user may not do, a refusal; for keys that no row can have, a bad
        request.
    """
    from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
    from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
    from django.views.defaults import bad_request, permission_denied

    action, keys = _posted(request), list(dict.fromkeys(request.POST.getlist(ACTION_CHECKBOX_NAME)))
    if not page.has_view_permission(request) or action not in _declared(page):
        return view()
    if any("\0" in key for key in keys):
        return bad_request(request, BadRequest("There is no such row."))
    try:
        hidden = _hidden(page, request, keys)
    except (ValidationError, ValueError, OverflowError):
        return bad_request(request, BadRequest("There is no such row."))
    if action not in page.get_actions(request):
        leave_out(page, request, action, [key for key in keys or ["*"] if key not in hidden], "permission")
        leave_out(page, request, action, hidden, "tenant")
        return permission_denied(request, PermissionDenied(f"You may not do this: {action}."))
    answered = view()
    leave_out(page, request, action, hidden, "tenant")
    return answered


def leave_out(page: Any, request: HttpRequest, action: str, keys: Sequence[Any], why: str) -> None:
    """Put on record that an action was refused for some rows; :mod:`automate_core.pages` calls it.

    Args:
        page: The page, a ``ModelAdmin``.
        request: The request.
        action: The name of the action.
        keys: The primary keys of the rows. The first two dozen have an entry each, all others one with their count.
        why: ``tenant``, or ``permission``.
    """
    from automate.audit import AuditEntry, record_many
    from automate.permissions import actor_of

    details = {"action": action, "why": why}
    refused: list[tuple[Any, dict[str, Any]]] = [(key, details) for key in keys[:NAMED]]
    if more := len(keys) - len(refused):
        refused.append(("*", {**details, "more": more}))
    actor = actor_of(request)
    record_many([AuditEntry("access.denied", resource_of(page, key), actor, details=about) for key, about in refused])


def _posted(request: HttpRequest) -> str:
    """Return the action whose button was pushed, found as Django finds it; empty is none."""
    posted = request.POST.getlist("action")
    try:
        index = int(request.POST.get("index", 0))
    except ValueError:
        index = 0
    if -len(posted) <= index < len(posted):
        return posted[index]
    return posted[-1] if posted else ""


def _declared(page: Any) -> set[str]:
    """Return the names of the actions of a page and of its site, whoever may do them."""
    return {getattr(action, "__name__", action) for action in page.actions or ()} | {
        name for name, _ in page.admin_site.actions
    }


def _hidden(page: Any, request: HttpRequest, keys: Collection[str]) -> list[str]:
    """Return which keys are those of rows that the user may not see."""
    primary = page.model._meta.pk
    wanted = {primary.to_python(key): key for key in keys}
    if not wanted or tenants_of(request.user) is None:
        return []
    there = set(page.model._default_manager.filter(pk__in=wanted).values_list("pk", flat=True))
    shown = set(page.get_queryset(request).filter(pk__in=wanted).values_list("pk", flat=True))
    return [key for pk, key in wanted.items() if pk in there - shown]
