"""The data model is as documented: in Django's models, and in the tables that the database has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from automate.errors import AutomateError
from automate.models import AuditLogEntry, Event, Execution, ExecutionRun, Workflow, WorkflowVersion
from automate_outbox.models import OutboxJob
from django.db import IntegrityError, connection, models, transaction

from acceptance import documents
from acceptance.conftest import Actions

pytestmark = pytest.mark.usefixtures("db")

SAID = documents.models()
MODELS: dict[str, type[models.Model]] = {
    "Event": Event,
    "WorkflowVersion": WorkflowVersion,
    "OutboxJob": OutboxJob,
    "ExecutionRun": ExecutionRun,
    "AuditLogEntry": AuditLogEntry,
}
FIELDS = [
    (model, name, note) for model, said in SAID.items() for name, note in documents.fields(said["Fields"]).items()
]


def constraints(model: type[models.Model]) -> Mapping[str, Mapping[str, Any]]:
    with connection.cursor() as cursor:
        return connection.introspection.get_constraints(cursor, model._meta.db_table)


def references(table: str) -> set[tuple[str, str]]:
    """Return the tables, and their columns, that the database has a foreign key to a table for."""
    found = set()
    with connection.cursor() as cursor:
        for other in connection.introspection.table_names(cursor):
            for constraint in connection.introspection.get_constraints(cursor, other).values():
                if constraint["foreign_key"] and constraint["foreign_key"][0] == table:
                    found.add((other, constraint["columns"][0]))
    return found


def column_type(model: type[models.Model], column: str) -> str:
    with connection.cursor() as cursor:
        description = connection.introspection.get_table_description(cursor, model._meta.db_table)
        row = next(row for row in description if row.name == column)
        return str(connection.introspection.get_field_type(row.type_code, row))


# -- the fields -------------------------------------------------------------------------------------------------------


def test_no_field_is_lost() -> None:
    assert SAID.keys() == MODELS.keys()
    assert [len(documents.fields(said["Fields"])) for said in SAID.values()] == [4, 4, 3, 3, 4]


@pytest.mark.parametrize(("name", "field", "note"), FIELDS)
def test_a_field_is_as_documented(name: str, field: str, note: str) -> None:
    model = MODELS[name]
    found = {f.attname: f for f in model._meta.concrete_fields}[field]
    if note == "Index":
        assert [c for c in constraints(model).values() if c["index"] and c["columns"][0] == field]
    elif note == "FK":
        assert found.related_model is Workflow
        assert (model._meta.db_table, field) in references(Workflow._meta.db_table)
    elif note == "UUID":
        assert isinstance(found, models.UUIDField)
    elif note == "String":
        assert isinstance(found, models.CharField)
    elif note.startswith("JSONB"):
        assert column_type(model, field) == "JSONField"
    elif note:
        assert set(note.split(", ")) <= {value for value, _ in found.flatchoices}


def test_statuses() -> None:
    kinds: list[tuple[type[models.Model], set[str]]] = [
        (OutboxJob, {"PENDING", "CLAIMED", "COMPLETED", "RETRY", "FAILED"}),
        (Execution, {"QUEUED", "RUNNING", "WAITING", "SUCCESS", "FAILED", "CANCELLED"}),
        (ExecutionRun, {"QUEUED", "RUNNING", "WAITING", "SUCCESS", "FAILED", "CANCELLED"}),
    ]
    for model, statuses in kinds:
        status = next(field for field in model._meta.concrete_fields if field.name == "status")
        assert {value for value, _ in status.flatchoices} == statuses


# -- what is said about the models ------------------------------------------------------------------------------------


def published() -> WorkflowVersion:
    from automate.publish import publish

    log = {"id": "note", "action": "flow.log", "params": {"message": "x"}}
    return publish({"slug": "orders", "trigger": {"type": "manual"}, "steps": [log]})[0]


def test_events_are_immutable_and_can_be_partitioned() -> None:
    from automate.events import emit_event

    event = Event.objects.get(pk=emit_event("order.created", {"a": 1}, dedupe_key="k", source="shop"))
    assert (event.type, event.payload, event.source) == ("order.created", {"a": 1}, "shop")
    event.payload = {}
    with pytest.raises(AutomateError, match="immutable"):
        event.save()
    # Nothing in the database points at events, and only their id is unique: a month of them can go.
    assert references(Event._meta.db_table) == set()
    assert {tuple(c["columns"]) for c in constraints(Event).values() if c["unique"]} <= {("id",)}


def test_workflow_versions_are_immutable_and_one_is_live() -> None:
    version = published()
    version.steps = []
    with pytest.raises(AutomateError, match="immutable"):
        version.save()
    twin = WorkflowVersion(
        workflow=version.workflow, version_num=2, trigger_spec={}, steps=[], hash="other", trigger_event="", live=True
    )
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()


def test_executions_refer_to_a_version_and_not_to_its_workflow() -> None:
    table = Execution._meta.db_table
    assert table in {other for other, _ in references(WorkflowVersion._meta.db_table)}
    assert table not in {other for other, _ in references(Workflow._meta.db_table)}
    version = published()
    execution = Execution(context={})
    execution.automation = version.workflow
    assert (execution.version, execution.automation) == (version, version.workflow)


def test_indexes_of_the_outbox() -> None:
    """Partial indexes over live rows serve the claims, in place of ``(status, id)`` over all (see the README).

    The admin lists by the primary key, which a filter on the status of live or dead rows leaves for their own index.
    """
    found = constraints(OutboxJob)
    for name in ("automate_outbox_claim", "automate_outbox_order", "automate_outbox_held", "automate_outbox_dead"):
        assert found[name]["index"]
        assert found[name]["columns"][-1] == "id"
        if connection.features.supports_partial_indexes:
            assert "WHERE" in index_definition(name)
        else:
            assert found[name]["columns"][0] == "status"


def index_definition(name: str) -> str:
    catalogue = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE name = %s",
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = %s",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(catalogue, [name])
        return str(cursor.fetchone()[0])


def test_outputs_of_a_run_are_redacted(actions: Actions) -> None:
    from automate.events import run_workflow
    from automate.publish import publish
    from automate.runtime import Runtime

    @actions("account")
    def account() -> dict[str, str]:
        return {"user": "ada", "password": "hunter2-and-more"}

    definition = {
        "slug": "account",
        "trigger": {"type": "manual"},
        "steps": [{"id": "get", "action": "test.account"}],
        "output": {"account": "{{ steps.get.output }}"},
    }
    publish(definition)
    Runtime().run_execution(run_workflow("account", {}))
    run = ExecutionRun.objects.get()
    assert run.outputs == {"account": {"user": "ada", "password": "[REDACTED]"}}
    assert len(run.trace_id) == 32


def test_details_of_the_audit_log_are_redacted_whichever_way_they_are_written() -> None:
    details = {"user": "ada", "nested": [{"password": "hunter2-and-more"}]}
    hidden = {"user": "ada", "nested": [{"password": "[REDACTED]"}]}
    saved = AuditLogEntry(actor="ada", action="login", resource="user:ada", details=details)
    saved.save()
    AuditLogEntry.objects.create(actor="ada", action="login", resource="user:ada", details=details)
    AuditLogEntry.objects.bulk_create(
        [AuditLogEntry(actor="ada", action="login", resource="user:ada", details=details)]
    )
    for manager in (AuditLogEntry.objects, AuditLogEntry._base_manager):
        with pytest.raises(AutomateError, match="append-only"):
            manager.filter(pk=saved.pk).update(details=details)
    assert list(AuditLogEntry.objects.values_list("details", flat=True)) == [hidden] * 3
    assert saved.details == hidden
    with pytest.raises(AutomateError, match="immutable"):
        saved.save()
