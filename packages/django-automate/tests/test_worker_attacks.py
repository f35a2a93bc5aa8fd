"""What must not stop a worker, wedge it, or have done work done again: faults between two of its steps."""

# The fixture that decorates is Any, and a JSON column that may be null is known to be filled where it is read.
# mypy: disable-error-code="untyped-decorator, index"

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from automate import signals
from automate.errors import ArtifactUnavailable, TransientError
from automate.events import emit_event, run_workflow
from automate.models import Execution, StepRun
from automate.publish import publish
from automate.runtime import advance, execute
from automate.worker.announcer import Announcer
from automate.worker.loop import Worker, WorkerOptions
from automate_core.outbox import NewJob
from automate_core.testing.databases import chosen_database
from automate_outbox.handlers import register_handler, unregister_handler
from automate_outbox.models import OutboxJob
from automate_outbox.store import get_store
from django.contrib.auth.models import Group
from django.db import OperationalError, connections, transaction

pytestmark = pytest.mark.usefixtures("db")


def listen(slug: str, *steps: dict[str, Any], **more: Any) -> None:
    publish({"slug": slug, "trigger": {"type": "event", "event": "it.happened"}, "steps": list(steps), **more})


def work_off(**options: Any) -> None:
    """Run workers until nothing is left that they could take; one that does not end is a failure, not a hang."""
    deadline = time.monotonic() + 60
    left = OutboxJob.objects.filter(status__in=("PENDING", "RETRY"))
    while True:
        worker = Worker(WorkerOptions.from_settings(**{"concurrency": 4, "poll": 0.02, **options}))
        in_thread(partial(worker.run, drain=True))
        if not left.exists():
            return
        assert time.monotonic() < deadline, f"nobody takes {list(left.values_list('kind', 'status')[:5])}"


def in_thread(run: Callable[[], object]) -> None:
    raised: list[BaseException] = []

    def go() -> None:
        try:
            run()
        except BaseException as error:
            raised.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it does not end"
    if raised:
        raise raised[0]


class Handler:
    """Handles items of the kind ``test`` by a function."""

    kind = "test"

    def __init__(self) -> None:
        self.do: Callable[[Any], object] = lambda item: None
        self.dead: list[int] = []

    def handle(self, item: Any) -> None:
        self.do(item)

    def on_dead(self, item: Any, error: str) -> None:
        self.dead.append(item.id)

    def on_requeue(self, payloads: Any) -> Any:
        return payloads


@pytest.fixture
def handler() -> Iterator[Handler]:
    made = Handler()
    register_handler(made)
    yield made
    unregister_handler("test")


# -- transactional steps -----------------------------------------------------------------------------------------------


def test_a_hook_that_raises_after_the_commit_does_not_repeat_the_effect(actions: Any) -> None:
    Group.objects.all().delete()

    @actions("book", transactional=True)
    def book() -> None:
        Group.objects.create(name=f"booked {Group.objects.count()}")
        transaction.on_commit(lambda: 1 / 0)

    listen("booked", {"id": "a", "action": "test.book", "timeout": 2})
    emit_event("it.happened", {})
    work_off()
    assert (Execution.objects.get().status, Group.objects.count()) == ("SUCCESS", 1)
    Group.objects.all().delete()


@pytest.mark.skipif(chosen_database() == "mariadb", reason="its constraints are never deferred")
def test_a_constraint_that_the_commit_finds_broken_fails_the_step_at_once(actions: Any) -> None:
    Group.objects.all().delete()

    @actions("book", transactional=True)
    def book() -> None:
        Group.permissions.through.objects.create(group_id=Group.objects.create(name="x").pk, permission_id=10**6)

    listen("booked", {"id": "a", "action": "test.book", "timeout": 2})
    emit_event("it.happened", {})
    work_off()
    assert StepRun.objects.get().error["context"] == {"type": "IntegrityError"}
    assert (Execution.objects.get().status, Group.objects.count()) == ("FAILED", 0)


# -- what an error must not cost ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_that_cannot_go_on_keeps_what_its_steps_have_done(
    actions: Any, configured: Any, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    configured(EXECUTION={"retry_initial_seconds": 0.01, "retry_max_seconds": 0.02})
    calls: list[int] = []

    @actions("one")
    def one() -> None:
        calls.append(1)

    fail_once(monkeypatch)
    listen("kept", *({"id": name, "action": "test.one"} for name in "ab"[:steps]), output={"x": 1})
    emit_event("it.happened", {})
    work_off()
    assert (Execution.objects.get().status, len(calls)) == ("SUCCESS", steps)
    assert OutboxJob.objects.get(kind="automate.run").attempts == 2, "the failure was one, and it was tried again"


def test_a_run_that_fails_after_its_checkpoint_is_alone_with_it(
    actions: Any, configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(EXECUTION={"retry_initial_seconds": 0.01, "retry_max_seconds": 0.02})
    fail_once(monkeypatch)
    step = {"id": "a", "action": "flow.log", "params": {"message": "x"}, "if": {"==": [1, 2]}}
    publish({"slug": "skips", "trigger": {"type": "manual"}, "steps": [step], "output": {"x": 1}})
    for _ in range(5):
        run_workflow("skips", {})
    work_off()
    assert Execution.objects.filter(status="SUCCESS").count() == 5
    assert sorted(OutboxJob.objects.values_list("attempts", flat=True)) == [1, 1, 1, 1, 2]


def fail_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first run that wants to keep its outputs find their storage away."""
    keep = advance._outputs
    failed: list[Any] = []

    def outputs(step: Any) -> Any:
        if not failed:
            failed.append(step)
            raise ArtifactUnavailable("The storage is away.")
        return keep(step)

    monkeypatch.setattr(advance, "_outputs", outputs)


def test_an_error_that_cannot_be_shown_is_an_outcome_like_any_other(handler: Handler) -> None:
    class Unshowable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not even this")

    def raise_it(item: Any) -> None:
        raise Unshowable

    handler.do = raise_it
    get_store().add([NewJob("test", {}, max_attempts=1)])
    work_off()
    assert OutboxJob.objects.get().status == "FAILED"
    assert OutboxJob.objects.get().last_error == "Unshowable was raised."


@pytest.mark.parametrize("is_async", [False, True])
def test_what_breaks_around_an_action_is_the_outcome_of_its_step(
    actions: Any, configured: Any, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    def broken(*args: Any) -> Any:
        raise MemoryError

    async def fails_later() -> None:
        raise ValueError

    def fails() -> None:
        raise ValueError

    actions("fails")(fails_later if is_async else fails)
    monkeypatch.setattr(execute, "_failure", broken)
    listen("fails", {"id": "a", "action": "test.fails", "timeout": 60, "retry": {"max_attempts": 1}})
    for _ in range(5):
        emit_event("it.happened", {})
    work_off(concurrency=2)
    assert [step.error["message"] for step in StepRun.objects.all()] == ["MemoryError: "] * 5


def test_a_handler_that_raises_what_cannot_be_shown_takes_no_thread_along(handler: Handler) -> None:
    class Unshowable(BaseException):
        def __str__(self) -> str:
            raise SystemExit(3)

    def raise_it(item: Any) -> None:
        raise Unshowable

    handler.do = raise_it
    get_store().add([NewJob("test", {}, max_attempts=1) for _ in range(5)])
    work_off(concurrency=2)
    errors = set(OutboxJob.objects.values_list("status", "last_error"))
    assert errors == {("FAILED", "RuntimeError: The handler raised Unshowable.")}


def test_a_task_that_exits_does_not_end_the_event_loop(actions: Any) -> None:
    @actions("exit")
    async def leave() -> None:
        async def task() -> None:
            raise SystemExit(3)

        await asyncio.gather(task())

    @actions("fine")
    async def fine() -> None:
        await asyncio.sleep(0.01)

    steps = [{"id": "a", "action": "test.exit", "on_error": "continue"}, {"id": "b", "action": "test.fine"}]
    listen("leaves", *({**step, "timeout": 3, "retry": {"max_attempts": 1}} for step in steps))
    emit_event("it.happened", {})
    work_off()
    assert dict(StepRun.objects.values_list("step_id", "status")) == {"a": "FAILED", "b": "SUCCESS"}
    assert StepRun.objects.get(step_id="a").error["message"] == "SystemExit: 3"


def test_a_signal_receiver_that_exits_does_not_end_the_thread_of_signals() -> None:
    heard: list[int] = []

    def receive(number: int, **named: Any) -> None:
        if number == 1:
            raise SystemExit(3)
        heard.append(number)

    announcer = Announcer()
    signals.step_started.connect(receive)
    try:
        for number in (1, 2):
            announcer(signals.step_started, StepRun, number=number)
        announcer.close(10)
    finally:
        signals.step_started.disconnect(receive)
    assert heard == [2]


# -- items that nobody should have written -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["automate.run", "automate.event"])
@pytest.mark.parametrize("payload", [{}, {"run_id": "x", "event_id": "x"}, {"run_id": [1], "event_id": {}}, [], "x", 7])
def test_a_malformed_item_becomes_a_dead_letter(configured: Any, handler: Handler, kind: str, payload: Any) -> None:
    configured(EXECUTION={"retry_initial_seconds": 0.01, "retry_max_seconds": 0.02})
    get_store().add([NewJob(kind, {}, max_attempts=2), NewJob("test", {})])
    OutboxJob.objects.filter(kind=kind).update(payload=payload)
    work_off()
    assert dict(OutboxJob.objects.values_list("kind", "status")) == {kind: "FAILED", "test": "COMPLETED"}


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_worker_that_breaks_ends_and_hands_back_what_it_holds(
    handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    handler.do = lambda item: release.wait(30)
    get_store().add([NewJob("test", {})])

    def broken(self: Worker) -> float:
        raise ZeroDivisionError

    monkeypatch.setattr(Worker, "_patience", broken)
    with pytest.raises(ZeroDivisionError):
        work_off(grace=0.2)
    release.set()
    assert OutboxJob.objects.values_list("status", "attempts", "crashes").get() == ("PENDING", 0, 0)


def test_what_ended_before_the_grace_did_is_not_handed_back(actions: Any) -> None:
    calls: list[str] = []
    stopping: list[Worker] = []

    @actions("slow")
    def slow() -> None:
        calls.append("slow")
        stopping[0].stop()

    listen("cut", {"id": "a", "action": "test.slow"}, {"id": "b", "action": "test.slow"})
    emit_event("it.happened", {})
    while not Execution.objects.filter(status="SUCCESS").exists():
        stopping[:] = [Worker(WorkerOptions.from_settings(concurrency=2, poll=0.02, grace=0.0))]
        in_thread(stopping[0].run)
        assert len(calls) <= 2


def test_a_look_that_fails_does_not_end_a_worker_that_drains(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(WorkerOptions.from_settings(concurrency=2, poll=0.02))
    true_look, looks = worker._store.seconds_until_due, []

    def look(**chosen: Any) -> float | None:
        looks.append(1)
        if len(looks) == 1:
            get_store().add([NewJob("test", {})])
            raise OperationalError("gone away")
        return true_look(**chosen)

    monkeypatch.setattr(worker._store, "seconds_until_due", look)
    in_thread(partial(worker.run, drain=True))
    assert OutboxJob.objects.get().status == "COMPLETED"


def test_what_outlasts_the_grace_is_handed_back_before_anything_that_takes_its_time(handler: Handler) -> None:
    release, seen = threading.Event(), []
    worker = Worker(WorkerOptions.from_settings(concurrency=2, poll=0.02, grace=0.1))

    def wait(item: Any) -> None:
        worker.stop()
        release.wait(30)

    def stop() -> None:
        seen.append(OutboxJob.objects.get().status)

    handler.do = wait
    worker._waker.stop = worker._housekeeper.close = stop  # type: ignore[method-assign]
    get_store().add([NewJob("test", {})])
    in_thread(worker.run)
    release.set()
    worker._housekeeper._closed.set()
    assert seen == ["PENDING", "PENDING"]


@pytest.mark.parametrize("fate", ["black hole", "error"])
def test_a_keeper_of_leases_that_falls_silent_is_no_sign_of_life(
    handler: Handler, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    release, worker = threading.Event(), Worker(WorkerOptions.from_settings(concurrency=2, poll=0.02, lease=1.0))
    signs: list[bool] = []

    def renew(*args: Any) -> set[int]:
        if fate == "error":
            raise SystemExit(3)
        release.wait(30)
        return set()

    def watch(item: Any) -> None:
        for _ in range(30):
            signs.append(worker.is_alive)
            time.sleep(0.1)
        release.set()

    handler.do = watch
    monkeypatch.setattr(worker._store, "renew_many", renew)
    get_store().add([NewJob("test", {})])
    in_thread(partial(worker.run, once=True))
    assert signs[0]
    assert signs[-1] is (fate == "error"), "a round that failed has ended, and the next one may succeed"


# -- parallel steps ----------------------------------------------------------------------------------------------------


def test_a_retry_does_not_wait_for_the_other_branch(actions: Any) -> None:
    tried: list[int] = []
    again = threading.Event()

    @actions("flaky")
    def flaky() -> None:
        tried.append(1)
        if len(tried) == 1:
            raise TransientError("Not yet.")
        again.set()

    @actions("long")
    def long() -> bool:
        return again.wait(10)

    listen("parallel", {"id": "a", "action": "test.flaky"}, {"id": "b", "action": "test.long", "needs": []})
    emit_event("it.happened", {})
    work_off()
    assert StepRun.objects.get(step_id="b").output is True
    assert list(StepRun.objects.filter(step_id="a").order_by("attempt").values_list("status", flat=True)) == [
        "RETRY",
        "SUCCESS",
    ]
