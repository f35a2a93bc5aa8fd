"""Whoever is refused in the admin is on record, where requests are transactions too."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import pytest
from automate.events import emit_event
from automate.models import Artifact, ArtifactUse, AuditLogEntry, Event
from automate.permissions import VIEW_RAW_PAYLOAD, VIEW_RUN
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

pytestmark = pytest.mark.usefixtures("db")

OWN, FOREIGN = "acme", "umbrella"


def tenants_of_user(user: Any) -> set[str]:
    """Return what TENANTS_OF_USER of these tests says."""
    return {OWN}


@pytest.fixture(params=[False, True], ids=["autocommit", "atomic_requests"], autouse=True)
def requests_in_transactions(request: Any, configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each request be a transaction, or none."""
    configured(TENANTS_OF_USER=f"{__name__}.tenants_of_user")
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", request.param)


def staff(*permissions: str) -> Client:
    """Return a client of a member of the staff who has some permissions."""
    user = User.objects.create_user("anna", is_staff=True)
    for permission in permissions:
        user.user_permissions.add(Permission.objects.get(codename=permission.partition(".")[2]))
    client = Client()
    client.force_login(user)
    return client


def an_event(tenant: str) -> Event:
    """Emit an event with an artifact, and return it."""
    event = Event.objects.get(pk=emit_event("a.b", {"n": 1}, tenant=tenant))
    artifact = Artifact.objects.create(sha256=tenant[0] * 64, bytes=1, created_at=timezone.now())
    ArtifactUse.objects.create(artifact=artifact, owner="event", owner_id=event.pk)
    return event


def denied() -> list[tuple[str, str, dict[str, Any]]]:
    """Return who was refused what, and why."""
    entries = AuditLogEntry.objects.filter(action="access.denied").order_by("position")
    return [(entry.actor, entry.resource, entry.details) for entry in entries]


@pytest.mark.parametrize(
    ("method", "page", "status", "needed"),
    [
        ("get", "event_change", 302, None),
        ("post", "event_change", None, None),
        ("get", "event_delete", 403, "automate.delete_event"),
        ("post", "event_delete", 403, "automate.delete_event"),
        ("get", "event_history", 302, None),
        ("get", "event_raw", 404, None),
        ("post", "event_raw", 404, None),
        ("get", "artifact_content", 404, None),
    ],
)
def test_asking_for_another_tenants_row_is_on_record_and_answered_as_if_there_were_none(
    method: str, page: str, status: int | None, needed: str | None
) -> None:
    event, kind = an_event(FOREIGN), page.partition("_")[0]
    client = staff(VIEW_RUN, VIEW_RAW_PAYLOAD)
    pk = {"event": str(event.pk), "artifact": FOREIGN[0] * 64}[kind]
    nobodys = {"event": "00000000-0000-7000-8000-000000000000", "artifact": "f" * 64}[kind]

    answers = [
        getattr(client, method)(reverse(f"admin:automate_{page}", args=[which]), {"reason": "curious"})
        for which in (pk, nobodys)
    ]

    assert len({answer.status_code for answer in answers}) == 1, "the answer tells whether there is such a row"
    assert status in (None, answers[0].status_code)
    expected = {"why": "tenant"} if needed is None else {"why": "tenant", "permission": needed}
    hidden = [entry for entry in denied() if entry[1] == f"{kind}:{pk}"]
    assert len(hidden) == 1
    assert hidden[0][0] == "anna (admin)"
    assert {name: hidden[0][2][name] for name in expected} == expected
    assert not any("why" in details for _, resource, details in denied() if resource != f"{kind}:{pk}")


@pytest.mark.parametrize(
    ("page", "resource", "needed"),
    [
        ("event_changelist", "event:*", "automate.view_event"),
        ("event_change", "event:{event}", "automate.view_event"),
        ("event_history", "event:{event}", "automate.view_event"),
        ("event_delete", "event:{event}", "automate.delete_event"),
        ("event_add", "event:*", "automate.add_event"),
        ("event_raw", "event:{event}", VIEW_RAW_PAYLOAD),
        ("auditlogentry_changelist", "auditlogentry:*", "automate.view_auditlogentry"),
        ("artifact_content", "artifact:{artifact}", "automate.view_artifact"),
    ],
)
def test_staff_without_the_permission_get_403_and_are_on_record(page: str, resource: str, needed: str) -> None:
    event, artifact = an_event(OWN), OWN[0] * 64
    client = staff()
    pk = {"event": event.pk, "artifact": artifact}[resource.partition(":")[0]] if "{" in resource else None

    answer = client.get(reverse(f"admin:automate_{page}", args=[] if pk is None else [pk]))

    assert answer.status_code == 403
    asked_for = resource.format(event=event.pk, artifact=artifact)
    assert denied() == [("anna (admin)", asked_for, {"permission": needed})]


def test_what_one_may_see_and_what_does_not_exist_is_no_denial() -> None:
    event = an_event(OWN)
    client = staff(VIEW_RUN, VIEW_RAW_PAYLOAD)
    for page in ("change", "history", "raw"):
        assert client.get(reverse(f"admin:automate_event_{page}", args=[event.pk])).status_code == 200
        assert client.get(reverse(f"admin:automate_event_{page}", args=["nothing"])).status_code in (302, 404)
    assert client.get(reverse("admin:automate_event_changelist")).status_code == 200
    assert denied() == []
