"""The kill switch: paused, nothing is claimed, what runs is put down, nothing is lost or done twice."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from automate.audit import record
from automate.audit.appending import reseal
from automate.doctor import examine
from automate.events import EVENT_JOB, RUN_JOB, emit_event, run_workflow
from automate.models import AuditHead, AuditLogEntry, Event, ExecutionRun, StepRun, Switch
from automate.policy.switch import LOOK_SECONDS, PauseResult, Watch, current_pause, pause, record_pause, resume
from automate.publish import publish
from automate.runtime import Runtime
from automate.worker.engine import Engine
from automate.worker.housekeeping import Housekeeper
from automate.worker.launch import InlineLauncher
from automate.worker.loop import Worker, WorkerOptions
from automate.worker.stopping import Holding
from automate_core import cli
from automate_core.errors import AuditChainBroken, AuditError, PolicyError
from automate_core.outbox import NewJob, OutboxItem
from automate_outbox.handlers import register_handler, unregister_handler
from automate_outbox.models import OutboxJob
from automate_outbox.store import get_store
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.usefixtures("db")


def steps(*names: str) -> list[dict[str, Any]]:
    return [{"id": name, "action": "test.step", "params": {"name": name}} for name in names]


@pytest.fixture
def three_steps(actions: Any) -> list[str]:
    """A workflow of three steps on ``a.b``; what they did, and what the second does beside."""
    done: list[str] = []

    @actions("step")
    def step(name: str) -> None:
        done.append(name)
        if name == "two" and done.count("two") == 1:
            pause("a bad deploy", actor="ann")

    trigger = {"type": "event", "event": "a.b"}
    publish({"slug": "three", "trigger": trigger, "steps": steps("one", "two", "three")})
    return done


def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the switch be looked at in every turn."""
    monkeypatch.setattr("automate.policy.switch.LOOK_SECONDS", 0.0)


def trail() -> list[tuple[str, str, Any]]:
    entries = AuditLogEntry.objects.filter(resource="automation:switch").order_by("pk")
    return [(entry.actor, entry.action, entry.details) for entry in entries]


def test_it_is_turned_once_with_a_reason_and_a_trail() -> None:
    assert current_pause() is None
    assert pause("a bad\ndeploy", actor="ann") == PauseResult(changed=True, unrecorded="")
    assert pause("another", actor="bob") == PauseResult(changed=False, unrecorded="")
    found = current_pause()
    assert found is not None
    assert (found.reason, found.actor, found.recorded) == ("a bad deploy", "ann", True)
    assert "paused by ann" in str(found)
    assert resume(actor="cid")
    assert not resume(actor="cid")
    assert current_pause() is None
    assert trail() == [
        ("ann", "automation.paused", {"reason": "a bad deploy", "since": found.since.isoformat()}),
        ("cid", "automation.resumed", {"was": "a bad deploy", "paused_by": "ann"}),
    ]


@pytest.mark.parametrize("odd", ["\x00", "\udce9"])
def test_a_reason_or_an_actor_that_is_no_text_stops_nobody(odd: str) -> None:
    assert pause(f"caf{odd}", actor=f"an{odd}n") == PauseResult(changed=True, unrecorded="")
    found = current_pause()
    assert found is not None
    assert found.reason in ("caf\ufffd", "caf?")
    assert found.actor in ("an\ufffdn", "an?n")
    assert resume(actor=odd)
    assert len(trail()) == 2


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def break_log() -> None:
    record("something.done", "test:log", actor="ann")
    AuditHead.objects.update(mac="0" * 64)


def mend_log() -> None:
    reseal(actor="ann", reason="it was a test")


def test_a_broken_log_keeps_nobody_from_pausing(
    three_steps: list[str], work: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    break_log()
    assert cli.main(["policy", "pause", "--reason", "an attack"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Automation is paused.")
    assert "paused, and not on record: AuditChainBroken: The head of the audit log was changed." in err
    emit_event("a.b", {})
    assert work(settle=False) == 0
    assert three_steps == []
    assert cli.main(["policy", "show"]) == 0
    assert "The audit log does not have that yet." in capsys.readouterr().out
    assert "The audit log does not have that yet" in next(one for one in examine() if one.name == "switch").message
    with pytest.raises(AuditChainBroken):
        resume(actor="cid")
    found = current_pause()
    assert found is not None
    assert (found.reason, found.recorded) == ("an attack", False)

    mend_log()
    assert resume(actor="cid")
    assert current_pause() is None
    (_, first, details), (_, second, _) = trail()
    assert (first, second) == ("automation.paused", "automation.resumed")
    assert details == {"reason": "an attack", "since": found.since.isoformat()}


def test_a_pause_is_recorded_once_as_soon_as_that_can_be_done() -> None:
    break_log()
    assert "AuditChainBroken" in pause("an attack", actor="ann").unrecorded
    since = current_pause()
    assert "AuditChainBroken" in pause("again", actor="bob").unrecorded
    mend_log()
    assert pause("again", actor="bob") == PauseResult(changed=False, unrecorded="")
    assert record_pause() == ""
    assert [(actor, details["reason"]) for actor, _, details in trail()] == [("ann", "an attack")]
    found = current_pause()
    assert found is not None
    assert found.recorded
    assert since is not None
    assert found.since == since.since
    resume(actor="cid")
    assert len(trail()) == 2


def test_a_worker_records_a_pause_belatedly(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("automate.worker.housekeeping._RECORD_SECONDS", 0.05)
    break_log()
    pause("an attack", actor="ann")
    housekeeper = Housekeeper()
    housekeeper.start()
    try:
        wait_for(lambda: "paused, and not on record: AuditChainBroken" in caplog.text)
        mend_log()
        wait_for(lambda: bool(trail()))
    finally:
        housekeeper.close()
        housekeeper._thread.join(30)
    assert [action for _, action, _ in trail()] == ["automation.paused"]


def test_whatever_keeps_a_pause_from_the_record_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (OperationalError("database is locked"), AuditError("locked for too long"), RuntimeError("no key")):

        def fail(entries: Any, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr("automate.audit.record_many", fail)
            with transaction.atomic():  # of a request, which goes on
                result = pause("now", actor="ann")
        assert result.changed
        assert str(error) in result.unrecorded
        assert current_pause() is not None
        resume(actor="ann")


@pytest.mark.skipif(connection.vendor == "sqlite", reason="whoever writes there locks all of it, and nothing else runs")
def test_a_log_that_somebody_holds_keeps_nobody_from_pausing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automate.audit.appending.LOCK_SECONDS", 1)
    held, done = threading.Event(), threading.Event()
    record("something.done", "test:log", actor="bob")  # makes the head, which a migration makes elsewhere

    def hold() -> None:
        with transaction.atomic():
            record("something.done", "test:log", actor="bob")
            held.set()
            done.wait(60)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(30)
        with connection.cursor() as cursor:
            if connection.vendor == "mysql":
                cursor.execute("SET innodb_lock_wait_timeout = 1")
        assert "AuditError: The end of the audit log was locked" in pause("now", actor="ann").unrecorded
        assert current_pause() is not None
    finally:
        done.set()
        holder.join(60)
        connection.close()
    assert record_pause() == ""
    assert len(trail()) == 1


def test_what_runs_is_put_down_after_its_step_and_goes_on_from_there(
    three_steps: list[str], work: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch)
    emit_event("a.b", {})
    work(settle=False)
    run = ExecutionRun.objects.get()
    assert (three_steps, run.status) == (["one", "two"], "RUNNING")
    assert [(step.step_id, step.status) for step in run.steps.all()] == [("one", "SUCCESS"), ("two", "SUCCESS")]
    job = OutboxJob.objects.get(kind="automate.run")
    assert (job.status, job.attempts, job.lease_owner) == ("PENDING", 0, "")
    emit_event("a.b", {})  # accepted, and kept
    assert work(settle=False) == 0
    assert Event.objects.count() == 2
    resume(actor="ann")
    work()
    assert sorted(three_steps) == sorted(["one", "two", "three"] * 2)
    assert set(ExecutionRun.objects.values_list("status", flat=True)) == {"SUCCESS"}
    assert StepRun.objects.count() == 6


def test_a_run_in_the_calling_process_is_put_down_too(three_steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    execution_id = run_workflow("three", {})
    with pytest.raises(PolicyError, match=r"paused by ann.*a bad deploy.*automate policy resume"):
        Runtime().run_execution(execution_id)
    assert three_steps == ["one", "two"]
    with pytest.raises(PolicyError):
        Runtime().run_execution(execution_id)
    resume(actor="ann")
    Runtime().run_execution(execution_id)
    assert three_steps == ["one", "two", "three"]
    assert ExecutionRun.objects.get().status == "SUCCESS"


def in_one_turn(kind: str) -> None:
    """Have all items of a kind accepted at once, each to be worked off in this thread."""
    store = get_store()
    engine = Engine(store, "w", InlineLauncher(), Holding(Watch()))
    engine.accept(store.claim_batch("w", limit=10, kinds=[kind]))
    while engine.in_hand:
        engine.flush()
        engine.pump(0.0)


def test_what_was_claimed_together_is_put_down_too(actions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    done: list[str] = []

    @actions("step")
    def step(name: str) -> None:
        done.append(name)
        pause("a bad deploy", actor="ann")

    publish({"slug": "one", "trigger": {"type": "event", "event": "a.b"}, "steps": steps("one")})
    for _ in range(5):
        emit_event("a.b", {})
    in_one_turn(EVENT_JOB)
    assert done == ["one"]
    assert (ExecutionRun.objects.count(), StepRun.objects.count()) == (5, 1)
    assert list(OutboxJob.objects.filter(status="PENDING").values_list("kind", "attempts")) == [(RUN_JOB, 0)] * 4


def test_items_of_other_kinds_are_handed_back_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    handled: list[int] = []

    class Handler:
        kind = "test.switch"

        def handle(self, item: OutboxItem) -> None:
            handled.append(item.id)
            pause("a bad deploy", actor="ann")

        def on_dead(self, item: OutboxItem, error: str) -> None:
            """Do nothing."""

        def on_requeue(self, payloads: Any) -> Any:
            return payloads

    handler = Handler()
    register_handler(handler)
    try:
        get_store().add([NewJob("test.switch", {})] * 3)
        in_one_turn("test.switch")
    finally:
        unregister_handler("test.switch")
    assert len(handled) == 1
    assert sorted(OutboxJob.objects.values_list("status", flat=True)) == ["COMPLETED", "PENDING", "PENDING"]
    assert set(OutboxJob.objects.filter(status="PENDING").values_list("attempts", "lease_owner")) == {(0, "")}


def test_of_parallel_steps_none_more_begins(actions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    done: list[str] = []

    @actions("step")
    def step(name: str) -> None:
        done.append(name)
        if len(done) == 2:
            pause("a bad deploy", actor="ann")

    publish({"slug": "wide", "trigger": {"type": "manual"}, "steps": [{**one, "needs": []} for one in steps(*"abcde")]})
    execution_id = run_workflow("wide", {})
    with pytest.raises(PolicyError, match="a bad deploy"):
        Runtime().run_execution(execution_id)
    assert done == ["a", "b"]
    resume(actor="ann")
    Runtime().run_execution(execution_id)
    assert done == list("abcde")
    assert ExecutionRun.objects.get().status == "SUCCESS"


def test_a_database_that_is_away_is_no_fault_of_the_run_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr("automate.policy.switch.current_pause", away)
    holding = Holding(Watch())
    assert not holding.is_set()
    with pytest.raises(OperationalError):
        holding.look()


def test_a_pause_that_is_known_holds_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("server closed the connection")

    at_once(monkeypatch)
    holding = Holding(Watch())
    assert not holding.is_set()
    pause("a bad deploy", actor="ann")
    assert holding.is_set()
    with monkeypatch.context() as patched:
        patched.setattr("automate.policy.switch.current_pause", away)
        assert holding.is_set()
    resume(actor="ann")
    assert not holding.is_set()


def test_either_switch_stops_everything(configured: Any, work: Any) -> None:
    configured(ENABLED=False)
    assert not Watch().is_on()
    assert "ENABLED" in Watch().why
    resume(actor="ann")
    assert not Watch().is_on()
    configured(ENABLED=True)
    assert Watch().is_on()
    pause("x", actor="ann")
    assert not Watch().is_on()


def test_the_database_is_asked_now_and_then_and_not_for_every_claim() -> None:
    now = [100.0]
    watch = Watch(lambda: now[0])
    with CaptureQueriesContext(connection) as captured:
        for _ in range(100):
            assert watch.is_on()
    assert len(captured) == 1
    pause("x", actor="ann")
    now[0] += LOOK_SECONDS - 0.01
    assert watch.is_on()
    now[0] += 0.02
    with CaptureQueriesContext(connection) as captured:
        assert not watch.is_on()
        assert not watch.is_on()
    assert len(captured) == 1


def test_claims_cost_no_statement_more() -> None:
    publish({"slug": "log", "trigger": {"type": "event", "event": "a.b"}, "steps": [
        {"id": "f", "action": "flow.log", "params": {"message": "x"}}]})  # fmt: skip
    for _ in range(20):
        emit_event("a.b", {})
    with CaptureQueriesContext(connection) as captured:
        Worker(WorkerOptions.from_settings(inline=True)).run(drain=True)
    asked = [query["sql"] for query in captured if Switch._meta.db_table in query["sql"]]
    assert ExecutionRun.objects.filter(status="SUCCESS").count() == 20
    assert len(asked) <= 2, asked  # one at the beginning, and one more where this takes longer than two seconds


def test_the_doctor_the_metrics_and_the_command_say_so(configured: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("prometheus_client")
    configured(METRICS_EXPORT=True, OUTBOX={"metrics_cache_seconds": 0})

    def metric() -> str:
        lines = Client().get("/automate/metrics").content.decode().splitlines()
        return next(line for line in lines if line.startswith("automate_enabled"))

    assert metric() == "automate_enabled 1.0"
    assert not [finding for finding in examine() if finding.name == "switch"]
    assert cli.main(["policy", "pause", "--reason", "a bad deploy"]) == 0
    assert "paused" in capsys.readouterr().out
    assert cli.main(["policy", "pause", "--reason", "again"]) == 0
    assert "Nothing was changed. Automation is paused by" in capsys.readouterr().out
    (finding,) = [finding for finding in examine() if finding.name == "switch"]
    assert (finding.level, finding.remedy) == ("warning", "automate policy resume")
    assert "a bad deploy" in finding.message
    assert metric() == "automate_enabled 0.0"
    assert cli.main(["policy", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["paused"]["reason"] == "a bad deploy"
    assert cli.main(["policy", "show"]) == 0
    assert "Automation is paused by" in capsys.readouterr().out
    assert cli.main(["policy", "resume"]) == 0
    assert metric() == "automate_enabled 1.0"
    assert cli.main(["policy", "resume"]) == 0
    assert capsys.readouterr().out == "Automation goes on.\nAutomation was not paused.\n"
    for changed in (True, False):
        assert cli.main(["policy", "pause", "--reason", "again", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"changed": changed, "unrecorded": ""}
    for changed in (True, False):
        assert cli.main(["policy", "resume", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"changed": changed, "enabled": True}
