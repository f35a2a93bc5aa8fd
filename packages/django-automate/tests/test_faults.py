"""What actions, databases and callers can do to a run, and what must not follow: lost work, doubled effects, a stop."""

# The fixture that decorates is Any, and a JSON column that may be null is known to be filled where it is read.
# mypy: disable-error-code="untyped-decorator, index"

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from automate.errors import (
    AutomateError,
    InvalidDefinitionError,
    InvalidPayloadError,
    PermanentError,
    PolicyError,
    RateLimited,
    WorkflowNotFound,
)
from automate.events import emit_event, run_workflow
from automate.models import Decision, Event, Execution, ExecutionRun, Workflow, WorkflowVersion
from automate.publish import publish
from automate.runtime import Runtime
from automate.worker.loop import Worker, WorkerOptions
from automate_core.connectors import ActionContext
from automate_outbox.models import OutboxJob
from django.db import InterfaceError, OperationalError, connection, transaction

pytestmark = pytest.mark.usefixtures("db")

FAST = {"retry_initial_seconds": 0.01, "retry_max_seconds": 0.02}


def manual(slug: str, *steps: dict[str, Any], **more: Any) -> None:
    publish({"slug": slug, "trigger": {"type": "manual"}, "steps": list(steps), **more})


def in_threads(**options: Any) -> None:
    Worker(WorkerOptions.from_settings(concurrency=2, poll=0.02, **options)).run(drain=True)


def inline(**options: Any) -> None:
    Worker(WorkerOptions.from_settings(inline=True, poll=0.02, **options)).run(drain=True)


@pytest.fixture(params=[in_threads, inline])
def work_off(request: pytest.FixtureRequest) -> Callable[..., None]:
    work: Callable[..., None] = request.param
    return work


# -- what actions raise and return -------------------------------------------------------------------------------------


class Unshowable(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


CYCLE: dict[str, Any] = {}
CYCLE["again"] = CYCLE


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(PermanentError("a\x00b"), id="NUL"),
        pytest.param(ValueError("a\x00b"), id="NUL of a foreign error"),
        pytest.param(PermanentError("a\ud800b"), id="surrogate"),
        pytest.param(AutomateError("co\x00de", "text"), id="code"),
        pytest.param(PermanentError("x" * 5_000_000), id="huge"),
        pytest.param(PermanentError("x", context={"a": {1}, "b": object(), "c": float("nan")}), id="context"),
        pytest.param(PermanentError("x", context=CYCLE), id="cyclic context"),
        pytest.param(Unshowable(), id="unshowable"),
    ],
)
def test_an_error_that_no_column_holds_does_not_repeat_the_effect(
    actions: Any, work_off: Callable[..., None], error: BaseException
) -> None:
    calls = []

    @actions("bad")
    def bad() -> None:
        calls.append(1)
        raise error

    manual("bad", {"id": "f", "action": "test.bad"})
    run_workflow("bad", {})
    work_off()
    run = ExecutionRun.objects.get()
    assert (run.status, len(calls)) == ("FAILED", 1)
    assert len(run.steps.get().error["message"]) <= 4000


def test_a_wait_that_is_no_number_is_not_waited_for(actions: Any, configured: Any) -> None:
    configured(EXECUTION={**FAST, "max_retries": 1})
    odd: Any = ["soon", float("nan")]

    @actions("busy")
    def busy(ctx: ActionContext) -> None:
        raise RateLimited("wait", retry_after=odd[ctx.attempt - 1])

    manual("busy", {"id": "f", "action": "test.busy"})
    Runtime().run_execution(run_workflow("busy", {}))
    assert ExecutionRun.objects.get().error["code"] == "rate_limited"


def test_an_input_that_no_column_holds_is_refused_before_the_call(actions: Any, work_off: Callable[..., None]) -> None:
    calls = []

    @actions("take")
    def take(text: Any) -> None:
        calls.append(text)

    def nested(value: Any, levels: int) -> Any:
        for _ in range(levels):
            value = [value]
        return value

    # Each for itself is no deeper than what the database holds.
    half = 18 if connection.vendor == "mysql" else 80
    manual("take", {"id": "f", "action": "test.take", "params": {"text": nested("{{ event.payload.x }}", half)}})
    run_workflow("take", {"x": nested(1, half)})
    work_off()
    run = ExecutionRun.objects.get()
    assert (run.status, calls) == ("FAILED", [])
    assert "nested deeper" in run.error["message"]


def test_a_definition_that_the_database_cannot_store_is_refused(actions: Any) -> None:
    @actions("take")
    def take(text: Any) -> None: ...

    value: Any = "x"
    for _ in range(27 if connection.vendor == "mysql" else 95):
        value = [value]
    with pytest.raises((InvalidPayloadError, InvalidDefinitionError), match="nested deeper"):
        manual("take", {"id": "f", "action": "test.take", "params": {"text": [[[value]]]}})
    assert Workflow.objects.count() == 0


# -- transactions ------------------------------------------------------------------------------------------------------


def test_an_action_that_leaves_a_transaction_open_fails_and_takes_nothing_along(
    actions: Any, work_off: Callable[..., None]
) -> None:
    @actions("open")
    def leave_open() -> str:
        transaction.atomic().__enter__()
        Workflow.objects.create(slug="never-committed")
        return "done"

    manual("open", {"id": "f", "action": "test.open"})
    manual("next", {"id": "f", "action": "flow.log", "params": {"message": "x"}})
    for slug in ("open", "next"):
        run_workflow(slug, {})
        work_off()
    connection.close()
    assert not Workflow.objects.filter(slug="never-committed").exists()
    statuses = dict(ExecutionRun.objects.values_list("execution__version__workflow__slug", "status"))
    assert statuses == {"open": "FAILED", "next": "SUCCESS"}
    assert "left a transaction open" in ExecutionRun.objects.get(status="FAILED").error["message"]


def test_run_execution_within_the_callers_transaction(actions: Any, configured: Any) -> None:
    configured(OUTBOX={"lease_seconds": 1})

    @actions("slow")
    def slow() -> None:
        time.sleep(0.8)  # longer than a third of the lease: on a connection of its own, nobody sees the item

    @actions("clash")
    def clash() -> None:
        Workflow.objects.create(slug="inside")  # violates the unique constraint

    manual("inside", {"id": "a", "action": "test.slow"}, {"id": "b", "action": "test.clash"})
    with transaction.atomic():
        execution_id = run_workflow("inside", {})
        Runtime().run_execution(execution_id)
        run = ExecutionRun.objects.get(execution_id=execution_id)
    assert {s.step_id: s.status for s in run.steps.all()} == {"a": "SUCCESS", "b": "FAILED"}
    assert "IntegrityError" in run.error["message"]


# -- the database ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_outlasts_a_database_that_is_away(
    actions: Any, work_off: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from automate_outbox.store import DatabaseOutboxStore

    calls, failures = [], []
    true_hold, true_success = DatabaseOutboxStore.hold_many, DatabaseOutboxStore.mark_success_many

    @actions("once")
    def once(ctx: ActionContext) -> None:
        calls.append(ctx.step_id)

    def failing(method: Any) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if len(calls) not in failures:
                failures.append(len(calls))
                raise OperationalError("the server closed the connection unexpectedly")
            return method(self, *args, **kwargs)

        return call

    manual("once", {"id": "a", "action": "test.once"}, {"id": "b", "action": "test.once"})
    run_workflow("once", {})
    monkeypatch.setattr(DatabaseOutboxStore, "hold_many", failing(true_hold))
    monkeypatch.setattr(DatabaseOutboxStore, "mark_success_many", failing(true_success))
    work_off()
    run = ExecutionRun.objects.get()
    assert (run.status, calls) == ("SUCCESS", ["a", "b"])
    assert {1, 2} <= set(failures)
    assert OutboxJob.objects.get().attempts == 1


def test_a_checkpoint_whose_answer_was_lost_is_written_once(actions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    @actions("once")
    def once(ctx: ActionContext) -> None:
        calls.append(ctx.step_id)

    manual("once", {"id": "a", "action": "test.once"}, {"id": "b", "action": "test.once"})
    true_exit = transaction.Atomic.__exit__
    lost: list[int] = []

    def exit_and_lose_the_answer(self: Any, *args: Any) -> None:
        true_exit(self, *args)
        if calls == ["a"] and not lost and not connection.in_atomic_block and args[0] is None:
            lost.append(1)
            raise OperationalError("the connection was reset while COMMIT was answered")

    execution_id = run_workflow("once", {})
    monkeypatch.setattr(transaction.Atomic, "__exit__", exit_and_lose_the_answer)
    Runtime().run_execution(execution_id)
    assert (calls, lost) == (["a", "b"], [1])
    run = ExecutionRun.objects.get()
    assert [(s.step_id, s.attempt, s.status) for s in run.steps.all()] == [("a", 1, "SUCCESS"), ("b", 1, "SUCCESS")]


def test_an_action_whose_database_is_away_is_tried_again(actions: Any, configured: Any) -> None:
    configured(EXECUTION=FAST)

    @actions("query")
    def query(ctx: ActionContext) -> None:
        if ctx.attempt == 1:
            raise OperationalError("database is locked")

    manual("query", {"id": "f", "action": "test.query"})
    Runtime().run_execution(run_workflow("query", {}))
    assert [s.status for s in ExecutionRun.objects.get().steps.all()] == ["RETRY", "SUCCESS"]


def test_leases_are_renewed_after_any_failure_to_do_so(actions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from automate_outbox.store import DatabaseOutboxStore

    renewed = []
    true_renew_many = DatabaseOutboxStore.renew_many

    def renew_many(self: Any, *args: Any) -> set[int]:
        renewed.append(1)
        if len(renewed) == 1:
            raise InterfaceError("connection already closed")
        return true_renew_many(self, *args)

    monkeypatch.setattr(DatabaseOutboxStore, "renew_many", renew_many)

    @actions("slow")
    def slow() -> None:
        time.sleep(1.6)

    manual("slow", {"id": "f", "action": "test.slow"})
    run_workflow("slow", {})
    in_threads(lease=1.0)
    assert ExecutionRun.objects.get().status == "SUCCESS"
    assert len(renewed) >= 3


def test_an_asynchronous_action_that_leaves_a_transaction_open_takes_no_other_along(actions: Any) -> None:
    from asgiref.sync import sync_to_async

    def create(slug: str, leave_open: bool) -> None:
        if leave_open:
            transaction.atomic().__enter__()
        Workflow.objects.create(slug=slug)

    @actions("create")
    async def create_it(slug: str, leave_open: bool) -> None:
        await sync_to_async(create)(slug, leave_open)

    manual(
        "create",
        {"id": "a", "action": "test.create", "params": {"slug": "lost", "leave_open": True}},
        {"id": "b", "action": "test.create", "params": {"slug": "kept", "leave_open": False}},
    )
    run_workflow("create", {})
    in_threads()
    connection.close()
    assert sorted(Workflow.objects.values_list("slug", flat=True)) == ["create", "kept"]


# -- loops, and what others may not stop -------------------------------------------------------------------------------


def test_runs_that_start_each_other_are_a_chain_too(actions: Any, configured: Any, work: Any) -> None:
    configured(EVENTS={"max_causation_depth": 4})

    @actions("again")
    def again() -> str:
        return run_workflow("loop", {})

    @actions("emit")
    def emit() -> str:
        return emit_event("loop.again", {})

    manual("loop", {"id": "f", "action": "test.emit"})
    publish(
        {
            "slug": "listen",
            "trigger": {"type": "event", "event": "loop.again"},
            "steps": [{"id": "f", "action": "test.again"}],
        }
    )
    run_workflow("loop", {})
    work()
    assert sorted(Execution.objects.values_list("causation_depth", flat=True)) == [0, 1, 2, 3, 4]
    failed = ExecutionRun.objects.get(status="FAILED")
    assert "max_causation_depth" in failed.error["message"]
    child = Execution.objects.filter(causation_depth=2).get()
    assert child.causation_id == ExecutionRun.objects.get(execution__causation_depth=1).pk


def test_a_version_that_cannot_be_compiled_keeps_no_other_from_its_event(work: Any) -> None:
    for slug in ("broken", "sound"):
        publish(
            {
                "slug": slug,
                "trigger": {"type": "event", "event": "a.b"},
                "steps": [{"id": "f", "action": "flow.log", "params": {"message": "x"}}],
            }
        )
    WorkflowVersion.objects.filter(workflow__slug="broken").update(
        trigger_spec={"type": "event", "event": "a.b", "rule": {"of_a_newer_release": [1]}}, hash="0" * 64
    )
    emit_event("a.b", {})
    work()
    assert Execution.objects.get().version.workflow.slug == "sound"
    assert "of_a_newer_release" in Decision.objects.get(matched=False).error


def test_an_execution_of_a_disabled_workflow_is_refused() -> None:
    manual("off", {"id": "f", "action": "flow.log", "params": {"message": "x"}})
    Workflow.objects.update(enabled=False)
    arguments: dict[str, Any] = {"automation": Workflow.objects.get()}
    with pytest.raises(WorkflowNotFound, match="disabled"):
        Execution(**arguments)


def test_run_execution_takes_over_from_a_worker_that_died(configured: Any) -> None:
    from automate_outbox.store import get_store

    configured(OUTBOX={"lease_seconds": 1})
    manual("w", {"id": "f", "action": "flow.log", "params": {"message": "x"}})
    execution_id = run_workflow("w", {})
    assert get_store().claim_batch("dead", 1)
    Runtime().run_execution(execution_id)
    assert ExecutionRun.objects.get().status == "SUCCESS"


def test_two_that_run_one_execution_do_its_steps_once(actions: Any) -> None:
    calls, barrier = [], threading.Barrier(2)

    @actions("once")
    def once(ctx: ActionContext) -> None:
        calls.append(ctx.step_id)
        time.sleep(0.05)

    manual("once", {"id": "a", "action": "test.once"}, {"id": "b", "action": "test.once"})
    version = Workflow.objects.get().live_version
    for execution_id in [Execution.objects.create(version=version).pk for _ in range(3)]:
        calls.clear()

        def run(execution_id: Any = execution_id) -> None:
            barrier.wait()
            try:
                Runtime().run_execution(execution_id)
            finally:
                connection.close()

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert calls == ["a", "b"]
        assert ExecutionRun.objects.get(execution_id=execution_id).status == "SUCCESS"


def test_switched_off_nothing_is_run_directly_either(configured: Any) -> None:
    manual("w", {"id": "f", "action": "flow.log", "params": {"message": "x"}})
    execution_id = run_workflow("w", {})
    configured(ENABLED=False)
    with pytest.raises(PolicyError):
        Runtime().run_execution(execution_id)
    assert Event.objects.count() == 0
