"""Who may do what: the permissions, and how a refusal becomes one that is on record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from automate_core.tenancy import may_see

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

__all__ = [
    "CANCEL_RUN",
    "PUBLISH_WORKFLOW",
    "REPLAY_RUN",
    "VIEW_RAW_PAYLOAD",
    "VIEW_RUN",
    "actor_of",
    "may",
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
