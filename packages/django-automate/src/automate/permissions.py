"""Who may do what: the permissions, and how a refusal becomes one that is on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from automate_core.tenancy import may_see, tenants_of

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

__all__ = [
    "CANCEL_RUN",
    "PUBLISH_WORKFLOW",
    "REPLAY_RUN",
    "VIEW_RAW_PAYLOAD",
    "VIEW_RUN",
    "actor_of",
    "answer",
    "may",
    "note_refusal",
    "refuse",
]

VIEW_RUN = "automate.view_run"
"""To see events, decisions, executions, runs, steps and artifacts, redacted."""
VIEW_RAW_PAYLOAD = "automate.view_raw_payload"
"""To reveal the payload of an event as it was sent; each time is on record."""
CANCEL_RUN = "automate.cancel_run"
"""To cancel executions that have not ended."""
REPLAY_RUN = "automate.replay_run"
"""To requeue the dead letters of events and runs: events are decided again, runs carried on."""
PUBLISH_WORKFLOW = "automate.publish_workflow"
"""To publish workflows, and to enable and disable them."""


def may(user: Any, permission: str, *, tenant: str | None = None) -> bool:
    """Whether somebody may do something.

    Args:
        user: A user as Django has them; one that is not active may do nothing.
        permission: One of the permissions of this module.
        tenant: Whose it is that it is done to; None where it is nobody's in particular.
    """
    return bool(user.has_perm(permission)) and (tenant is None or may_see(user, tenant))


def actor_of(request: HttpRequest) -> str:
    """Return who sends a request, for the audit log.

    Args:
        request: The request.
    """
    user: Any = request.user
    return f"{user.get_username() or 'anonymous'} (admin)"


def refuse(
    request: HttpRequest, permission: str, resource: str, *, tenant: str = "", details: Mapping[str, Any] | None = None
) -> HttpResponse:
    """Put a refusal on record, and answer with it.

    It is an answer and no exception, which would take the record along where requests are transactions
    (``ATOMIC_REQUESTS``).

    Args:
        request: The request.
        permission: What was missing.
        resource: What was asked for: ``<kind>:<name>``.
        tenant: Whose it is.
        details: What else is to be known.
    """
    from django.core.exceptions import PermissionDenied
    from django.views.defaults import permission_denied

    from automate.audit import record

    details = {"permission": permission, **(details or {})}
    record("access.denied", resource, actor=actor_of(request), tenant=tenant, details=details)
    return permission_denied(request, PermissionDenied(f"This needs the permission {permission}."))


def note_refusal(page: Any, request: HttpRequest) -> None:
    """Put on record who may not see the rows of a page where Django refuses it; :mod:`automate_core.pages` calls it.

    Where requests are transactions (``ATOMIC_REQUESTS``), it is written when that of the request is rolled back.

    Args:
        page: The page, a ``ModelAdmin``.
        request: The request.
    """
    from automate._late_entries import put
    from automate.audit import AuditEntry
    from automate.posted_actions import resource_of

    details = {"permission": _permission(page, "view")}
    put(AuditEntry("access.denied", resource_of(page, "*"), actor_of(request), details=details))


def answer(
    page: Any, request: HttpRequest, object_id: str | None, view: Callable[[], HttpResponse], needed: str
) -> HttpResponse:
    """Answer a request to a page of the admin, and put a refusal on record; :mod:`automate_core.pages` calls it.

    What the view refuses becomes an answer, and is recorded outside of the transactions of the view: an exception
    would take the record along where requests are transactions (``ATOMIC_REQUESTS``).

    Args:
        page: The page, a ``ModelAdmin``.
        request: The request.
        object_id: Which row, as the address says it; None where it is about no row in particular.
        view: The view.
        needed: Which permission for the model it asks for: ``view``, ``add``, ``change`` or ``delete``.

    Returns:
        The answer; for another tenant's row the one that a row gets that does not exist.
    """
    from django.contrib.admin.utils import unquote
    from django.core.exceptions import PermissionDenied

    from automate.audit import record
    from automate.posted_actions import answer_action, resource_of

    name = "*" if object_id is None else unquote(object_id)
    resource = resource_of(page, name)
    if object_id is None and needed == "view" and request.method == "POST":
        view = partial(answer_action, page, request, view)
    details = {"why": "tenant"} if object_id is not None and _hides(page, request, name) else {}
    try:
        answered = view()
    except PermissionDenied:
        return refuse(request, _permission(page, needed), resource, details=details)
    if details:
        record("access.denied", resource, actor=actor_of(request), details=details)
    return answered


def _permission(page: Any, needed: str) -> str:
    from django.contrib.auth import get_permission_codename

    return f"{page.opts.app_label}.{get_permission_codename(needed, page.opts)}"


def _hides(page: Any, request: HttpRequest, object_id: str) -> bool:
    """Whether there is such a row, and it is another tenant's."""
    if "\0" in object_id or tenants_of(request.user) is None or page.get_object(request, object_id) is not None:
        return False
    from django.core.exceptions import ValidationError

    try:
        found: bool = page.model._default_manager.filter(pk=object_id).exists()
    except (ValidationError, ValueError):
        return False
    return found
