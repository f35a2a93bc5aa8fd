"""A database that answers and cannot write, an entry that it cannot take: what was done is not done again."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from automate.events import run_workflow
from automate.models import ExecutionRun, StepRun
from automate.publish import publish
from automate.runtime.journal import Entry, Journal
from automate.worker.loop import Worker, WorkerOptions
from automate_core.connectors import ActionContext
from automate_core.retry import RetryPolicy
from automate_outbox.models import OutboxJob
from django.db import OperationalError, ProgrammingError, connection, connections

pytestmark = pytest.mark.usefixtures("db", "short_waits")

READS_ONLY = {
    "postgresql": ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
    "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
}


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RetryPolicy, "delay", lambda self, attempt, **more: 0.01)


@pytest.fixture
def working() -> Iterator[Callable[..., Worker]]:
    """Start a worker in a thread; it is stopped after the test."""
    started: list[tuple[Worker, threading.Thread]] = []

    def start(**options: Any) -> Worker:
        worker = Worker(WorkerOptions.from_settings(**{"concurrency": 4, "poll": 0.02, "grace": 0.5, **options}))

        def run() -> None:
            try:
                worker.run()
            finally:
                connections.close_all()

        thread = threading.Thread(target=run, daemon=True)
        started.append((worker, thread))
        thread.start()
        return worker

    yield start
    for worker, thread in started:
        worker.stop()
        thread.join(10)
        assert not thread.is_alive(), "the worker does not end"


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


def statuses() -> dict[str, str]:
    return dict(ExecutionRun.objects.values_list("execution__version__workflow__slug", "status"))


def manual(slug: str, *steps: str) -> None:
    listed = [{"id": step, "action": f"test.{slug}"} for step in steps]
    publish({"slug": slug, "trigger": {"type": "manual"}, "steps": listed})


def lose_connection() -> None:
    """Make the server end the connection, as it does for a packet that is too large."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        elif connection.vendor == "mysql":
            cursor.execute("SELECT CONNECTION_ID()")
            cursor.execute(f"KILL {cursor.fetchone()[0]}")
    raise OperationalError("the connection is lost")


def test_what_a_step_did_is_kept_while_the_database_answers_and_cannot_write(
    actions: Any, working: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    refused: list[int] = []
    write = Journal._write

    @actions("once")
    def once(ctx: ActionContext) -> None:
        calls.append(ctx.step_id)

    def full(self: Journal, entries: list[Entry], claim: Any) -> Any:
        if len(calls) == 1 and len(refused) < 60:
            refused.append(1)
            raise OperationalError("could not extend file: No space left on device")
        return write(self, entries, claim)

    monkeypatch.setattr(Journal, "_write", full)
    manual("once", "a", "b")
    run_workflow("once", {})
    working()
    wait_for(lambda: statuses() == {"once": "SUCCESS"})
    assert (len(refused), calls) == (60, ["a", "b"])
    assert OutboxJob.objects.get().attempts == 1


def test_an_entry_that_the_database_never_takes_keeps_no_other_waiting_and_is_given_up_in_the_end(
    actions: Any, configured: Any, working: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    tries: list[float] = []
    write = Journal._write

    @actions("huge")
    def huge(ctx: ActionContext) -> None:
        calls.append(ctx.step_id)

    @actions("small")
    def small(ctx: ActionContext) -> None: ...

    def refuse(self: Journal, entries: list[Entry], claim: Any) -> Any:
        if any(step.action == "test.huge" for entry in entries for step in entry.steps):
            tries.append(time.monotonic())
            lose_connection()
        return write(self, entries, claim)

    monkeypatch.setattr(Journal, "_write", refuse)
    manual("huge", "a")
    manual("small", "a")
    run_workflow("huge", {})
    working()
    wait_for(lambda: len(tries) > 20)
    assert (calls, OutboxJob.objects.get().status) == (["a"], "CLAIMED"), "alone, it may be the database"
    for number in range(1, 100):
        run_workflow("small", {})
        wait_for(lambda: ExecutionRun.objects.filter(status="SUCCESS").count() == number)  # noqa: B023 - called here
        if len(calls) > 1:
            break
    assert len(calls) == 2, "others are written: it is the entry, and its item is tried again as after any error"
    assert 8 <= number < 100
    assert not StepRun.objects.filter(action="test.huge").exists()


def test_a_worker_outlives_a_database_that_reads_only_for_a_while(actions: Any, configured: Any) -> None:
    begin, end = READS_ONLY[connection.vendor]
    calls: list[str] = []
    failed: list[str] = []

    @actions("once")
    def once(ctx: ActionContext) -> None:
        calls.append(ctx.step_id)
        if ctx.step_id == "a":
            with connection.cursor() as cursor:
                cursor.execute(begin)

    def recover(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if len(failed) >= 30 and not connection.in_atomic_block:
            with connection.connection.cursor() if connection.vendor != "sqlite" else connection.connection as cursor:
                cursor.execute(end)
            failed.clear()
        try:
            return execute(sql, params, many, context)
        except Exception as error:
            failed.append(type(error).__name__)
            raise

    manual("once", "a", "b")
    run_workflow("once", {})
    worker = Worker(WorkerOptions.from_settings(inline=True, poll=0.02))
    give_up = threading.Timer(20, worker.stop)
    give_up.start()
    try:
        with connection.execute_wrapper(recover):
            worker.run(drain=True)
    finally:
        give_up.cancel()
        connection.close()
    assert (statuses(), calls) == ({"once": "SUCCESS"}, ["a", "b"])
    assert OutboxJob.objects.get().attempts == 1


def test_what_is_in_hand_is_handed_back_whatever_ends_the_worker(actions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    @actions("once")
    def once(ctx: ActionContext) -> None:
        calls.append(ctx.step_id)

    def missing(self: Journal, claim: Any = None) -> Any:
        raise ProgrammingError("permission denied for table")

    manual("once", "a")
    run_workflow("once", {})
    worker = Worker(WorkerOptions.from_settings(inline=True, poll=0.02))
    flush = Journal.flush
    monkeypatch.setattr(Journal, "flush", lambda self, claim=None: (missing if calls else flush)(self, claim))
    with pytest.raises(ProgrammingError):
        worker.run(drain=True)
    assert list(OutboxJob.objects.values_list("status", "attempts")) == [("PENDING", 0)]
