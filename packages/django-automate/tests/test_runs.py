"""Events become decisions, decisions become runs, runs end."""

# The fixture that decorates is Any, and a JSON column that may be null is known to be filled where it is read.
# mypy: disable-error-code="untyped-decorator, index"

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from automate.errors import InvalidDefinitionError, PermanentError, TransientError
from automate.events import emit_event, emit_events, run_workflow
from automate.models import Decision, Event, Execution, ExecutionRun, StepRun
from automate.publish import publish
from automate.runtime import Runtime
from automate_core import settings
from automate_core.connectors import ActionContext
from automate_core.workflow import WorkflowDefinition
from automate_outbox.models import OutboxJob
from automate_outbox.store import get_store
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.usefixtures("db")


def definition(slug: str, steps: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"slug": slug, "trigger": {"type": "manual"}, "steps": steps, **more}


def on(event: str, rule: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "event", "event": event} | ({"rule": rule} if rule else {})


def run(slug: str, payload: dict[str, Any] | None = None) -> ExecutionRun:
    execution_id = run_workflow(slug, payload or {})
    Runtime().run_execution(execution_id)
    return ExecutionRun.objects.get(execution_id=execution_id)


def steps(run: ExecutionRun) -> list[tuple[str, str, int]]:
    return [(s.step_id, s.status, s.attempt) for s in run.steps.all()]


def test_from_event_to_finished_runs(actions: Any, work: Any) -> None:
    @actions("double")
    def double(number: int) -> int:
        return number * 2

    publish(
        definition(
            "big",
            [
                {"id": "double", "action": "test.double", "params": {"number": "{{ event.payload.amount }}"}},
                {
                    "id": "say",
                    "action": "flow.log",
                    "params": {"message": "{{ event.type }}: {{ steps.double.output }}"},
                },
            ],
            trigger=on("order.*", {">=": [{"var": "amount"}, 100]}),
            output={"doubled": "{{ steps.double.output }}"},
        )
    )
    publish(
        definition(
            "small",
            [{"id": "say", "action": "flow.log", "params": {"message": "small"}}],
            trigger=on("order.paid", {"<": [{"var": "amount"}, 100]}),
        )
    )
    publish(
        definition("other", [{"id": "say", "action": "flow.log", "params": {"message": "x"}}], trigger=on("user.*"))
    )
    event_id = emit_event("order.paid", {"amount": 150})
    assert work() == 1
    decisions = {d.version.workflow.slug: d for d in Decision.objects.filter(event_id=event_id)}
    assert {slug: d.matched for slug, d in decisions.items()} == {"big": True, "small": False}
    assert decisions["small"].explanation["result"] is False
    assert "150" in decisions["small"].explanation["reason"]
    execution = Execution.objects.get()
    assert (execution.status, str(execution.event_id)) == ("SUCCESS", event_id)
    found = execution.runs.get()
    assert (found.status, found.outputs) == ("SUCCESS", {"doubled": 300})
    assert steps(found) == [("double", "SUCCESS", 1), ("say", "SUCCESS", 1)]
    assert found.steps.get(step_id="say").output == {"message": "order.paid: 300"}
    assert set(OutboxJob.objects.values_list("status", flat=True)) == {"COMPLETED"}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="it is PostgreSQL whose updates may spare the indexes")
def test_that_a_run_changes_is_written_to_no_index(actions: Any, work: Any) -> None:
    actions("nothing")(lambda: None)
    publish(definition("often", [{"id": "a", "action": "test.nothing"}], trigger=on("it.happened")))
    with transaction.atomic(), connection.cursor() as cursor:  # which has counts of its own
        emit_events([{"type": "it.happened", "payload": {}}] * 200)
        work()
        for table in ("automate_execution", "automate_executionrun"):
            counts = "pg_stat_get_xact_tuples_updated(%s::regclass), pg_stat_get_xact_tuples_hot_updated(%s::regclass)"
            cursor.execute(f"SELECT {counts}", [table, table])
            changed, spared = cursor.fetchone()
            assert changed >= 200
            assert spared >= 0.9 * changed, f"{changed - spared} of {changed} changes in {table} went to its indexes"


def test_a_run_continues_the_trace_of_its_event_or_begins_one(actions: Any, work: Any) -> None:
    actions("nothing")(lambda: None)
    publish(definition("traced", [{"id": "a", "action": "test.nothing"}], trigger=on("it.happened")))
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for traceparent in (
        f"00-{trace}-00f067aa0ba902b7-01",
        "",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{trace}-x-01",
    ):
        emit_event("it.happened", {}, traceparent=traceparent)
    work()
    run_workflow("traced", {})
    continued, *begun = ExecutionRun.objects.order_by("id").values_list("trace_id", flat=True)
    assert continued == trace
    assert begun == sorted(begun), "an index over them grows at its end"
    assert all(re.fullmatch("[0-9a-f]{32}", one) and one != trace for one in begun)
    assert len(set(begun)) == 4


def test_several_matches_each_get_a_run(work: Any) -> None:
    for slug in ("one", "two", "three"):
        publish(definition(slug, [{"id": "s", "action": "flow.log", "params": {"message": slug}}], trigger=on("a.b")))
    emit_event("a.b", {})
    work()
    assert Execution.objects.filter(status="SUCCESS").count() == 3


def test_branches_join_and_conditions_skip(actions: Any) -> None:
    calls: list[str] = []

    @actions("note")
    def note(name: str) -> str:
        calls.append(name)
        return name

    publish(
        definition(
            "graph",
            [
                {"id": "a", "action": "test.note", "params": {"name": "a"}},
                {"id": "b", "action": "test.note", "params": {"name": "b"}, "needs": ["a"]},
                {
                    "id": "c",
                    "action": "test.note",
                    "params": {"name": "c"},
                    "needs": ["a"],
                    "if": {"==": [{"var": "event.payload.c"}, True]},
                },
                {"id": "d", "action": "test.note", "params": {"name": "{{ steps.b.output }}d"}, "needs": ["b"]},
                {"id": "after_c", "action": "test.note", "params": {"name": "never"}, "needs": ["c"]},
            ],
        )
    )
    found = run("graph", {"c": False})
    assert found.status == "SUCCESS"
    assert sorted(calls) == ["a", "b", "bd"]
    assert {s.step_id: s.status for s in found.steps.all()} == {
        "a": "SUCCESS", "b": "SUCCESS", "c": "SKIPPED", "d": "SUCCESS", "after_c": "SKIPPED",
    }  # fmt: skip
    assert found.steps.get(step_id="c").reason


def test_a_transient_failure_is_retried_as_a_row_and_keeps_its_idempotency_key(
    actions: Any, work: Any, configured: Any
) -> None:
    configured(EXECUTION={"retry_initial_seconds": 3.0})  # longer than the drain below can take
    seen: list[tuple[int, str]] = []

    @actions("flaky")
    def flaky(ctx: ActionContext) -> str:
        seen.append((ctx.attempt, ctx.idempotency_key))
        if ctx.attempt < 3:
            raise TransientError("not yet")
        return "done"

    publish(definition("flaky", [{"id": "f", "action": "test.flaky"}]))
    execution_id = run_workflow("flaky", {})
    work(settle=False)
    found = ExecutionRun.objects.get(execution_id=execution_id)
    assert found.status == "WAITING"
    waiting = OutboxJob.objects.get(status="PENDING")
    assert waiting.pk == found.job_id
    assert waiting.next_attempt_at > waiting.created_at
    configured(EXECUTION={"retry_initial_seconds": 0.01})
    work()
    found.refresh_from_db()
    assert found.status == "SUCCESS"
    assert steps(found) == [("f", "RETRY", 1), ("f", "RETRY", 2), ("f", "SUCCESS", 3)]
    assert len({key for _, key in seen}) == 1
    assert {s.error["message"] for s in found.steps.filter(status="RETRY")} == {"not yet"}


def test_retries_end_and_the_run_fails_with_the_reason(actions: Any, configured: Any) -> None:
    configured(EXECUTION={"max_retries": 1, "retry_initial_seconds": 0.01, "retry_max_seconds": 0.01})

    @actions("never")
    def never() -> None:
        raise TransientError("still not")

    publish(
        definition(
            "never",
            [{"id": "f", "action": "test.never"}, {"id": "g", "action": "flow.log", "params": {"message": "x"}}],
        )
    )
    found = run("never")
    assert found.status == "FAILED"
    assert steps(found) == [("f", "RETRY", 1), ("f", "FAILED", 2)]
    assert found.error["step"] == "f"
    assert "still not" in found.error["message"]
    assert Execution.objects.get().status == "FAILED"


def test_a_workflow_sets_the_retries_of_its_steps_over_the_settings_and_under_the_step(actions: Any) -> None:
    @actions("never")
    def never() -> None:
        raise TransientError("still not")

    plain = {"id": "plain", "action": "test.never", "on_error": "continue"}
    own = {"id": "own", "action": "test.never", "retry": {"max_attempts": 3}}
    publish(definition("never", [plain, own], retry={"max_attempts": 2, "initial": 0.01}))
    found = run("never")
    assert steps(found) == [("plain", "RETRY", 1), ("plain", "FAILED", 2), *[("own", "RETRY", n) for n in (1, 2)],
                            ("own", "FAILED", 3)]  # fmt: skip


def test_a_version_keeps_every_part_of_its_definition(actions: Any) -> None:
    whole = WorkflowDefinition.model_validate(
        definition(
            "whole",
            [{"id": "say", "action": "flow.log", "params": {"message": "x"}}],
            output={"said": "{{ steps.say.output }}"},
            concurrency={"key": "k", "mode": "queue"},
            retry={"max_attempts": 2},
        )
    )
    version, _ = publish(whole)
    version.refresh_from_db()
    assert set(version.definition) == set(WorkflowDefinition.model_fields)
    assert version.definition == whole.to_json()


def test_a_permanent_failure_is_not_retried_and_continue_goes_on(actions: Any) -> None:
    @actions("broken")
    def broken() -> None:
        raise PermanentError("no")

    publish(
        definition(
            "go-on",
            [
                {"id": "f", "action": "test.broken", "on_error": "continue"},
                {"id": "g", "action": "flow.log", "params": {"message": "after"}},
            ],
        )
    )
    found = run("go-on")
    assert found.status == "SUCCESS"
    assert steps(found) == [("f", "FAILED", 1), ("g", "SUCCESS", 1)]


@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt(), RecursionError(), ValueError("secretless")])
def test_whatever_an_action_raises_is_an_error_of_its_step(actions: Any, exc: BaseException) -> None:
    @actions("bad")
    def bad() -> None:
        raise exc

    publish(definition("bad", [{"id": "f", "action": "test.bad"}]))
    found = run("bad")
    assert found.status == "FAILED"
    assert type(exc).__name__ in found.error["message"]


def test_a_timeout_is_enforced_in_threads(actions: Any) -> None:
    from automate.worker.loop import Worker, WorkerOptions

    cancelled = []

    @actions("slow")
    def slow(ctx: ActionContext) -> None:
        cancelled.append(ctx.cancelled.wait(5))

    publish(definition("slow", [{"id": "f", "action": "test.slow", "timeout": 0.2, "retry": {"max_attempts": 1}}]))
    run_workflow("slow", {})
    began = time.monotonic()
    Worker(WorkerOptions.from_settings(concurrency=2)).run(drain=True)
    assert time.monotonic() - began < 4
    found = ExecutionRun.objects.get()
    assert found.status == "FAILED"
    assert found.error["code"] == "step_timeout"
    deadline = time.monotonic() + 2
    while not cancelled and time.monotonic() < deadline:
        time.sleep(0.01)
    assert cancelled == [True]


def test_asynchronous_actions_run_and_are_cancelled_in_time(actions: Any) -> None:
    import asyncio

    @actions("pause")
    async def pause(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "slept"

    publish(
        definition(
            "async",
            [
                {
                    "id": "f",
                    "action": "test.pause",
                    "params": {"seconds": "{{ event.payload.s }}"},
                    "timeout": 0.3,
                    "retry": {"max_attempts": 1},
                }
            ],
        )
    )
    assert run("async", {"s": 0.01}).status == "SUCCESS"
    late = run("async", {"s": 30})
    assert (late.status, late.error["code"]) == ("FAILED", "step_timeout")


def test_input_is_checked_before_the_call(actions: Any) -> None:
    called = []

    @actions("typed")
    def typed(number: int) -> None:
        called.append(number)

    publish(definition("typed", [{"id": "f", "action": "test.typed", "params": {"number": "{{ event.payload.n }}"}}]))
    found = run("typed", {"n": "many"})
    assert (found.status, called) == ("FAILED", [])
    assert found.error["code"] == "invalid_input"
    missing = run("typed", {})
    assert missing.error["code"] == "template"
    assert "event.payload.n" in missing.error["message"]


def test_secrets_reach_the_action_and_nothing_else(actions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATE_API_KEY", "s3cr3t-value-of-the-key")
    got = []

    @actions("call")
    def call(key: str, text: str) -> dict[str, str]:
        got.append((key, text))
        return {"echo": f"sent {key}"}

    publish(
        definition(
            "secret",
            [
                {
                    "id": "f",
                    "action": "test.call",
                    "params": {"key": "$secret:API_KEY", "text": "{{ event.payload.text }}"},
                }
            ],
        )
    )
    found = run("secret", {"text": "$secret:API_KEY"})
    assert found.status == "SUCCESS", found.error
    assert got == [("s3cr3t-value-of-the-key", "$secret:API_KEY")]
    row = found.steps.get()
    assert row.input["key"] == "$secret:API_KEY"
    assert "s3cr3t" not in str(row.output)


def test_an_unknown_secret_fails_the_step_by_name(actions: Any) -> None:
    @actions("call")
    def call(key: str) -> None: ...

    publish(definition("secret", [{"id": "f", "action": "test.call", "params": {"key": "$secret:NOT_THERE_AT_ALL"}}]))
    found = run("secret")
    assert found.error["code"] == "secret_not_found"
    assert "NOT_THERE_AT_ALL" in found.error["message"]


def test_the_allow_list_is_enforced(configured: Any) -> None:
    publish(definition("log", [{"id": "f", "action": "flow.log", "params": {"message": "x"}}]))
    configured(POLICY={"connector_allowlist": ["http.*", "slack"]})
    found = run("log")
    assert found.error["code"] == "connector_not_allowed"
    configured(POLICY={"connector_allowlist": ["flow.log"]})
    assert run("log").status == "SUCCESS"


def test_the_kill_switch_keeps_everything_and_runs_nothing(configured: Any, work: Any) -> None:
    publish(definition("log", [{"id": "f", "action": "flow.log", "params": {"message": "x"}}], trigger=on("a.b")))
    configured(ENABLED=False)
    emit_event("a.b", {})
    assert work(settle=False) == 0
    configured(ENABLED=True)
    work()
    assert Execution.objects.get().status == "SUCCESS"


def test_an_execution_made_by_hand(actions: Any) -> None:
    from automate.models import Automation

    publish(
        definition("hand", [{"id": "f", "action": "flow.log", "params": {"message": "{{ event.payload.order_id }}"}}])
    )
    automation = Automation.objects.get(slug="hand")
    # A property with a setter, which Django takes and its stubs do not know.
    execution = Execution.objects.create(automation=automation, context={"order_id": "ORD-123"})  # type: ignore[misc]
    assert execution.automation == automation
    Runtime().run_execution(execution.id)
    execution.refresh_from_db()
    assert execution.status == "SUCCESS"
    Runtime().run_execution(str(execution.id))  # final: nothing happens
    assert execution.runs.count() == 1
    with pytest.raises(Execution.DoesNotExist):
        Runtime().run_execution("550e8400-e29b-41d4-a716-446655440000")
    with pytest.raises(Execution.DoesNotExist):
        Runtime().run_execution("not an id")


def test_a_run_that_somebody_else_has_is_waited_for_in_longer_and_longer_pauses(
    actions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions("once")(lambda: {})
    publish(definition("held", [{"id": "a", "action": "test.once"}]))
    execution_id = run_workflow("held", {})
    (item,) = get_store().claim_batch("somebody")
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 12:
            get_store().release_many({item.id: item.lease_token}, "somebody")

    monkeypatch.setattr(time, "sleep", sleep)
    with CaptureQueriesContext(connection) as captured:
        Runtime().run_execution(execution_id)
    poll = settings.current().worker.poll_seconds
    assert pauses[:12] == pytest.approx([min(0.02 * 2**n, poll) for n in range(12)])
    assert sum("lease_expires_at <" in query["sql"] for query in captured.captured_queries) == 1, (
        "one look for the dead"
    )
    assert Execution.objects.get(pk=execution_id).status == "SUCCESS"


def test_loops_of_events_are_broken(work: Any, configured: Any) -> None:
    configured(EVENTS={"max_causation_depth": 3})
    publish(
        definition(
            "loop",
            [{"id": "f", "action": "flow.emit", "params": {"type": "again", "payload": {}}}],
            trigger=on("again"),
        )
    )
    emit_event("again", {})
    work()
    assert sorted(Event.objects.values_list("causation_depth", flat=True)) == [0, 1, 2, 3]
    assert Execution.objects.filter(status="FAILED").count() == 1


def test_publishing(actions: Any) -> None:
    steps_ = [{"id": "f", "action": "flow.log", "params": {"message": "x"}}]
    first, new = publish(definition("w", steps_))
    again, new_again = publish(definition("w", steps_))
    assert (new, new_again, again.pk) == (True, False, first.pk)
    second, _ = publish(definition("w", [*steps_, {"id": "g", "action": "flow.log", "params": {"message": "y"}}]))
    assert (second.version_num, second.live) == (2, True)
    first.refresh_from_db()
    assert first.live is None
    assert second.lock["flow.log"]["version"] == "1"
    for bad in (
        definition("w", [{"id": "f", "action": "flow.lg"}]),
        definition("w", [{"id": "f", "action": "flow.log"}]),
        definition(
            "w", [{"id": "f", "action": "flow.log", "params": {"message": "x"}, "foreach": "{{ event.payload.l }}"}]
        ),
        definition("w", [{"id": "f", "action": "flow.sleep", "params": {"seconds": 3}}]),
    ):
        with pytest.raises(InvalidDefinitionError) as caught:
            publish(bad)
        assert caught.value.context["problems"][0]["pointer"].startswith("/steps/0")
    assert first.workflow.versions.count() == 2


def test_runs_in_flight_stay_on_their_version(actions: Any) -> None:
    publish(definition("w", [{"id": "f", "action": "flow.log", "params": {"message": "old"}}]))
    execution_id = run_workflow("w", {})
    publish(definition("w", [{"id": "f", "action": "flow.log", "params": {"message": "new"}}]))
    Runtime().run_execution(execution_id)
    assert StepRun.objects.get().output == {"message": "old"}


def test_an_endless_iterator_is_no_output(actions: Any) -> None:
    import itertools

    @actions("endless")
    def endless() -> Any:
        return itertools.count()

    publish(definition("endless", [{"id": "f", "action": "test.endless"}]))
    found = run("endless")
    assert (found.status, found.error["code"]) == ("FAILED", "permanent")
    assert "return a list" in found.error["message"]
