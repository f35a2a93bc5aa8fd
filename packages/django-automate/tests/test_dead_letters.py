"""``automate dlq``, and what requeueing means to a run."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from automate.dead_letters import carry_on
from automate.events import emit_event, run_workflow
from automate.models import AuditLogEntry, Execution, ExecutionRun, RunStatus, StepRun
from automate.publish import publish
from automate_core.connectors import ActionContext
from automate_outbox.dead import DeadLetters, Requeued, discard, requeue
from automate_outbox.models import OutboxJob
from automate_outbox.reaper import OutboxReaper
from automate_outbox.store import get_store
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

pytestmark = pytest.mark.usefixtures("db")


def dlq(*arguments: str, status: int = 0) -> Any:
    """Run ``automate dlq`` in this project and read its JSON."""
    out = io.StringIO()
    if status:
        with pytest.raises(CommandError) as caught:
            call_command("automate", "dlq", *arguments, "--json", stdout=out)
        assert caught.value.returncode == status
    else:
        call_command("automate", "dlq", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue()) if out.getvalue() else None


def bury(job_id: Any, crashes: int = 2) -> None:
    """Let the worker that holds an item die, for the last time that is allowed."""
    OutboxJob.objects.filter(pk=job_id).update(
        status="CLAIMED",
        attempts=1,
        crashes=crashes,
        lease_owner="gone",
        lease_token="t",
        lease_expires_at=timezone.now() - timedelta(minutes=1),
    )
    assert OutboxReaper().reap_stale_items() == 1
    assert OutboxJob.objects.get(pk=job_id).status == "FAILED"


def cut_off(calls: list[tuple[str, str]], actions: Any) -> ExecutionRun:
    """A run that died in its second step."""

    @actions("one")
    def one(ctx: ActionContext) -> int:
        calls.append(("one", ctx.idempotency_key))
        return 1

    @actions("two")
    def two(number: int, ctx: ActionContext) -> int:
        calls.append(("two", ctx.idempotency_key))
        return number + 1

    steps = [
        {"id": "one", "action": "test.one"},
        {"id": "two", "action": "test.two", "params": {"number": "{{ steps.one.output }}"}},
    ]
    publish({"slug": "w", "trigger": {"type": "manual"}, "steps": steps, "output": {"n": "{{ steps.two.output }}"}})
    run = ExecutionRun.objects.get(execution_id=run_workflow("w", {}))
    now = timezone.now()
    StepRun.objects.create(
        run=run, step_id="one", action="test.one", status="SUCCESS", output=41, idempotency_key="k1", finished_at=now
    )
    bury(run.job_id)
    run.refresh_from_db()
    assert (run.status, run.execution.status) == ("FAILED", "FAILED")
    return run


def test_a_dead_run_is_carried_on_by_a_new_one_under_the_same_keys(actions: Any, work: Any) -> None:
    calls: list[tuple[str, str]] = []
    dead = cut_off(calls, actions)
    assert requeue(DeadLetters(), actor="me") == Requeued(1, 0)
    execution = Execution.objects.get()
    assert (execution.status, execution.finished_at) == ("QUEUED", None)
    work()
    assert calls == [("two", f"{dead.pk}:two")]  # what was done is not done again; what was cut off is known again
    execution.refresh_from_db()
    assert (execution.status, execution.finished_at is not None) == ("SUCCESS", True)
    old, new = execution.runs.order_by("number")
    assert (old.status, (old.error or {}).get("code"), old.number) == ("FAILED", "crashed", 1)  # final
    assert (new.status, new.outputs, new.number) == ("SUCCESS", {"n": 42}, 2)
    assert new.trace_id == old.trace_id
    assert new.steps.values_list("step_id", "output", "idempotency_key").first() == ("one", 41, "k1")
    assert old.steps.count() == 1


def test_a_run_that_dies_twice_keeps_the_keys_of_the_first(actions: Any, work: Any) -> None:
    calls: list[tuple[str, str]] = []
    dead = cut_off(calls, actions)
    for _ in range(2):
        assert requeue(DeadLetters(), actor="me") == Requeued(1, 0)
        bury(dead.job_id)
    assert requeue(DeadLetters(), actor="me") == Requeued(1, 0)
    work()
    assert calls == [("two", f"{dead.pk}:two")]
    statuses = [run.status for run in Execution.objects.get().runs.order_by("number")]
    assert statuses == ["FAILED", "FAILED", "FAILED", "SUCCESS"]


@pytest.mark.parametrize("end", ["cancelled", "replayed", "gone", "mistyped"])
def test_what_cannot_be_carried_on_stays_dead(end: str, actions: Any) -> None:
    dead = cut_off([], actions)
    if end == "cancelled":
        Execution.objects.update(status=RunStatus.CANCELLED)
    elif end == "replayed":
        ExecutionRun.objects.create(execution=dead.execution, number=2, trace_id="t", status=RunStatus.FAILED)
    elif end == "gone":
        dead.execution.delete()
    else:
        OutboxJob.objects.update(payload={"run_id": "no id"})
    runs = ExecutionRun.objects.count()
    assert requeue(DeadLetters(), actor="me") == Requeued(0, 1)
    assert OutboxJob.objects.get().status == "FAILED"
    assert ExecutionRun.objects.count() == runs
    assert not AuditLogEntry.objects.filter(action__startswith="dead_letters").exists()


def test_many_runs_share_their_statements(actions: Any) -> None:
    @actions("one")
    def one() -> int:
        return 1

    publish({"slug": "w", "trigger": {"type": "manual"}, "steps": [{"id": "one", "action": "test.one"}]})
    counts = []
    for size in (2, 6):
        payloads = {}
        for _ in range(size):
            run = ExecutionRun.objects.get(execution_id=run_workflow("w", {}))
            bury(run.job_id)
            payloads[run.job_id or 0] = {"run_id": str(run.pk)}
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            assert len(carry_on(payloads)) == size
        counts.append(len(queries))
    # Two for each run: the one that copies its steps within the database, and the one that finds what they hold.
    assert counts == [5 + 2 * 2, 5 + 2 * 6]


def test_an_event_is_decided_again(work: Any) -> None:
    event_id = emit_event("order.paid", {"n": 1})
    bury(OutboxJob.objects.get().pk)
    (group,) = dlq("list")
    assert (group["kind"], group["count"]) == ("automate.event", 1)
    assert group["sample_error"].startswith("crashed")
    publish(
        {
            "slug": "w",
            "trigger": {"type": "event", "event": "order.*"},
            "steps": [{"id": "say", "action": "flow.log", "params": {"message": "x"}}],
        }
    )
    assert dlq("requeue", str(group["sample_id"]), "--yes")["requeued"] == 1
    work()
    assert str(Execution.objects.get(status="SUCCESS").event_id) == event_id
    assert dlq("list") == []


def test_nothing_is_changed_without_a_filter_or_without_consent() -> None:
    emit_event("order.paid", {"n": 1})
    job = OutboxJob.objects.get()
    bury(job.pk)
    for action in ("requeue", "discard"):
        assert dlq(action, "--yes", status=2) is None  # nobody means everything without saying so
        assert dlq(action, "--all", status=2)["matched"] == 1  # and nobody is there to be asked
    assert OutboxJob.objects.get().status == "FAILED"
    assert dlq("discard", "--all", "--yes", "--kind", "automate.run") == {
        "matched": 0, "requeued": 0, "left": 0, "discarded": 0,
    }  # fmt: skip
    assert dlq("discard", "--error", "CRASHED", "--since", "1h", "--yes")["discarded"] == 1
    assert not OutboxJob.objects.exists()
    entry = AuditLogEntry.objects.get(action="dead_letters.discarded")
    assert entry.resource == f"outbox:{job.pk}"
    assert entry.details["count"] == 1
    assert entry.details["filter"]["error"] == "CRASHED"
    assert entry.actor


@pytest.mark.parametrize("action", ["requeue", "discard"])
def test_an_id_that_is_no_dead_letter_is_told(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        emit_event("order.paid", {"n": number})
    first, second = OutboxJob.objects.order_by("pk")
    bury(first.pk)
    report = dlq(action, str(first.pk), str(second.pk), "--yes", status=1)
    assert (report["matched"], report["requeued"] + report["discarded"]) == (1, 1)
    assert capsys.readouterr().err == f"automate: {second.pk} is no dead letter\n"
    assert not DeadLetters().rows("default").exists()


def test_consent_is_asked_for_with_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    emit_event("order.paid", {"n": 1})
    bury(OutboxJob.objects.get().pk)
    asked: list[str] = []
    answers = iter(("n", "y"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

    def ask(question: str) -> str:
        asked.append(question)
        return next(answers)

    monkeypatch.setattr("builtins.input", ask)
    dlq("discard", "--all", status=2)
    assert OutboxJob.objects.count() == 1
    assert dlq("discard", "--all")["discarded"] == 1
    assert asked == ["Discard 1 dead letter? [y/N] "] * 2


def test_an_audit_that_cannot_be_written_undoes_the_batch(monkeypatch: pytest.MonkeyPatch, actions: Any) -> None:
    cut_off([], actions)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise LookupError("no audit")

    monkeypatch.setattr(AuditLogEntry.objects, "create", fail)
    for act in (requeue, discard):
        with pytest.raises(LookupError):
            act(DeadLetters(), actor="me")
    assert OutboxJob.objects.get().status == "FAILED"
    assert ExecutionRun.objects.count() == 1
    assert Execution.objects.get().status == "FAILED"


def test_what_is_shown_is_redacted_and_cannot_steer_the_terminal() -> None:
    emit_event("order.paid", {"n": 1})
    job = OutboxJob.objects.get()
    bury(job.pk)
    OutboxJob.objects.update(payload={"event_id": "e", "password": "hunter2"}, last_error="\x1b[2Jgone\nline 2")
    (shown,) = dlq("show", str(job.pk))
    assert shown["payload"]["event_id"] == "e"
    assert "hunter2" not in json.dumps(shown)
    for arguments in (("list",), ("list", "--flat"), ("show", str(job.pk))):
        out = io.StringIO()
        call_command("automate", "dlq", *arguments, stdout=out)
        assert "gone" in out.getvalue()
        assert "\x1b" not in out.getvalue()
        assert "hunter2" not in out.getvalue()
    assert dlq("list", "--flat")[0]["id"] == job.pk
    assert dlq("show", str(job.pk + 1), status=1) == []


def test_the_lists_have_a_head() -> None:
    emit_event("order.paid", {"n": 1})
    job = OutboxJob.objects.get()
    bury(job.pk)
    died = OutboxJob.objects.get()
    at = f"{died.completed_at:%Y-%m-%d %H:%M:%SZ}"

    def shown(*arguments: str) -> list[list[str]]:
        out = io.StringIO()
        call_command("automate", "dlq", "list", *arguments, stdout=out)
        return [re.split(" {2,}", line.strip()) for line in out.getvalue().splitlines()]

    assert shown() == [
        ["count", "kind", "fingerprint", "first", "last", "newest"],
        ["1", "automate.event", died.fingerprint, at, at, f"#{job.pk}"],
        [died.last_error],
    ]
    assert shown("--flat") == [
        ["id", "kind", "fingerprint", "died", "error"],
        [f"#{job.pk}", "automate.event", died.fingerprint, at, died.last_error],
    ]


def test_the_admin_asks_and_obeys_permissions(actions: Any) -> None:
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Permission
    from django.test import Client
    from django.urls import reverse

    emit_event("order.paid", {"n": 1})  # alive, and chosen too
    dead: Any = cut_off([], actions)
    url = reverse("admin:automate_outbox_outboxjob_changelist")
    chosen = {"action": "requeue_dead", "_selected_action": [str(job.pk) for job in OutboxJob.objects.all()]}
    client = Client()
    user = get_user_model().objects.create(username="ann", is_staff=True)
    client.force_login(user)
    user.user_permissions.add(Permission.objects.get(codename="view_outboxjob"))
    client.post(url, {**chosen, "confirmed": "yes"})
    assert OutboxJob.objects.get(pk=dead.job_id).status == "FAILED"  # who may look may not requeue
    user.user_permissions.add(Permission.objects.get(codename="change_outboxjob"))
    page = client.post(url, {**chosen, "confirmed": "yes"}, follow=True).content.decode()
    assert "0 dead letters requeued. 1 are of kinds that you may not requeue." in page
    assert OutboxJob.objects.get(pk=dead.job_id).status == "FAILED"  # that is for items of other kinds
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_outboxjob", "replay_run"]))
    asked = client.post(url, chosen).content.decode()
    assert "1 dead letter will be due again" in asked
    assert OutboxJob.objects.get(pk=dead.job_id).status == "FAILED"
    client.post(url, {**chosen, "action": "discard_dead", "confirmed": "yes"})
    assert OutboxJob.objects.count() == 2  # requeueing does not mean discarding
    client.post(url, {**chosen, "confirmed": "yes"})
    assert OutboxJob.objects.get(pk=dead.job_id).status == "PENDING"
    bury(dead.job_id)
    user.user_permissions.add(Permission.objects.get(codename="delete_outboxjob"))
    client.post(url, {**chosen, "action": "discard_dead", "confirmed": "yes"})
    assert [job.kind for job in OutboxJob.objects.all()] == ["automate.event"]
    entries = AuditLogEntry.objects.filter(action__startswith="dead_letters").order_by("pk")
    assert [(entry.actor, entry.action) for entry in entries] == [
        ("ann (admin)", "dead_letters.requeued"),
        ("ann (admin)", "dead_letters.discarded"),
    ]
    user.delete()


@pytest.mark.parametrize("change", [requeue, discard])
def test_the_entry_belongs_to_the_tenant_of_all_the_letters(change: Any) -> None:
    for tenants, owner in ((["acme", "acme"], "acme"), (["acme", "globex"], ""), (["", ""], "")):
        OutboxJob.objects.all().delete()
        for tenant in tenants:
            emit_event("order.paid", {}, tenant=tenant)
        ids = tuple(OutboxJob.objects.values_list("pk", flat=True))
        for job_id in ids:
            bury(job_id)
        change(DeadLetters(ids=ids), actor="ann")
        entry = AuditLogEntry.objects.filter(action__startswith="dead_letters").latest("position")
        assert (entry.tenant, entry.details["count"]) == (owner, 2)


@pytest.mark.parametrize(("verb", "done"), [("requeue", "requeued"), ("discard", "discarded")])
def test_the_admin_says_what_became_of_letters_that_went_meanwhile(
    verb: str, done: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from automate_outbox import admin
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.urls import reverse

    for n in range(3):
        emit_event("order.paid", {"n": n})
    ids = list(OutboxJob.objects.values_list("pk", flat=True))
    for job_id in ids:
        bury(job_id)
    change = getattr(admin, verb)

    def late(letters: DeadLetters, **options: Any) -> Any:
        OutboxJob.objects.filter(pk=ids[0]).delete()
        return change(letters, **options)

    monkeypatch.setattr(admin, verb, late)
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("boss"))
    url = reverse("admin:automate_outbox_outboxjob_changelist")
    form = {"action": f"{verb}_dead", "_selected_action": [str(pk) for pk in ids], "confirmed": "yes"}
    page = client.post(url, form, follow=True).content.decode()
    assert f"2 dead letters {done}. 1 had gone meanwhile." in page
    assert "carry on" not in page
    get_user_model().objects.all().delete()


PROJECT = """
SECRET_KEY = "x"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "automate_outbox", "automate"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
"""
MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite_settings")
execute_from_command_line(sys.argv)
"""


def test_one_subcommand_from_the_console_and_from_manage_py(tmp_path: Path) -> None:
    (tmp_path / "mysite_settings.py").write_text(PROJECT)
    (tmp_path / "manage.py").write_text(MANAGE)
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}

    def call(*command: str, folder: Path = tmp_path) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    console = ("-m", "automate_core", "dlq", "list", "--json")
    status, text = call(*console)
    assert status == 1
    assert "manage.py migrate" in text  # there are no tables yet
    assert call("manage.py", "migrate", "--verbosity", "0")[0] == 0
    assert call(*console) == call("manage.py", "automate", "dlq", "list", "--json") == (0, "[]\n")
    assert call("manage.py", "automate", "plugins", "--settings", "mysite_settings")[0] == 0
    status, text = call("manage.py", "automate", "--help")
    assert (status, "dlq" in text) == (0, True)
    assert "dlq" in call("manage.py", "help", "automate")[1]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    status, text = call(*console, folder=elsewhere)
    assert status == 1
    assert "--settings" in text
    status, text = call(*console, "--settings", "no.such", folder=tmp_path)
    assert status != 0
    assert "no.such" in text


def test_the_console_command_lists_its_subcommands_without_django() -> None:
    code = "import sys; from automate_core.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in sys.modules if m == 'django' or m.startswith('django.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.endswith("[]\n")
    assert "dlq" in done.stdout


def test_a_crash_uses_up_no_attempt_that_max_crashes_allows(configured: Any, work: Any) -> None:
    configured(EXECUTION={"max_retries": 0}, OUTBOX={"max_crashes": 6})
    step = {"id": "a", "action": "flow.log", "params": {"message": "x"}}
    publish({"slug": "w", "trigger": {"type": "event", "event": "a.b"}, "steps": [step]})
    run_workflow("w", {})
    emit_event("a.b", {})
    for _ in range(5):
        items = get_store().claim_batch("gone", 10)
        assert len(items) == 2
        OutboxJob.objects.update(lease_expires_at=timezone.now() - timedelta(minutes=1))
        assert OutboxReaper(max_crashes=6).reap_stale_items() == 2
    work(settle=False)
    assert set(OutboxJob.objects.values_list("kind", "status", "max_attempts")) == {
        ("automate.run", "COMPLETED", 6), ("automate.event", "COMPLETED", 6),
    }  # fmt: skip
    assert list(Execution.objects.values_list("status", flat=True)) == ["SUCCESS"] * 2
    configured(EXECUTION={"max_retries": 8}, OUTBOX={"max_crashes": 6})
    emit_event("a.b", {})
    assert OutboxJob.objects.latest("id").max_attempts == 9
