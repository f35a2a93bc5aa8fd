"""What a project meets: the admin, the doctor, checks, imports."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from automate.commands.people import columns
from automate.doctor import examine
from automate.events import emit_event, run_workflow
from automate.models import Artifact, AuditLogEntry, Event
from automate.publish import publish
from automate_core import cli
from automate_core.hookspecs import hookimpl
from automate_core.testing.databases import chosen_database
from automate_outbox.counters import Counters, Heartbeat
from automate_outbox.models import OutboxJob
from django.apps import apps
from django.contrib import admin
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.dispatch import Signal
from django.test import Client
from django.urls import reverse
from django.utils import timezone

SECRET_WORKFLOW = {
    "slug": "w",
    "trigger": {"type": "event", "event": "a.b", "rule": {"==": [{"var": "x"}, 1]}},
    "steps": [{"id": "f", "action": "flow.log", "params": {"message": "{{ event.payload.x }}"}}],
}


@pytest.mark.usefixtures("db")
def test_every_page_of_the_admin_opens_and_changes_nothing(work: Any) -> None:
    from django.contrib.auth import get_user_model

    publish(SECRET_WORKFLOW)
    emit_event("a.b", {"x": 1, "password": "hunter2"}, "key")
    emit_event("a.b", {"x": 2})
    work()
    AuditLogEntry.objects.create(actor="me", action="test", resource="r", details={"token": "abc"})
    Artifact.objects.create(sha256="0" * 64, bytes=1, created_at=timezone.now())
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("admin"))
    pages = 0
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label not in ("automate", "automate_outbox"):
            continue
        base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        row: Any = model._default_manager.first()
        assert row is not None, f"{model} has no row to look at"
        urls = [
            reverse(f"{base}_changelist"),
            reverse(f"{base}_changelist") + "?q=abc",
            reverse(f"{base}_change", args=[row.pk]),
        ]
        for url in urls:
            answer = client.get(url)
            assert answer.status_code == 200, url
            assert b"hunter2" not in answer.content, url
            pages += 1
        assert client.post(urls[-1], {}).status_code == 403
        assert client.post(reverse(f"{base}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
        assert model_admin.search_fields, model
        assert model_admin.list_filter, model
    assert pages == 33
    event = Event.objects.get(type="a.b", payload__x=1)
    page = client.get(reverse("admin:automate_event_change", args=[event.pk])).content.decode()
    for model_name in ("decision", "execution"):  # and back again
        listed = reverse(f"admin:automate_{model_name}_changelist", query={"event_id__exact": event.pk})
        assert f'href="{listed}"' in page
        rows = client.get(listed).content.decode()
        assert rows.count(reverse("admin:automate_event_change", args=[event.pk])) == 1
    assert Event.objects.count() == 2


@pytest.mark.usefixtures("db")
def test_the_doctor(configured: Any) -> None:
    def looked() -> tuple[int, dict[str, list[str]]]:
        out = io.StringIO()
        try:
            call_command("automate_doctor", json=True, stdout=out)
            status = 0
        except SystemExit as error:
            status = int(str(error.code))
        found: dict[str, list[str]] = {}
        for finding in json.loads(out.getvalue()):
            found.setdefault(finding["level"], []).append(f"{finding['name']}: {finding['message']}")
        return status, found

    assert looked()[0] == 0
    publish({**SECRET_WORKFLOW, "steps": [{"id": "f", "action": "flow.log", "params": {"message": "$secret:NOT_SET"}}]})
    configured(POLICY={"connector_allowlist": ["http"]})
    status, found = looked()
    assert status == 1
    assert any("NOT_SET" in text for text in found["error"])
    assert any("does not allow 'flow.log'" in text for text in found["error"])
    configured(ENABLED=False)
    assert any("ENABLED" in text for text in looked()[1]["warning"])
    configured(ENABLED=3)
    status, found = looked()
    assert (status, list(found)) == (1, ["error"])
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("automate_doctor", stdout=out)
    assert "ENABLED" in out.getvalue()


@pytest.mark.skipif(chosen_database() != "postgres", reason="it is about libpq")
@pytest.mark.parametrize(
    ("params", "missing"),
    [
        ({"host": "db.example"}, "connect_timeout, tcp_user_timeout"),
        ({"host": "db.example", "connect_timeout": 5}, "tcp_user_timeout"),
        ({"host": "db.example", "connect_timeout": 5, "keepalives_idle": 5}, ""),
        ({"host": "127.0.0.1"}, ""),
        ({"host": "/run/postgresql"}, ""),
        ({}, ""),
    ],
)
def test_the_doctor_asks_how_a_silent_server_is_noticed(
    monkeypatch: pytest.MonkeyPatch, params: dict[str, Any], missing: str
) -> None:
    monkeypatch.setattr(connection, "get_connection_params", lambda: params)
    found = [finding.message for finding in examine() if finding.level == "warning" and "swallows" in finding.message]
    assert [text.rpartition(": ")[2] for text in found] == ([f"{missing} not set"] if missing else [])


class BrokenPlugin:
    @hookimpl
    def automate_register_connectors(self) -> Any:
        raise RuntimeError("it is Monday")


def test_a_broken_plugin_is_listed_and_everything_else_works(monkeypatch: pytest.MonkeyPatch) -> None:
    from automate_core import registry as module
    from automate_core.registry import Registry
    from django.core.checks import run_checks

    registry = Registry([BrokenPlugin()])
    assert "flow" in registry.list_connectors()
    (broken,) = [info for info in registry.plugins() if info.state == "failed"]
    assert "it is Monday" in broken.reason
    monkeypatch.setattr(module, "registry", registry)
    assert any("it is Monday" in message.msg for message in run_checks() if message.id == "automate.W001")


def test_wrong_settings_are_told_once_and_not_by_what_needs_them(
    monkeypatch: pytest.MonkeyPatch, configured: Any
) -> None:
    from automate_core import registry as module
    from django.core.checks import run_checks

    monkeypatch.setattr(module, "registry", module.Registry())  # as in a new process: its plugins are not loaded yet
    configured(ENABLE=True)
    assert [message.id for message in run_checks()] == ["automate.E001"]


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("arguments", [("policy", "check"), ("dlq", "list"), ("audit", "verify"), ("rules", "lint")])
def test_a_database_that_the_settings_do_not_have_is_a_message(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*arguments, "--database", "nope"]) == 1
    assert "no database 'nope'. DATABASES of the settings has: default." in capsys.readouterr().err


@pytest.mark.usefixtures("db")
def test_the_doctor_is_told_which_databases_there_are() -> None:
    with pytest.raises(CommandError, match=r"no database 'nope'\. DATABASES of the settings has: default\."):
        call_command("automate_doctor", "--database", "nope")


def test_a_worker_does_not_wait_for_tables_that_are_missing() -> None:
    from django.db.migrations.loader import MigrationLoader
    from django.db.migrations.recorder import MigrationRecorder

    (newest,) = MigrationLoader(connection).graph.leaf_nodes("automate")
    MigrationRecorder(connection).record_unapplied(*newest)
    try:
        with pytest.raises(CommandError, match=rf"automate\.{newest[1]}.*manage\.py migrate"):
            call_command("automate_worker", drain=True)
    finally:
        MigrationRecorder(connection).record_applied(*newest)


@pytest.mark.usefixtures("db")
def test_the_doctor_says_that_no_worker_runs() -> None:
    emit_event("a.b", {})
    assert not any("no worker runs" in finding.message for finding in examine())
    OutboxJob.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=90))
    (late,) = [finding for finding in examine() if "no worker runs" in finding.message]
    assert (late.level, late.remedy) == ("warning", "python manage.py automate_worker")
    counters = Counters(reaped=5, crashed=2, stale_refused=1)
    Heartbeat("busy", counters, mode="thread").beat(in_hand=3, wake="notify")
    OutboxJob.objects.create(kind="k", status="FAILED")
    findings = examine()
    (figures,) = [finding.figures for finding in findings if finding.figures]
    assert (figures["due"], figures["in_hand"], figures["dead"]) == (1, 0, 1)
    assert (figures["reaped"], figures["quarantined"], figures["stale_refused"]) == (5, 2, 1)
    assert [worker["worker_id"] for worker in figures["workers"]] == ["busy"]
    assert figures["oldest_seconds"] >= 90
    said = " ".join(finding.message for finding in findings)
    assert "do not keep up" in said
    assert "1 alive: busy (thread, notify)" in said
    assert "1 dead letters" in said


@pytest.mark.usefixtures("db")
def test_the_doctor_says_how_workers_are_woken(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked() -> tuple[str, str]:
        (waking,) = [finding for finding in examine() if finding.name == "waking"]
        return waking.level, waking.message.partition(":")[0]

    best = {"postgresql": "notify", "sqlite": "local", "mysql": "poll"}[connection.vendor]
    assert looked() == ("ok", best)
    if connection.vendor == "postgresql":
        elsewhere = {**connection.settings_dict, "NAME": "postgres"}
        monkeypatch.setitem(connections.settings, "elsewhere", elsewhere)
        configured(OUTBOX={"listen_using": "elsewhere"})
        assert looked() == ("warning", "poll")


def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_apps_check(monkeypatch: pytest.MonkeyPatch) -> None:
    from automate.checks import check_apps

    assert check_apps() == []
    monkeypatch.setattr(apps, "is_installed", lambda name: False)
    assert check_apps()[0].id == "automate.E003"


IMPORTS = """
import sys
import automate, automate.runtime, automate.events, automate.rules, automate.secrets, automate.errors, automate.conf
from automate.runtime import Runtime, emit_event, run_workflow, aemit_event, arun_workflow
from automate.events import emit_event as again
from automate import action, workflow
assert emit_event is again
sdks = {"openai", "anthropic", "tiktoken", "numpy", "boto3", "hvac", "torch", "httpx2", "cryptography"}
heavy = sdks & set(sys.modules)
assert not heavy, heavy
"""


def test_public_modules_import_before_django_is_set_up_without_warning_and_without_sdks() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORTS], check=True)


@pytest.mark.usefixtures("db")
def test_receivers_that_fail_change_nothing(caplog: pytest.LogCaptureFixture, work: Any) -> None:
    from automate import signals

    seen = []

    def receive(signal: Any, **named: Any) -> None:
        seen.append(next(name for name, value in vars(signals).items() if value is signal))
        raise RuntimeError("receiver")

    every = [v for v in vars(signals).values() if isinstance(v, Signal)]
    for signal in every:
        signal.connect(receive)
    try:
        publish(SECRET_WORKFLOW)
        emit_event("a.b", {"x": 1})
        work()
    finally:
        for signal in every:
            signal.disconnect(receive)
    assert seen == ["event_received", "workflow_started", "step_started", "step_completed", "workflow_completed"]
    assert "failed" in caplog.text


@pytest.mark.usefixtures("db")
def test_a_run_inside_the_callers_transaction_is_rolled_back_with_it() -> None:
    from automate.models import Execution
    from automate.runtime import Runtime
    from django.db import transaction

    publish({**SECRET_WORKFLOW, "trigger": {"type": "manual"}})
    with transaction.atomic():
        execution_id = run_workflow("w", {"x": 1})
        Runtime().run_execution(execution_id)
        assert Execution.objects.get().status == "SUCCESS"
        transaction.set_rollback(True)
    assert Execution.objects.count() == 0


def test_a_table_of_a_command_keeps_its_columns_whatever_cells_hold() -> None:
    rows = [("a\nb", "1,000", "x"), ("\x1b[2Jlong name", "7", "")]
    assert columns(("name", "rows", "note"), rows, numbers=("rows",)) == [
        "name           rows  note",
        "a b           1,000  x",
        "[2Jlong name      7",
    ]
    assert columns(("name", "rows"), []) == ["name  rows"]
