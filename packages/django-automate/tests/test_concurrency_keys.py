"""Concurrency and rate per key: one at a time, some at a time, skip, cancel, and how fast; also with two workers."""

# The fixture that decorates is Any, and a JSON column that may be null is known to be filled where it is read.
# mypy: disable-error-code="untyped-decorator, index"

from __future__ import annotations

import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from automate import retention
from automate.builder import workflow
from automate.dead_letters import carry_on
from automate.errors import InvalidDefinitionError, TemplateError, TransientError
from automate.events import EVENT_JOB, RUN_JOB, emit_event, emit_events, run_workflow
from automate.models import ConcurrencyKey, Decision, Execution, ExecutionRun, StepRun, WorkflowVersion
from automate.publish import publish
from automate.runtime import Runtime
from automate.runtime.admission import lock_keys
from automate.runtime.runs import fail_run
from automate.worker.engine import Engine
from automate.worker.launch import InlineLauncher
from automate.worker.loop import Worker, WorkerOptions
from automate_outbox.dead import DeadLetters, Requeued, requeue
from automate_outbox.models import OutboxJob
from automate_outbox.store import get_store
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

pytestmark = pytest.mark.usefixtures("db")

KEY = "{{ event.payload.customer }}"


def listen(mode: str | None, *, slug: str = "w", action: str = "test.act", **more: Any) -> None:
    concurrency = None if mode is None else {"key": KEY, "mode": mode, **more}
    publish(
        {
            "slug": slug,
            "trigger": {"type": "event", "event": "it.happened"},
            "steps": [{"id": "s", "action": action, "params": {"n": "{{ event.payload.n | default(0) }}"}}],
            **({"concurrency": concurrency} if concurrency else {}),
        }
    )


def happen(count: int, customer: Any = "A", **more: Any) -> list[str]:
    return emit_events(
        [{"type": "it.happened", "payload": {"customer": customer, "n": n}, **more} for n in range(count)]
    )


@contextmanager
def workers(count: int = 2, **options: Any) -> Iterator[list[Worker]]:
    """Workers with their own threads and connections, until the block ends."""
    made = [
        Worker(WorkerOptions.from_settings(concurrency=4, poll=0.02, worker_id=f"w{n}", **options))
        for n in range(count)
    ]
    threads = [threading.Thread(target=_run, args=(worker,)) for worker in made]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        for worker in made:
            worker.stop()
        for thread in threads:
            thread.join(30)


def _run(worker: Worker) -> None:
    try:
        worker.run()
    finally:
        connection.close()


def handle_together(kind: str) -> int:
    """Claim all items of a kind at once and handle them, as one batch; return how many they were."""
    store = get_store()
    engine = Engine(store, "one", InlineLauncher(), threading.Event())
    items: list[Any] = store.claim_batch("one", 100, kinds=[kind])
    engine.accept(items)
    while engine.wants_flush or engine.in_hand:
        engine.flush()
        engine.pump(0)
    return len(items)


def until(condition: Callable[[], Any], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)


def at_rest() -> bool:
    return not OutboxJob.objects.filter(status__in=("PENDING", "RETRY", "CLAIMED")).exists()


def statuses() -> Counter[str]:
    return Counter(Execution.objects.values_list("status", flat=True))


def beginnings(**of: Any) -> list[Any]:
    return list(ExecutionRun.objects.filter(**of).order_by("started_at").values_list("started_at", flat=True))


class Watch:
    """An action that notes how many of it run at a time for each customer."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.seconds, self.lock = seconds, threading.Lock()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.order: list[int] = []

    def __call__(self, n: int) -> int:
        customer = "A" if n < 1000 else "B"
        with self.lock:
            self.now[customer] += 1
            self.most[customer] = max(self.most[customer], self.now[customer])
            self.order.append(n)
        time.sleep(self.seconds)
        with self.lock:
            self.now[customer] -= 1
        return n


class Gate:
    """An action that waits until it is let through."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Semaphore(0), threading.Event()
        self.ends = 0

    def __call__(self, n: int) -> int:
        self.entered.release()
        assert self.open.wait(60)
        self.ends += 1
        return n


# -- queue and limit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "most"), [("queue", 1), ("parallel", 2)])
def test_no_more_runs_of_a_key_at_a_time_than_there_may_be(actions: Any, mode: str, most: int) -> None:
    watch = Watch()
    actions("act")(lambda n: watch(n))
    limit: dict[str, Any] = {"limit": 2} if mode == "parallel" else {}
    listen(mode, **limit)
    happen(12)
    emit_events([{"type": "it.happened", "payload": {"customer": "B", "n": 1000 + n}} for n in range(4)])
    with workers():
        until(lambda: statuses() == {"SUCCESS": 16})
        until(at_rest)
    assert watch.most["A"] <= most
    assert sum(watch.most.values()) > most  # the other customer does not wait for this one
    if mode == "queue":
        assert len({job.ordering_key for job in OutboxJob.objects.filter(kind="automate.run")}) == 2
    else:
        assert watch.most["A"] == 2


def test_a_queue_keeps_the_order_of_ordered_events_and_a_retry_holds_its_place(actions: Any) -> None:
    order: list[int] = []

    @actions("act")
    def act(n: int) -> int:
        order.append(n)
        if n == 1 and order.count(1) == 1:
            raise TransientError("once")
        return n

    listen("queue")
    happen(5, ordering_key="k")
    with workers():
        until(lambda: statuses() == {"SUCCESS": 5})
    assert order == [0, 1, 1, 2, 3, 4]


def test_the_places_of_a_limit_are_given_in_turn(actions: Any, work: Any) -> None:
    actions("act")(lambda n: n)
    listen("parallel", limit=3)
    happen(9)
    work()
    places = Counter(OutboxJob.objects.filter(kind="automate.run").values_list("ordering_key", flat=True))
    assert sorted(places.values()) == [3, 3, 3]


def test_a_run_without_a_key_waits_for_nobody(actions: Any, work: Any) -> None:
    actions("act")(lambda n: n)
    listen("queue", per_second=0.001)
    happen(2, customer=None)
    happen(2, customer="")
    work()
    assert statuses() == {"SUCCESS": 4}
    assert set(OutboxJob.objects.values_list("ordering_key", flat=True)) == {""}
    assert set(Execution.objects.values_list("concurrency_key", flat=True)) == {None}
    assert not ConcurrencyKey.objects.exists()


def test_keys_tell_tenants_and_workflows_and_letters_apart(actions: Any, work: Any) -> None:
    actions("act")(lambda n: n)
    for slug in ("one", "two"):
        listen("queue", slug=slug)
    for tenant, customer in (("", "a"), ("t", "a"), ("", "A"), ("", "a ")):
        happen(1, customer=customer, tenant=tenant)
    work()
    assert Execution.objects.values("concurrency_key").distinct().count() == 8


def test_a_key_that_cannot_be_rendered_is_an_error_of_the_decision(actions: Any, work: Any) -> None:
    actions("act")(lambda n: n)
    listen("queue")
    listen(None, slug="free")
    event_id = emit_event("it.happened", {})
    work()
    decisions = {d.version.workflow.slug: d for d in Decision.objects.filter(event_id=event_id)}
    assert (decisions["w"].matched, "customer" in decisions["w"].error) == (False, True)
    assert Execution.objects.get().version.workflow.slug == "free"
    with pytest.raises(TemplateError, match="customer"):
        run_workflow("w", {})
    assert Execution.objects.count() == 1


# -- skip -------------------------------------------------------------------------------------------------------------


def test_what_comes_while_a_run_is_under_way_is_skipped_and_the_decision_says_so(actions: Any) -> None:
    gate = Gate()
    actions("act")(lambda n: gate(n))
    listen("skip")
    with workers():
        first = happen(1)[0]
        assert gate.entered.acquire(timeout=30)
        second, other = happen(1)[0], happen(1, customer="B")[0]
        until(lambda: Decision.objects.count() == 3)
        holder = Execution.objects.get(event_id=first)
        decision = Decision.objects.get(event_id=second)
        assert (decision.matched, str(holder.pk) in decision.reason) == (True, True)
        assert Decision.objects.get(event_id=first).reason == Decision.objects.get(event_id=other).reason == ""
        assert run_workflow("w", {"customer": "A"}) == str(holder.pk)
        gate.open.set()
        until(at_rest)
        third = happen(1)[0]
        until(lambda: statuses() == {"SUCCESS": 3})
    assert not Execution.objects.filter(event_id=second).exists()
    assert Execution.objects.filter(event_id=third).exists()


def slow_birth(execute: Any, statement: str, params: Any, many: bool, context: Any) -> Any:
    """Leave time between the look for live executions and the birth of a new one."""
    if "INSERT INTO" in statement and re.search(r"automate_execution\W", statement):
        time.sleep(0.05)
    return execute(statement, params, many, context)


def test_of_events_decided_at_one_moment_one_starts(actions: Any, work: Any) -> None:
    """Both events of a key are claimed by different workers before either writes what it decided."""
    actions("act")(lambda n: n)
    listen("skip")
    rounds = 10
    for n in range(rounds):  # a key that is there already is locked otherwise than one that is new
        happen(n % 2, customer=f"c{n}")
    work()
    together, failures = threading.Barrier(2), []

    def decide(number: int) -> None:
        try:
            store = get_store()
            for n in range(rounds):
                together.wait(30)
                if number == 0:
                    happen(2, customer=f"c{n}")
                together.wait(30)
                engine = Engine(store, f"w{number}", InlineLauncher(), threading.Event())
                items: list[Any] = []
                while not items:
                    items = store.claim_batch(f"w{number}", 1, kinds=[EVENT_JOB])
                engine.accept(items)
                together.wait(30)
                with connection.execute_wrapper(slow_birth):
                    while engine.wants_flush or engine.in_hand:
                        engine.flush()
        except BaseException as error:
            failures.append(error)
            together.abort()
            raise
        finally:
            connection.close()

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert Decision.objects.filter(matched=True).count() == 2 * rounds + rounds // 2
    assert statuses() == {"QUEUED": rounds, "SUCCESS": rounds // 2}
    assert Decision.objects.exclude(reason="").count() == rounds


def dead_execution() -> Execution:
    """An execution of customer A whose item died."""
    execution = Execution.objects.get(pk=run_workflow("w", {"customer": "A"}))
    (item,) = get_store().claim_batch("gone", 1, kinds=[RUN_JOB])
    with transaction.atomic():
        get_store().mark_failed(item.id, "gone", "boom", lease_token=item.lease_token)
        fail_run(item.payload["run_id"], {"code": "crashed", "message": "boom", "retryable": False})
    return execution


def requeued() -> Requeued:
    return requeue(DeadLetters(), actor="me")


@pytest.mark.parametrize("mode", ["skip", "cancel_running"])
def test_a_dead_run_is_not_carried_on_beside_a_live_one_of_its_key(
    actions: Any, work: Any, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    actions("act")(lambda n: n)
    listen(mode)
    dead = dead_execution()
    live = Execution.objects.get(pk=run_workflow("w", {"customer": "A"}))
    assert requeued() == Requeued(0, 1)
    assert str(live.pk) in caplog.text
    assert set(Execution.objects.exclude(live_key=None)) == {live}
    assert statuses() == {"FAILED": 1, "QUEUED": 1}
    work()
    assert requeued() == Requeued(1, 0)  # the place is free now
    work()
    assert statuses() == {"SUCCESS": 2}
    assert dead.runs.count() == 2


@pytest.mark.parametrize(("mode", "first"), [("skip", 0), ("cancel_running", 2)])
@pytest.mark.parametrize("batch", [10, 1])
def test_of_dead_runs_of_one_key_one_is_carried_on(actions: Any, mode: str, first: int, batch: int) -> None:
    actions("act")(lambda n: n)
    listen(mode)
    dead = [dead_execution() for _ in range(3)]
    requeue(DeadLetters(), actor="me", batch=batch)
    assert list(Execution.objects.exclude(live_key=None)) == [dead[first]]
    assert OutboxJob.objects.filter(status="PENDING").count() == 1
    assert statuses()["QUEUED"] == 1


def test_a_requeue_and_a_starter_of_one_key_take_turns(actions: Any) -> None:
    actions("act")(lambda n: n)
    listen("skip")
    dead_execution()
    together = threading.Barrier(2)

    def start() -> None:
        try:
            together.wait(30)
            with connection.execute_wrapper(slow_birth):
                run_workflow("w", {"customer": "A"})
        finally:
            connection.close()

    starter = threading.Thread(target=start)
    starter.start()
    together.wait(30)
    time.sleep(0.02)
    requeued()
    starter.join(30)
    assert Execution.objects.exclude(live_key=None).count() == 1


@pytest.mark.parametrize("mode", ["skip", "cancel_running"])
def test_starters_of_one_key_take_turns(actions: Any, work: Any, mode: str) -> None:
    """Whoever comes second decides when the first one's transaction has ended, and sees what it wrote."""
    actions("act")(lambda n: n)
    listen(mode)
    happen(1)
    work()
    together, ids = threading.Barrier(4), []

    def start() -> None:
        try:
            together.wait(30)
            with connection.execute_wrapper(slow_birth):
                ids.append(run_workflow("w", {"customer": "A"}))
        finally:
            connection.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ids) == 4
    assert statuses()["QUEUED"] == 1
    assert len(set(ids)) == Execution.objects.exclude(status="SUCCESS").count() == (1 if mode == "skip" else 4)


def test_a_run_that_failed_holds_no_key_until_it_is_carried_on(actions: Any, work: Any) -> None:
    actions("act")(lambda n: n)
    listen("skip")
    held = run_workflow("w", {"customer": "A"})
    run = ExecutionRun.objects.get(execution_id=held)
    fail_run(run.pk, {"code": "crashed", "message": "x", "retryable": False})
    other = run_workflow("w", {"customer": "A"})
    assert other != held
    fail_run(ExecutionRun.objects.get(execution_id=other).pk, {"code": "crashed", "message": "x", "retryable": False})
    with transaction.atomic():
        carry_on({run.job_id or 0: {"run_id": str(run.pk)}})
    assert run_workflow("w", {"customer": "A"}) == held


# -- cancel -----------------------------------------------------------------------------------------------------------


def test_a_new_run_cancels_the_one_under_way_which_is_fenced(actions: Any) -> None:
    gate = Gate()
    actions("act")(lambda n: gate(n) if n == 0 else n)
    actions("after")(lambda n: n)
    listen("cancel_running")
    with workers(2):
        first = happen(1)[0]
        assert gate.entered.acquire(timeout=30)
        second = emit_event("it.happened", {"customer": "A", "n": 1})
        until(lambda: Execution.objects.filter(event_id=second, status="SUCCESS").exists())
        cancelled = Execution.objects.get(event_id=first)
        assert (cancelled.status, cancelled.finished_at is not None) == ("CANCELLED", True)
        gate.open.set()
        until(lambda: gate.ends == 1)
        until(at_rest)
    run = ExecutionRun.objects.get(execution__event_id=first)
    assert (run.status, run.error["code"]) == ("CANCELLED", "superseded")
    assert not StepRun.objects.filter(run=run).exists()  # the result came too late
    assert statuses() == {"CANCELLED": 1, "SUCCESS": 1}


def test_of_events_decided_together_the_last_one_runs(actions: Any, work: Any) -> None:
    order: list[int] = []
    actions("act")(lambda n: order.append(n))
    listen("cancel_running")
    happen(3)
    handle_together(EVENT_JOB)
    work()
    assert order == [2]
    assert statuses() == {"CANCELLED": 2, "SUCCESS": 1}
    assert OutboxJob.objects.filter(kind="automate.run").count() == 1
    assert set(Decision.objects.values_list("matched", "reason")) == {(True, "")}


@pytest.mark.parametrize("mode", ["skip", "cancel_running"])
def test_a_run_that_ends_with_the_same_commit_is_in_nobodys_way(actions: Any, mode: str) -> None:
    calls: list[int] = []
    actions("act")(lambda n: calls.append(n))
    listen(mode)
    store = get_store()
    engine = Engine(store, "one", InlineLauncher(), threading.Event())
    happen(1)
    handle_together(EVENT_JOB)
    engine.accept(store.claim_batch("one", 1, kinds=[RUN_JOB]))
    engine.flush()  # that it is under way; its end is what is written next
    engine.pump(0)
    assert calls == [0]
    happen(1)
    engine.accept(store.claim_batch("one", 1, kinds=[EVENT_JOB]))
    with CaptureQueriesContext(connection) as seen:
        engine.flush()
    assert sum("INSERT INTO" in q["sql"] and "automate_steprun" in q["sql"] for q in seen.captured_queries) == 1
    assert statuses() == {"SUCCESS": 1, "QUEUED": 1}
    assert set(Decision.objects.values_list("reason", flat=True)) == {""}


@pytest.mark.parametrize("mode", ["skip", "cancel_running"])
def test_many_events_of_few_keys_leave_nothing_behind(actions: Any, mode: str) -> None:
    """Starts, ends and cancellations of the same keys meet in the transactions of two workers."""

    @actions("act")
    def act(n: int) -> int:
        time.sleep(0.005)
        return n

    listen(mode)
    events = 0
    with workers():
        for _ in range(20):
            for customer in "ABC":
                events += len(happen(2, customer=customer))
            time.sleep(0.01)
        until(at_rest)
    skipped = Decision.objects.exclude(reason="").count()
    assert Decision.objects.filter(matched=True).count() == events
    assert Execution.objects.count() == events - skipped
    assert set(statuses()) <= {"SUCCESS", "CANCELLED"}
    assert set(ExecutionRun.objects.values_list("status", flat=True)) <= {"SUCCESS", "CANCELLED"}
    assert not Execution.objects.exclude(live_key=None).exists()
    assert set(OutboxJob.objects.values_list("status", flat=True)) == {"COMPLETED"}
    if mode == "skip":
        assert skipped
        assert statuses()["CANCELLED"] == 0
    else:
        assert skipped == 0
        assert statuses()["CANCELLED"]


# -- rate -------------------------------------------------------------------------------------------------------------


def test_runs_begin_no_faster_than_their_rate_over_two_workers(actions: Any) -> None:
    actions("act")(lambda n: n)
    listen("parallel", per_second=5, burst=2)
    happen(12)
    happen(1, customer="B")
    with workers():
        until(lambda: statuses() == {"SUCCESS": 13})
        until(at_rest)
    key = Execution.objects.values_list("concurrency_key", flat=True).order_by("created_at")[0]
    begun = beginnings(execution__concurrency_key=key)
    assert len(begun) == 12
    for first in range(12):
        for last in range(first, 12):
            seconds = (begun[last] - begun[first] + timedelta(seconds=1.1)).total_seconds()
            assert last - first + 1 <= 2 + 5 * seconds + 1e-3
    # Waiting was nobody's attempt.
    assert set(OutboxJob.objects.filter(kind="automate.run").values_list("attempts", flat=True)) == {1}


def test_a_run_that_may_not_begin_waits_for_its_time(actions: Any, work: Any) -> None:
    actions("act")(lambda n: n)
    listen("parallel", per_second=0.01, burst=2)
    happen(5)
    work(settle=False)
    assert statuses() == {"SUCCESS": 2, "WAITING": 3}
    waiting = ExecutionRun.objects.filter(status="WAITING")
    assert {run.started_at for run in waiting} == {None}
    jobs = OutboxJob.objects.filter(pk__in=waiting.values("job_id")).order_by("next_attempt_at")
    assert {job.attempts for job in jobs} == {0}
    dues = [job.next_attempt_at for job in jobs]
    assert [round((due - dues[0]).total_seconds()) for due in dues] == [0, 100, 200]
    assert ConcurrencyKey.objects.filter(booked=dues[-1]).exists()


def test_tokens_for_many_runs_cost_as_many_statements_as_for_two(actions: Any) -> None:
    counts = {}
    actions("act")(lambda n: n)
    listen("parallel", per_second=1000, burst=1000)
    for size in (2, 40):
        happen(size)
        handle_together(EVENT_JOB)
        with CaptureQueriesContext(connection) as seen:
            assert handle_together(RUN_JOB) == size
        counts[size] = sum("automate_concurrencykey" in query["sql"] for query in seen.captured_queries)
    assert counts[2] == counts[40] == 3


def test_a_rate_with_cancel_running_does_not_starve(actions: Any, work: Any) -> None:
    order: list[int] = []
    actions("act")(lambda n: order.append(n))
    listen("cancel_running", per_second=0.5)
    for n in range(20):
        emit_event("it.happened", {"customer": "A", "n": n})
        work(settle=False)
    until(lambda: not OutboxJob.objects.filter(next_attempt_at__gt=timezone.now() + timedelta(seconds=2)).exists(), 1)
    work()
    assert (order[0], order[-1]) == (0, 19)


# -- started directly -------------------------------------------------------------------------------------------------


def test_direct_starts_obey_too(actions: Any) -> None:
    actions("act")(lambda n: n)
    listen("queue", per_second=20)
    ids = [run_workflow("w", {"customer": "A"}) for _ in range(3)]
    keys = set(OutboxJob.objects.values_list("ordering_key", flat=True))
    assert len(keys) == 1
    assert keys.pop().startswith("w:")
    for execution_id in ids:
        Runtime().run_execution(execution_id)
    begun = beginnings()
    assert (begun[2] - begun[0]).total_seconds() > 0.05
    assert statuses() == {"SUCCESS": 3}


# -- the definition ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("fresh_definitions")
def test_versions_and_the_builder_carry_it(actions: Any) -> None:
    actions("act")(lambda n: n)
    with workflow(
        "built", on="it.happened", concurrency={"key": KEY, "mode": "parallel", "limit": 4, "per_second": 2.5}
    ) as w:
        w.step("s", "test.act", n=w.event["n"])
    version, _ = publish(w.definition())
    assert version.definition == w.definition().to_json()
    again = WorkflowVersion.objects.get(pk=version.pk)
    assert again.definition["concurrency"] == {"key": KEY, "limit": 4, "per_second": 2.5}
    with pytest.raises(InvalidDefinitionError, match="/concurrency/limit"):
        listen("skip", limit=2)


# -- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_locked_until_the_transaction_ends() -> None:
    seen: list[str] = []
    with transaction.atomic():
        assert lock_keys(["k", "k", ""]) == ["k"]

    def other() -> None:
        try:
            with transaction.atomic():
                lock_keys(["k"])
                seen.append("other")
        finally:
            connection.close()

    with transaction.atomic():
        lock_keys(["k", None, "a"])
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.5)
        seen.append("first")
    thread.join(30)
    assert seen == ["first", "other"]


def test_keys_that_nobody_uses_are_pruned(configured: Any) -> None:
    configured(RETENTION={"pause_seconds": 0, "batch_size": 2})
    now, day = timezone.now(), timedelta(days=1)
    rows = [
        ConcurrencyKey(key="idle"),
        ConcurrencyKey(key="over", arrival=now - day, booked=now - day),
        ConcurrencyKey(key="full", arrival=now + day),
        ConcurrencyKey(key="line", booked=now + day),
        ConcurrencyKey(key="used"),
    ]
    ConcurrencyKey.objects.bulk_create(rows)
    ConcurrencyKey.objects.exclude(key="used").update(used_at=now - 2 * day)
    assert retention.preview()["concurrency_keys"] == 2
    assert retention.sweep(math.inf).pruned["concurrency_keys"] == 2
    assert set(ConcurrencyKey.objects.values_list("key", flat=True)) == {"full", "line", "used"}
