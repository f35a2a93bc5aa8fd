"""Who may do what, and whose rows they see: no page names what is another tenant's."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import json
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from automate.cancellation import cancel_executions
from automate.events import emit_event, run_workflow
from automate.models import (
    Artifact,
    ArtifactUse,
    AuditLogEntry,
    Decision,
    DedupeKey,
    Event,
    Execution,
    ExecutionRun,
    StepRun,
    Workflow,
    WorkflowVersion,
)
from automate.permissions import VIEW_RAW_PAYLOAD, VIEW_RUN
from automate.publish import publish
from automate_core.errors import ConfigurationError
from automate_core.tenancy import tenants_of, within
from automate_llm.models import LLMBudgetDay, LLMCall
from automate_outbox.models import OutboxJob
from automate_secrets.models import Secret
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.checks import run_checks
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

pytestmark = pytest.mark.usefixtures("db")

OWN, FOREIGN = "acme", "umbrella"
MARK = "umbrella"
"""In everything of the other tenant; no page of the user may hold it."""
FILES = {OWN: "0" * 64, FOREIGN: "1" * 64}
MODELS = [
    Artifact, ArtifactUse, AuditLogEntry, Decision, DedupeKey, Event, Execution, ExecutionRun, StepRun, Workflow,
    WorkflowVersion,
]  # fmt: skip


def tenants_of_user(user: Any) -> set[str] | None:
    """Return what TENANTS_OF_USER of these tests says."""
    return None if user.get_username() == "everywhere" else {OWN}


@pytest.fixture
def tenants(configured: Any) -> None:
    configured(TENANTS_OF_USER=f"{__name__}.tenants_of_user")


def fill(work: Any) -> None:
    """Let two tenants have one of everything."""
    for tenant in (OWN, FOREIGN):
        step = {"id": f"step-{tenant}".replace("-", "_"), "action": "flow.log", "params": {"message": tenant}}
        trigger = {"type": "event", "event": f"{tenant}.happened"}
        publish({"slug": f"{tenant}-flow", "trigger": trigger, "steps": [step]}, tenant=tenant, actor=tenant)
        payload = {"whose": tenant, "password": f"pass-{tenant}"}
        event_id = emit_event(f"{tenant}.happened", payload, f"key-{tenant}", tenant=tenant, source=tenant)
        AuditLogEntry.objects.create(actor=tenant, action="test.done", resource=f"test:{tenant}", tenant=tenant)
        artifact = Artifact.objects.create(sha256=FILES[tenant], bytes=1, created_at=timezone.now())
        ArtifactUse.objects.create(artifact=artifact, owner="event", owner_id=event_id)
        secret = Secret(tenant=tenant, name=f"{tenant}_KEY", version=1, ciphertext=b"", key_id=f"key-{tenant}")
        Secret.objects.bulk_create([secret])
        made = {"provider": tenant, "model": f"{tenant}-1", "tenant": tenant}
        LLMCall.objects.create(pk=UUID(int=len(tenant)), day=date(2026, 5, 3), reserved=1, **made)
    LLMBudgetDay.objects.create(day=date(2026, 5, 3))
    publish({"slug": "for-all", "trigger": {"type": "event", "event": "*"}, "steps": [LOG]})
    work()


LOG = {"id": "note", "action": "flow.log", "params": {"message": "x"}}


def a_user(name: str = "anna", *permissions: str) -> Client:
    """Return a client of a member of the staff who has some permissions."""
    user = User.objects.create_user(name, is_staff=True)
    for permission in permissions:
        label, _, codename = permission.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=label, codename=codename))
    client = Client()
    client.force_login(user)
    return client


def every_view() -> list[str]:
    """Return the permission to view each model of ours."""
    ours = [model._meta for model in apps.get_models() if model._meta.app_label.startswith("automate")]
    return [f"{opts.app_label}.view_{opts.model_name}" for opts in ours]


@pytest.mark.usefixtures("tenants")
def test_no_page_of_the_admin_shows_what_is_another_tenants(work: Any) -> None:
    fill(work)
    client = a_user("anna", *every_view(), VIEW_RAW_PAYLOAD)
    shown, refused, walked = 0, 0, set[str]()
    for model, model_admin in admin.site._registry.items():
        if not model._meta.app_label.startswith("automate"):
            continue
        walked.add(model._meta.app_label)
        base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        listed = reverse(f"{base}_changelist")
        urls = [listed, f"{listed}?q={OWN}", *(f"{listed}?o={column}" for column in range(1, 4))]
        visible = set(model_admin.get_queryset(_request(client)).values_list("pk", flat=True))
        everything = list(model._default_manager.all())
        # A day's budget is of all tenants together.
        assert visible or model is LLMBudgetDay, f"{model.__name__} shows nothing"
        assert len(visible) < len(everything), f"{model.__name__} shows everything"
        for row in everything:
            page = reverse(f"{base}_change", args=[row.pk])
            if row.pk in visible:
                urls += [page, reverse(f"{base}_history", args=[row.pk])]
            else:
                assert client.get(page).status_code == 302, f"{row} opens"
                refused += 1
        for url in urls:
            answer = client.get(url)
            assert answer.status_code == 200, url
            assert MARK not in answer.content.decode(), url
            shown += 1
    assert walked == {"automate", "automate_outbox", "automate_secrets", "automate_llm"}
    assert shown > 75
    assert refused > 10


def _request(client: Client) -> Any:
    class Request:
        user = User.objects.get(username="anna")

    return Request()


@pytest.mark.usefixtures("tenants")
def test_whoever_asks_for_another_tenants_row_by_its_address_is_on_record(work: Any) -> None:
    fill(work)
    client = a_user("anna", VIEW_RUN, VIEW_RAW_PAYLOAD)
    foreign = Event.objects.get(tenant=FOREIGN)
    artifact = Artifact.objects.get(sha256=FILES[FOREIGN])
    for url in (
        reverse("admin:automate_event_change", args=[foreign.pk]),
        reverse("admin:automate_event_raw", args=[foreign.pk]),
        reverse("admin:automate_artifact_content", args=[artifact.pk]),
    ):
        assert MARK.encode() not in client.get(url).content
    denied = AuditLogEntry.objects.filter(action="access.denied")
    assert {entry.resource for entry in denied} == {f"event:{foreign.pk}", f"artifact:{artifact.pk}"}
    assert {entry.actor for entry in denied} == {"anna (admin)"}
    assert client.get(reverse("admin:automate_event_change", args=["nothing"])).status_code == 302
    assert denied.count() == 3


@pytest.mark.usefixtures("tenants")
def test_every_query_set_knows_whose_its_rows_are(work: Any) -> None:
    fill(work)
    anna, everywhere = User(username="anna"), User(username="everywhere")
    for model in MODELS:
        rows: Any = model._default_manager
        mine, all_rows = set(rows.visible_to(anna)), set(rows.all())
        assert mine, model.__name__
        assert mine < all_rows, model.__name__
        assert set(rows.visible_to(everywhere)) == set(rows.visible_to(User(is_superuser=True))) == all_rows
        assert not rows.of_tenants([]).exclude(pk__in=shared(model)).exists()
    assert {job.tenant for job in within(OutboxJob.objects.all(), anna)} == {OWN}
    # What a workflow of no tenant decided about a foreign event is the other tenant's, though the workflow is shared.
    decided = Decision.objects.visible_to(anna)
    assert {row.event_id for row in decided} == {Event.objects.get(tenant=OWN).pk}
    assert {row.version.workflow.slug for row in decided} == {f"{OWN}-flow", "for-all"}


def shared(model: Any) -> list[Any]:
    """Return the rows that everybody sees: workflows of no tenant."""
    if model is Workflow:
        return list(Workflow.objects.filter(tenant="").values_list("pk", flat=True))
    if model is WorkflowVersion:
        return list(WorkflowVersion.objects.filter(workflow__tenant="").values_list("pk", flat=True))
    return []


def test_no_model_of_a_page_is_forgotten() -> None:
    registered = {model for model in admin.site._registry if model._meta.app_label == "automate"}
    assert registered <= set(MODELS)


def test_without_a_function_everybody_sees_everything(work: Any) -> None:
    fill(work)
    assert Event.objects.visible_to(User(username="anna")).count() == 2


@pytest.mark.parametrize("answer", ["acme", 7, [1]])
def test_a_function_that_returns_something_else_opens_nothing(
    answer: Any, configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(TENANTS_OF_USER=f"{__name__}.tenants_of_user")
    monkeypatch.setitem(globals(), "tenants_of_user", lambda user: answer)
    with pytest.raises(ConfigurationError, match="TENANTS_OF_USER"):
        tenants_of(User(username="anna"))


@pytest.mark.parametrize(("target", "wrong"), [("no.such.function", True), ("builtins.copyright_", True), ("", False)])
def test_a_function_that_is_not_there_is_told_at_the_start(target: str, wrong: bool, configured: Any) -> None:
    configured(TENANTS_OF_USER=target)
    assert any(message.id == "automate.E008" for message in run_checks()) is wrong


def test_revealing_a_payload_takes_a_permission_and_a_reason_and_is_on_record(work: Any) -> None:
    emit_event("a.b", {"password": "hunter2-long", "note": "x"}, tenant=OWN)
    event = Event.objects.get()
    page, raw = (reverse(f"admin:automate_event_{name}", args=[event.pk]) for name in ("change", "raw"))
    onlooker, auditor = a_user("onlooker", VIEW_RUN), a_user("auditor", VIEW_RUN, VIEW_RAW_PAYLOAD)

    assert raw not in onlooker.get(page).content.decode()
    assert onlooker.post(raw, {"reason": "curious"}).status_code == 403
    (denied,) = AuditLogEntry.objects.filter(action="access.denied")
    assert (denied.actor, denied.resource, denied.tenant) == ("onlooker (admin)", f"event:{event.pk}", OWN)
    assert denied.details == {"permission": VIEW_RAW_PAYLOAD}

    assert raw in auditor.get(page).content.decode()
    for answer in (auditor.get(page), auditor.get(raw), auditor.post(raw, {"reason": "  "})):
        assert "hunter2-long" not in answer.content.decode()
    assert not AuditLogEntry.objects.filter(action="payload.revealed").exists()
    answer = auditor.post(raw, {"reason": "ticket 7"})
    assert "hunter2-long" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    (revealed,) = AuditLogEntry.objects.filter(action="payload.revealed")
    assert (revealed.actor, revealed.resource, revealed.details) == (
        "auditor (admin)",
        f"event:{event.pk}",
        {"reason": "ticket 7"},
    )


def test_what_cannot_be_put_on_record_is_not_revealed(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    emit_event("a.b", {"password": "hunter2-long"})
    auditor = a_user("auditor", VIEW_RUN, VIEW_RAW_PAYLOAD)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the audit log is away")

    monkeypatch.setattr("automate.admin.events.record", fail)
    auditor.raise_request_exception = False
    answer = auditor.post(reverse("admin:automate_event_raw", args=[Event.objects.get().pk]), {"reason": "why not"})
    assert answer.status_code == 500
    assert b"hunter2-long" not in answer.content


def test_view_run_opens_what_runs_are_made_of_and_nothing_else(work: Any) -> None:
    fill(work)
    client = a_user("anna", VIEW_RUN)
    names = {"event", "dedupekey", "decision", "execution", "executionrun", "steprun", "artifact"}
    for model in admin.site._registry:
        if model._meta.app_label in ("automate", "automate_outbox"):
            url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
            assert client.get(url).status_code == (200 if model._meta.model_name in names else 403), url
    execution = Execution.objects.filter(tenant=OWN).first()
    assert execution is not None
    page = client.get(reverse("admin:automate_execution_change", args=[execution.pk])).content.decode()
    assert str(execution.runs.get().pk) in page  # its runs are on its page


@pytest.mark.usefixtures("tenants")
def test_enabling_takes_a_permission_and_the_workflow_of_ones_own_tenant(work: Any) -> None:
    fill(work)
    url = reverse("admin:automate_workflow_changelist")
    every = {"action": "disable", "_selected_action": list(Workflow.objects.values_list("pk", flat=True))}
    a_user("onlooker", "automate.view_workflow").post(url, every)
    assert Workflow.objects.filter(enabled=False).count() == 0
    client = a_user("anna", "automate.publish_workflow")
    client.post(url, every)
    assert [row.slug for row in Workflow.objects.filter(enabled=False)] == [f"{OWN}-flow"]
    entry = AuditLogEntry.objects.get(action="workflow.disabled")
    assert (entry.actor, entry.resource) == ("anna (admin)", f"workflow:{OWN}-flow")
    client.post(url, {**every, "action": "enable"})
    assert Workflow.objects.filter(enabled=False).count() == 0


@pytest.mark.usefixtures("tenants")
def test_cancelling_takes_a_permission_and_ends_ones_own_executions(work: Any) -> None:
    publish({"slug": "slow", "steps": [LOG]})
    executions = []
    for tenant in (OWN, FOREIGN):
        execution = Execution(version=WorkflowVersion.live_for("slow"), context={}, tenant=tenant)
        execution.save()
        executions.append(execution)
    url = reverse("admin:automate_execution_changelist")
    every = {"action": "cancel", "_selected_action": [str(execution.pk) for execution in executions]}
    a_user("onlooker", VIEW_RUN).post(url, every)
    assert Execution.objects.filter(status="CANCELLED").count() == 0
    client = a_user("anna", VIEW_RUN, "automate.cancel_run")
    client.post(url, every)
    assert [row.tenant for row in Execution.objects.filter(status="CANCELLED")] == [OWN]
    entry = AuditLogEntry.objects.get(action="execution.cancelled")
    assert (entry.actor, entry.resource, entry.tenant) == ("anna (admin)", f"execution:{executions[0].pk}", OWN)


def test_many_are_cancelled_with_the_statements_of_one() -> None:
    publish({"slug": "slow", "steps": [LOG]})
    executions = [Execution(version=WorkflowVersion.live_for("slow"), context={}) for _ in range(5)]
    for execution in executions:
        execution.save()
    with CaptureQueriesContext(connection) as queries:
        assert cancel_executions([execution.pk for execution in executions], actor="me") == 5
    written = [query["sql"] for query in queries if query["sql"].startswith("INSERT INTO")]
    assert len([sql for sql in written if "automate_auditlogentry" in sql]) == 1
    assert AuditLogEntry.objects.filter(action="execution.cancelled", actor="me").count() == 5


def test_an_execution_that_was_cancelled_is_never_run(work: Any) -> None:
    publish({"slug": "slow", "steps": [LOG]})
    run_workflow("slow", {})
    execution = Execution.objects.get()
    assert cancel_executions([execution.pk], actor="me", reason="by mistake") == 1
    assert cancel_executions([execution.pk], actor="me") == 0
    work()
    run = ExecutionRun.objects.get()
    assert (run.status, StepRun.objects.count()) == ("CANCELLED", 0)
    assert run.error is not None
    assert (run.error["code"], run.error["message"]) == ("cancelled", "Cancelled by me: by mistake")
    assert json.loads(json.dumps(AuditLogEntry.objects.get(action="execution.cancelled").details)) == {
        "reason": "by mistake"
    }
