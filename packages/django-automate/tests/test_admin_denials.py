"""Whoever is refused in the admin is on record, where requests are transactions too."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from automate.events import EVENT_JOB, emit_event
from automate.models import Artifact, ArtifactUse, AuditLogEntry, Event, Execution, Workflow, WorkflowVersion
from automate.permissions import VIEW_RAW_PAYLOAD, VIEW_RUN
from automate.publish import publish
from automate_llm.models import LLMBudgetDay, LLMCall
from automate_outbox.models import OutboxJob
from automate_secrets.models import Secret
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connections, models
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
        label, _, codename = permission.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=label, codename=codename))
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


def complete(client: Client, model: str, field: str) -> Any:
    """Ask for what completes a field of a model."""
    query = {"app_label": "automate", "model_name": model, "field_name": field, "term": "flow"}
    return client.get(reverse("admin:autocomplete"), query)


def test_who_may_not_complete_a_field_is_on_record() -> None:
    a_workflow(OWN)
    client = staff()
    for number in (1, 2):
        assert complete(client, "workflowversion", "workflow").status_code == 403
        refusal = ("anna (admin)", "workflow:*", {"permission": "automate.view_workflow"})
        assert denied() == [refusal] * number


def test_who_completes_a_field_is_shown_what_is_his_and_is_no_denial() -> None:
    a_workflow(OWN)
    a_workflow(FOREIGN)
    client = staff("automate.view_workflow")
    found = complete(client, "workflowversion", "workflow").json()["results"]
    assert [row["text"] for row in found] == [f"{OWN}-flow"]
    assert complete(client, "workflowversion", "nothing").status_code == 403
    assert denied() == []


def test_what_one_may_see_and_what_does_not_exist_is_no_denial() -> None:
    event = an_event(OWN)
    client = staff(VIEW_RUN, VIEW_RAW_PAYLOAD)
    for page in ("change", "history", "raw"):
        assert client.get(reverse(f"admin:automate_event_{page}", args=[event.pk])).status_code == 200
        assert client.get(reverse(f"admin:automate_event_{page}", args=["nothing"])).status_code in (302, 404)
    assert client.get(reverse("admin:automate_event_changelist")).status_code == 200
    assert denied() == []


def a_workflow(tenant: str) -> Workflow:
    """Publish a workflow of a tenant; an empty name is everybody's to see."""
    step = {"id": "note", "action": "flow.log", "params": {"message": "x"}}
    publish({"slug": f"{tenant or 'shared'}-flow", "steps": [step]}, tenant=tenant)
    return Workflow.objects.get(slug=f"{tenant or 'shared'}-flow")


def an_execution(tenant: str) -> Execution:
    """Let an execution of a tenant wait."""
    version = WorkflowVersion.objects.filter(workflow=a_workflow(tenant)).get()
    return Execution.objects.create(version=version, context={}, tenant=tenant)


def act(client: Client, page: str, action: str, *keys: Any, **more: Any) -> Any:
    """Post an action for chosen rows."""
    data = {"action": action, "index": "0", "_selected_action": [str(key) for key in keys], **more}
    return client.post(reverse(f"admin:automate_{page}_changelist"), data)


@pytest.mark.parametrize(
    ("page", "action", "sees"),
    [("execution", "cancel", VIEW_RUN), ("workflow", "disable", "automate.view_workflow")],
)
def test_an_action_without_its_permission_is_refused_on_record(page: str, action: str, sees: str) -> None:
    make: Callable[[str], Any] = {"execution": an_execution, "workflow": a_workflow}[page]
    own, foreign = make(OWN), make(FOREIGN)
    client = staff(sees)
    assert act(client, page, action, own.pk, foreign.pk).status_code == 403
    assert denied() == [
        ("anna (admin)", f"{page}:{own.pk}", {"action": action, "why": "permission"}),
        ("anna (admin)", f"{page}:{foreign.pk}", {"action": action, "why": "tenant"}),
    ]
    without = client.post(reverse(f"admin:automate_{page}_changelist"), {"action": ["", action], "index": "1"})
    assert without.status_code == 403
    assert denied()[2:] == [("anna (admin)", f"{page}:*", {"action": action, "why": "permission"})]
    assert act(client, page, "nothing", own.pk).status_code in (200, 302)
    assert len(denied()) == 3
    assert not Execution.objects.filter(status="CANCELLED").exists()
    assert not Workflow.objects.filter(enabled=False).exists()


def test_whoever_acts_on_rows_of_other_tenants_is_on_record_and_acts_on_his_own() -> None:
    rows = {tenant: an_execution(tenant) for tenant in (OWN, FOREIGN, "")}
    client = staff(VIEW_RUN, "automate.cancel_run")
    nobodys = UUID(int=1)
    answer = act(client, "execution", "cancel", *(row.pk for row in rows.values()), nobodys)
    assert answer.status_code == 302
    assert [row.tenant for row in Execution.objects.filter(status="CANCELLED")] == [OWN]
    about = {"action": "cancel", "why": "tenant"}
    assert denied() == [("anna (admin)", f"execution:{rows[tenant].pk}", about) for tenant in (FOREIGN, "")]


@pytest.mark.parametrize("across", ["0", "1"])
def test_the_workflow_of_all_tenants_is_left_out_on_record(across: str) -> None:
    rows = {tenant: a_workflow(tenant) for tenant in (OWN, FOREIGN, "")}
    client = staff("automate.publish_workflow")
    keys = [row.pk for row in rows.values()] if across == "0" else [rows[OWN].pk]
    assert act(client, "workflow", "disable", *keys, select_across=across).status_code == 302
    assert [row.tenant for row in Workflow.objects.filter(enabled=False)] == [OWN]
    about = {"action": "disable", "why": "tenant"}
    expected = [f"workflow:{rows[tenant].pk}" for tenant in (("", FOREIGN) if across == "0" else ("",))]
    assert denied() == [("anna (admin)", name, about) for name in expected]


def test_some_dozen_rows_are_named_and_the_others_counted() -> None:
    client = staff(VIEW_RUN)
    assert act(client, "execution", "cancel", *(UUID(int=number) for number in range(1, 41))).status_code == 403
    names, last = [name for _, name, _ in denied()], denied()[-1]
    assert names == [*(f"execution:{UUID(int=number)}" for number in range(1, 25)), "execution:*"]
    assert last[2] == {"action": "cancel", "why": "permission", "more": 16}


@pytest.mark.parametrize("key", ["\0", "zz", ""])
def test_keys_that_no_row_can_have_are_a_bad_request(key: str) -> None:
    client = staff(VIEW_RUN, "automate.cancel_run")
    assert act(client, "execution", "cancel", key).status_code == 400
    assert denied() == []


def test_dead_letters_that_one_may_not_requeue_are_on_record() -> None:
    ours = OutboxJob.objects.create(kind=EVENT_JOB, tenant=OWN, status="FAILED")
    other = OutboxJob.objects.create(kind="shop.other", tenant=OWN, status="FAILED")
    client = staff("automate_outbox.view_outboxjob", "automate_outbox.change_outboxjob")
    data = {"action": "requeue_dead", "_selected_action": [ours.pk, other.pk], "confirmed": "1"}
    assert client.post(reverse("admin:automate_outbox_outboxjob_changelist"), data).status_code == 302
    expected = ("anna (admin)", f"outboxjob:{ours.pk}", {"action": "requeue_dead", "why": "permission"})
    assert denied() == [expected]


def a_secret(tenant: str) -> Secret:
    """Store what has the form of a secret's row."""
    Secret.objects.bulk_create([Secret(tenant=tenant, name="API_KEY", ciphertext=b"", key_id="k1")])
    return Secret.objects.get(tenant=tenant)


def a_call(tenant: str) -> LLMCall:
    """Record a call of a model."""
    return LLMCall.objects.create(pk=UUID(int=ord(tenant[0])), day=date(2026, 5, 3), tenant=tenant, reserved=1)


ELSEWHERE: dict[type[models.Model], Callable[[str], Any]] = {
    OutboxJob: lambda tenant: OutboxJob.objects.create(kind="a.b", tenant=tenant),
    Secret: a_secret,
    LLMCall: a_call,
    LLMBudgetDay: lambda tenant: LLMBudgetDay.objects.create(day=date(2026, 5, 3)),  # of no tenant: nobody's here
}
"""The models of other packages that have a page, and what makes a row of a tenant."""


def resource(model: type[models.Model], pk: Any) -> str:
    """Return what a row of another package is called in the audit log."""
    return f"{'secret row' if model is Secret else model._meta.model_name}:{pk}"


def test_the_page_of_no_other_package_is_forgotten() -> None:
    labels = {model._meta.app_label for model in admin.site._registry} - {"admin", "auth", "automate"}
    assert {model for model in admin.site._registry if model._meta.app_label in labels} == set(ELSEWHERE)


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("page", ["change", "delete", "history"])
@pytest.mark.parametrize("model", ELSEWHERE, ids=lambda model: model.__name__)
def test_the_pages_of_other_packages_put_on_record_who_asks_for_another_tenants_row(
    model: type[models.Model], page: str, method: str
) -> None:
    row, opts = ELSEWHERE[model](FOREIGN), model._meta
    name = f"admin:{opts.app_label}_{opts.model_name}_{page}"
    client = staff(f"{opts.app_label}.view_{opts.model_name}")
    nobodys = UUID(int=1) if model is LLMCall else row.pk + 1_000

    answers = [getattr(client, method)(reverse(name, args=[pk])) for pk in (row.pk, nobodys)]

    assert len({answer.status_code for answer in answers}) == 1, "the answer tells whether there is such a row"
    hidden = [(actor, details["why"]) for actor, what, details in denied() if what == resource(model, row.pk)]
    assert hidden == [("anna (admin)", "tenant")]
    assert not [what for _, what, details in denied() if "why" in details and what != resource(model, row.pk)]


@pytest.mark.parametrize("model", [OutboxJob, Secret, LLMCall], ids=lambda model: model.__name__)
def test_the_pages_of_other_packages_put_on_record_who_lacks_the_permission(model: type[models.Model]) -> None:
    row, opts = ELSEWHERE[model](OWN), model._meta
    client, base = staff(), f"admin:{opts.app_label}_{opts.model_name}"

    for page, args, verb in (
        ("changelist", [], "view"),
        ("change", [row.pk], "view"),
        ("history", [row.pk], "view"),
        ("add", [], "add"),
        ("delete", [row.pk], "delete"),
    ):
        already = len(denied())
        assert client.get(reverse(f"{base}_{page}", args=args)).status_code == 403, page
        (entry,) = denied()[already:]
        assert entry[1] == resource(model, args[0] if args else "*")
        assert entry[2]["permission"] == f"{opts.app_label}.{verb}_{opts.model_name}"


@pytest.mark.parametrize("model", [OutboxJob, Secret, LLMCall], ids=lambda model: model.__name__)
def test_one_sees_ones_own_rows_of_other_packages(model: type[models.Model]) -> None:
    own, foreign, opts = ELSEWHERE[model](OWN), ELSEWHERE[model](FOREIGN), model._meta
    base = f"admin:{opts.app_label}_{opts.model_name}"
    client = staff(f"{opts.app_label}.view_{opts.model_name}")
    listed = client.get(reverse(f"{base}_changelist")).content.decode()
    assert reverse(f"{base}_change", args=[own.pk]) in listed
    assert reverse(f"{base}_change", args=[foreign.pk]) not in listed
    assert client.get(reverse(f"{base}_change", args=[own.pk])).status_code == 200
    assert denied() == []
