"""Names that differ by their case, or by a space at their end, are two, on every database."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import uuid4

import pytest
from automate.events import emit_event
from automate.models import (
    Artifact,
    ArtifactUse,
    AuditLogEntry,
    DedupeKey,
    Event,
    Execution,
    ExecutionRun,
    Workflow,
    WorkflowVersion,
)
from automate.models.tenants import TenantModel
from automate.publish import publish
from automate_core.collations import exact_collation
from automate_core.tenancy import within
from automate_llm.models import LLMCall
from automate_outbox.models import OutboxJob
from automate_outbox.store import get_store
from automate_rag.models import Endpoint
from automate_secrets.models import Secret
from django.apps import apps
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, models, transaction
from django.utils import timezone

pytestmark = pytest.mark.usefixtures("db", "fresh_definitions")

TENANTS = ("acme", "ACME", "acme ")
OURS = [model for model in apps.get_models() if model._meta.app_label.startswith("automate")]


def tenants_of_user(user: Any) -> set[str]:
    """Return what TENANTS_OF_USER of these tests says."""
    return {"acme"}


def a_version(tenant: str) -> WorkflowVersion:
    """Publish a workflow of a tenant."""
    workflow = Workflow.objects.create(slug=f"flow-{TENANTS.index(tenant)}", tenant=tenant)
    return WorkflowVersion.objects.create(workflow=workflow, version_num=1, trigger_spec={}, steps=[], hash="0" * 64)


def a_run(tenant: str) -> ExecutionRun:
    """Let a tenant have an execution with a run."""
    execution = Execution(version=a_version(tenant), context={}, tenant=tenant)
    execution.save()
    return ExecutionRun.objects.filter(execution=execution).first() or ExecutionRun.objects.create(
        execution=execution, trace_id="0" * 32
    )


def a_use(tenant: str) -> ArtifactUse:
    """Let an event of a tenant use an artifact of its own."""
    artifact = Artifact.objects.create(sha256=str(TENANTS.index(tenant)) * 64, bytes=1, created_at=timezone.now())
    event_id = emit_event("a.b", {}, tenant=tenant)
    return ArtifactUse.objects.create(artifact=artifact, owner="event", owner_id=event_id)


def an_entry(tenant: str) -> AuditLogEntry:
    """Record something of a tenant."""
    return AuditLogEntry.objects.create(actor="a", action="test.done", resource="test:x", tenant=tenant)


MAKE: dict[type[models.Model], Callable[[str], Any]] = {
    AuditLogEntry: an_entry,
    DedupeKey: lambda tenant: emit_event("a.b", {}, "key-1", tenant=tenant),
    Event: lambda tenant: emit_event("a.b", {}, tenant=tenant),
    Execution: a_run,
    Workflow: a_version,
    OutboxJob: lambda tenant: OutboxJob.objects.create(kind="a.b", tenant=tenant),
    Secret: lambda tenant: Secret.objects.bulk_create(
        [Secret(tenant=tenant, name="API_KEY", ciphertext=b"", key_id="k1")]
    ),
    LLMCall: lambda tenant: LLMCall.objects.create(pk=uuid4(), day=date(2026, 5, 3), tenant=tenant, reserved=1),
    Endpoint: lambda tenant: Endpoint.objects.create(digest=uuid4().hex, tenant=tenant, name="docs", stamp="0"),
}
"""What makes a row of a tenant, for each model that has such a column."""

FOLLOW: dict[type[models.Model], Callable[[str], Any]] = {
    Artifact: a_use,
    ArtifactUse: a_use,
    ExecutionRun: a_run,
    WorkflowVersion: a_version,
}
"""What makes a row that belongs to what belongs to a tenant; decisions and steps ask as these do."""


def test_every_model_with_a_tenant_is_looked_at() -> None:
    found = {model for model in OURS if any(field.name == "tenant" for field in model._meta.fields)}
    assert found == set(MAKE)


@pytest.mark.parametrize("model", MAKE, ids=lambda model: model.__name__)
def test_a_query_by_tenant_finds_the_rows_of_that_one_alone(model: Any, configured: Any) -> None:
    configured(TENANTS_OF_USER=f"{__name__}.tenants_of_user")
    for tenant in TENANTS:
        MAKE[model](tenant)
    for tenant in TENANTS:
        assert set(model.objects.filter(tenant=tenant).values_list("tenant", flat=True)) == {tenant}
    assert set(model.objects.order_by().values_list("tenant", flat=True).distinct()) >= set(TENANTS)
    rows = model.objects.all()
    user = User(username="anna")
    visible = rows.visible_to(user) if issubclass(model, TenantModel) else within(rows, user)
    assert {row.tenant for row in visible} - {""} == {"acme"}


@pytest.mark.parametrize("model", FOLLOW, ids=lambda model: model.__name__)
def test_what_belongs_to_a_tenant_by_another_row_is_seen_by_its_users_alone(model: Any, configured: Any) -> None:
    configured(TENANTS_OF_USER=f"{__name__}.tenants_of_user")
    for tenant in TENANTS:
        FOLLOW[model](tenant)
    assert model.objects.count() == len(TENANTS)
    assert model.objects.visible_to(User(username="anna")).count() == 1


def test_every_column_of_names_is_compared_exactly() -> None:
    if connection.vendor != "mysql":
        pytest.skip("texts are compared exactly by the defaults of this database")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, collation_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND data_type IN ('char', 'varchar')"
        )
        found = {(table, column): collation for table, column, collation in cursor.fetchall()}
        cursor.execute(
            "SELECT table_name, table_collation FROM information_schema.tables WHERE table_schema = DATABASE()"
        )
        by_default = dict(cursor.fetchall())
    columns = [
        (model._meta.db_table, str(field.column))
        for model in OURS
        for field in model._meta.concrete_fields
        if isinstance(field, models.CharField)
    ]
    assert len(columns) > 60
    exactly = exact_collation(connection)
    assert {column for column in columns if found[column] != exactly} == set()
    assert {by_default[model._meta.db_table] for model in OURS} == {exactly}  # that of columns which are added later


def test_dedupe_keys_and_their_sources_are_told_apart() -> None:
    keys = [("key-1", "shop"), ("KEY-1", "shop"), ("key-1 ", "shop"), ("key-1", "SHOP")]
    events = {emit_event("a.b", {}, key, source=source) for key, source in keys}
    assert len(events) == len(keys)
    assert emit_event("a.b", {}, "KEY-1", source="shop") in events
    assert Event.objects.count() == len(keys)


def test_event_types_are_told_apart(work: Any) -> None:
    step = {"id": "note", "action": "flow.log", "params": {"message": "x"}}
    for slug, event in (("flow", "order.placed"), ("other", "ORDER.placed")):
        publish({"slug": slug, "trigger": {"type": "event", "event": event}, "steps": [step]})
    emit_event("order.placed", {})
    work()
    assert [execution.version.workflow.slug for execution in Execution.objects.all()] == ["flow"]


def test_queues_kinds_and_ordering_keys_are_told_apart() -> None:
    def job(**values: Any) -> int:
        return int(OutboxJob.objects.create(kind="a.b", **values).pk)

    lower, upper = job(queue="mail"), job(queue="MAIL")
    claimed = [item.id for item in get_store().claim_batch("w", limit=9, queues=["mail"])]
    assert claimed == [lower]
    assert [item.id for item in get_store().claim_batch("w", limit=9, queues=["MAIL"])] == [upper]
    for key in ("k", "K"):
        job(queue="turns", ordering_key=key)
    assert len(get_store().claim_batch("w", limit=9, queues=["turns"])) == 2  # neither waits for the other


def test_versions_of_a_secret_are_unique_within_its_exact_name() -> None:
    def store(name: str) -> None:
        with transaction.atomic():
            Secret.objects.bulk_create([Secret(tenant="acme", name=name, ciphertext=b"", key_id="k1")])

    store("API_KEY")
    store("api_key")
    with pytest.raises(IntegrityError):
        store("API_KEY")
    assert Secret.objects.filter(tenant="acme", name="API_KEY").count() == 1
