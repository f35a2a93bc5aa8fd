"""The engine: what runs share without spoiling it for each other, how much it takes in hand, what it costs."""

# The fixture that decorates is Any, and a JSON column that may be null is known to be filled where it is read.
# mypy: disable-error-code="untyped-decorator, index"

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from automate.errors import ConfigurationError, PermanentError
from automate.events import EVENT_JOB, emit_event, emit_events
from automate.models import Execution, StepRun
from automate.publish import publish
from automate.runtime.callers import ThreadPool
from automate.runtime.journal import End, Entry, Journal
from automate.worker import loop, pace
from automate.worker.loop import Worker, WorkerOptions
from automate.worker.pace import Pace
from automate_core.connectors import ActionContext
from automate_core.outbox import NewJob
from automate_outbox.counters import Counters
from automate_outbox.handlers import register_handler, unregister_handler
from automate_outbox.models import OutboxJob
from automate_outbox.store import DatabaseOutboxStore, get_store
from automate_outbox.wake.base import Waker
from django.contrib.auth.models import Group
from django.db import DataError, connection, connections

pytestmark = pytest.mark.usefixtures("db")


def listen(slug: str, *steps: dict[str, Any], **more: Any) -> None:
    publish({"slug": slug, "trigger": {"type": "event", "event": "it.happened"}, "steps": list(steps), **more})


def worker(**options: Any) -> Worker:
    return Worker(WorkerOptions.from_settings(**{"concurrency": 4, "poll": 0.02, **options}))


def started(busy: Worker) -> threading.Thread:
    """Let a worker work off what is due, in a thread."""

    def run() -> None:
        busy.run(drain=True)
        connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


class Handler:
    """Handles items of the kind ``test`` as told."""

    kind = "test"

    def __init__(self) -> None:
        self.handled: list[int] = []
        self.dead: list[int] = []

    def handle(self, item: Any) -> None:
        self.handled.append(item.payload["number"])
        if item.payload.get("fails"):
            raise PermanentError("as told")

    def on_dead(self, item: Any, error: str) -> None:
        self.dead.append(item.payload["number"])

    def on_requeue(self, payloads: Any) -> Any:
        return payloads


@pytest.fixture
def handler() -> Any:
    made = Handler()
    register_handler(made)
    yield made
    unregister_handler("test")


# -- sharing a commit --------------------------------------------------------------------------------------------------


def test_a_run_whose_checkpoint_the_database_refuses_is_alone_with_it(actions: Any, configured: Any) -> None:
    configured(EXECUTION={"retry_initial_seconds": 0.01})
    written: list[str] = []

    @actions("maybe")
    def maybe(ctx: ActionContext, bad: bool) -> str:
        if bad and ctx.step_id == "a" and not written:
            written.append(ctx.run_id)  # what the checkpoint is about to insert is there already
            StepRun.objects.create(run_id=ctx.run_id, step_id="a", action="x", attempt=1, status="SUCCESS", output=1)
        return ctx.step_id

    params = {"bad": "{{ event.payload.bad }}"}
    listen("shared", *({"id": name, "action": "test.maybe", "params": params} for name in "ab"))
    for number in range(6):
        emit_event("it.happened", {"bad": number == 3})
    busy = worker()
    busy.run(drain=True)
    while OutboxJob.objects.filter(status__in=("PENDING", "RETRY")).exists():
        worker().run(drain=True)
    assert Execution.objects.filter(status="SUCCESS").count() == 6
    assert StepRun.objects.count() == 12
    charged = dict(OutboxJob.objects.filter(kind="automate.run").values_list("payload__run_id", "attempts"))
    assert {run_id for run_id, attempts in charged.items() if attempts > 1} == set(written)
    assert busy.counters.completed >= 11
    assert busy.counters.retried == 1


def test_an_entry_that_is_refused_costs_the_others_few_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    told: dict[int, Exception | None] = {}

    def write(self: Journal, entries: list[Entry], claim: Any) -> tuple[set[int], list[Any]]:
        sizes.append(len(entries))
        if any(entry.item.id == 500 for entry in entries):
            raise DataError("as told")
        return set(), []

    monkeypatch.setattr(Journal, "_write", write)
    journal = Journal(get_store(), "w", Counters())
    for number in range(800):
        item: Any = SimpleNamespace(id=number, lease_token="t")
        journal.add(Entry(item, End.COMPLETE, partial(told.__setitem__, number)))
    journal.flush()
    assert [number for number, problem in told.items() if problem is not None] == [500]
    assert len(told) == 800
    assert len(sizes) <= 1 + 2 * 10, "the halves of 800, of 400, and so on"


def test_workflows_at_load_share_their_statements_and_commits(actions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    @actions("one")
    def one() -> int:
        return 1

    listen("three", *({"id": name, "action": "test.one"} for name in "abc"))
    for _ in range(200):
        emit_event("it.happened", {"amount": 1})
    statements: list[str] = []
    flushes: list[int] = []
    true_write = Journal._write

    def write(self: Journal, entries: list[Any], claim: Any) -> Any:
        flushes.append(len(entries))
        return true_write(self, entries, claim)

    monkeypatch.setattr(Journal, "_write", write)

    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        worker().run(drain=True)
    assert Execution.objects.filter(status="SUCCESS").count() == 200
    assert StepRun.objects.filter(status="SUCCESS").count() == 600
    # One commit for each step and each decision would be 800; alone, each workflow would cost over 30 statements.
    assert sum(flushes) == 800
    assert len(flushes) < 200
    assert len(statements) < 200 * 5


def test_an_event_whose_run_goes_on_at_once_makes_nobody_look_for_more(
    actions: Any, configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(WORKER={"poll_seconds": 30.0})
    # Only what is rung within the process is heard: SQLite's waker hears each commit.
    monkeypatch.setattr(loop, "waker_for", lambda on_wake: Waker("default", on_wake, mode="local"))
    claims: list[str] = []

    def counted(name: str) -> None:
        true = getattr(DatabaseOutboxStore, name)

        def claim(*args: Any, **options: Any) -> Any:
            claims.append(name)
            return true(*args, **options)

        monkeypatch.setattr(DatabaseOutboxStore, name, claim)

    counted("claim_batch")
    counted("complete_and_claim")

    @actions("one")
    def one() -> int:
        return 1

    listen("one", {"id": "a", "action": "test.one"})
    emit_event("it.happened", {})
    busy = worker(poll=30.0)

    def run() -> None:
        busy.run()
        connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not Execution.objects.filter(status="SUCCESS").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
    finally:
        busy.stop()
        thread.join(10)
    assert Execution.objects.filter(status="SUCCESS").exists()
    assert claims == ["claim_batch"]


# -- how much is in hand -----------------------------------------------------------------------------------------------


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose one number is the time."""
    moment = [60.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    return moment


def test_what_is_in_hand_follows_the_pace(now: list[float]) -> None:
    paced = Pace(concurrency=10, start=10, largest=100)
    assert paced.free(0) == 10
    now[0] += 0.02
    paced.went_on(20)  # a thousand a second: more go on in a moment than two claims bring
    assert paced.free(0) == 100
    assert paced.free(100) == 100
    assert paced.free(150) == 0, "a claim of half a window is not worth a statement while nobody is idle"
    now[0] += 60.0
    paced.went_on(40)  # one every three seconds
    assert paced.free(1) == 9
    assert paced.free(9) == 1, "a slot that is free is filled"
    assert paced.free(10) == 0
    slow = Pace(concurrency=10, start=3, largest=100)
    assert [slow.free(in_hand) for in_hand in (0, 3, 10)] == [3, 7, 0], "nothing ends, and yet all slots fill"


def test_a_pause_and_a_straggler_say_little_about_the_pace(now: list[float]) -> None:
    paced = Pace(concurrency=10, start=10, largest=400)

    def room(after: float, total: int, in_hand: int) -> int:
        now[0] += after
        paced.went_on(total)
        return paced.free(in_hand)

    for claimed in (0, 0, 10):
        assert room(30.0, 0, 0) == 10
        paced.looked(claimed, 0)
    for turn in range(1, 21):
        assert room(0.001, 10 * turn, 0) == (10 if turn < 20 else 400), "of a moment too short there is no rate"
        paced.looked(10, 0)
    assert room(0.38, 400, 1) == 199, "what had been claimed together, all but one"
    assert room(0.1, 401, 0) == 160, "the last of them came late"
    for second in range(1, 5):
        room(0.9, 401 + 1000 * (second - 1), 200)  # it pauses, as all wait for one commit
        assert room(0.1, 401 + 1000 * second, 10) > 100, "and they go on together"


def test_what_will_wait_long_for_a_thread_is_too_much(now: list[float]) -> None:
    watched = Pace(concurrency=10, start=10, largest=400)

    def is_behind(after: float, ended: int, waiting: int) -> bool:
        now[0] += after
        return watched.is_behind(ended, waiting)

    assert not is_behind(60.0, 0, 0)
    assert not is_behind(0.1, 0, 400), "it has just come"
    assert not is_behind(1.0, 300, 400), "it will be begun within two seconds"
    assert not is_behind(0.9, 310, 390), "not yet a second"
    assert is_behind(0.2, 320, 380)
    assert not is_behind(0.9, 320, 380), "it has just been handed back"
    assert not is_behind(0.2, 320, 0), "nothing waits"
    assert is_behind(1.1, 320, 1), "nothing ends"


def test_what_calls_nothing_counts_for_the_pace_too(monkeypatch: pytest.MonkeyPatch) -> None:
    store = get_store()
    store.add([NewJob(EVENT_JOB, {"event_id": str(uuid4())}, max_attempts=1) for _ in range(400)])
    hands: list[int] = []
    claim = DatabaseOutboxStore.claim_batch

    def counted(self: DatabaseOutboxStore, *args: Any, **options: Any) -> Any:
        items = claim(self, *args, **options)
        hands.append(len(items))
        return items

    monkeypatch.setattr(DatabaseOutboxStore, "claim_batch", counted)
    worker(concurrency=4).run(drain=True)
    assert OutboxJob.objects.filter(status="FAILED").count() == 400
    assert max(hands) > 20, "no such event is found quickly"


SHAPES: dict[str, list[dict[str, Any]]] = {
    "one step": [{}],
    "steps in a row": [{"needs": [f"s{n - 1}"] if n else []} for n in range(6)],
    "steps side by side": [{}, {}, {}],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_claimed_at_a_better_pace_is_handed_back_and_stays_there(actions: Any, shape: str) -> None:
    slow = threading.Event()

    @actions("work")
    def work() -> None:
        if slow.is_set():
            time.sleep(0.1)

    listen("changing", *({"id": f"s{n}", "action": "test.work", **more} for n, more in enumerate(SHAPES[shape])))
    emit_events([{"type": "it.happened", "payload": {}}] * 1000)
    busy = worker(concurrency=2)

    thread = started(busy)
    in_hand = busy._engine.in_hand
    try:
        while len(in_hand) < 100 and thread.is_alive():
            time.sleep(0.001)
        slow.set()
        deadline = time.monotonic() + 8
        while len(in_hand) > 25 and time.monotonic() < deadline:
            time.sleep(0.01)
        claimed, most = busy.counters.claimed, 0
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            most = max(most, len(in_hand))
            time.sleep(0.01)
        assert most <= 25, "two run, and what waits beside them is begun within a second or so"
        assert busy.counters.claimed - claimed <= 60, "no more than was done"
    finally:
        slow.clear()
        thread.join(60)
    assert set(OutboxJob.objects.values_list("status", "crashes").distinct()) == {("COMPLETED", 0)}


def test_never_more_is_claimed_than_there_are_free_slots(actions: Any) -> None:
    release = threading.Event()
    claimed: list[int] = []

    @actions("wait")
    def wait() -> None:
        claimed.append(OutboxJob.objects.filter(status="CLAIMED").count())
        release.wait(10)

    listen("slow", {"id": "a", "action": "test.wait"})
    for _ in range(12):
        emit_event("it.happened", {})
    busy = worker(concurrency=3)

    thread = started(busy)
    deadline = time.monotonic() + 10
    while len(claimed) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    in_hand = OutboxJob.objects.filter(status="CLAIMED").count()
    release.set()
    thread.join(30)
    assert in_hand <= 4, "three that run, and at most one event that was just decided"
    assert Execution.objects.filter(status="SUCCESS").count() == 12


def test_items_that_one_more_crash_would_bury_are_taken_one_by_one(handler: Handler) -> None:
    store = get_store()
    store.add([NewJob("test", {"number": number}) for number in range(6)])
    # One crash more would bury these three; the one that has crashed once is among many, and far from it.
    OutboxJob.objects.filter(payload__number__in=[1, 3, 4]).update(crashes=2, status="RETRY", attempts=1)
    OutboxJob.objects.filter(payload__number=5).update(crashes=1, status="RETRY", attempts=1)
    in_hand: list[set[str]] = []
    true_handle = handler.handle

    def handle(item: Any) -> None:
        if item.crashes == 2:
            claimed = OutboxJob.objects.filter(status="CLAIMED").values_list("payload__number", flat=True)
            in_hand.append({str(number) for number in claimed})
        true_handle(item)

    handler.handle = handle  # type: ignore[method-assign]
    worker().run(drain=True)
    assert sorted(handler.handled) == [0, 1, 2, 3, 4, 5]
    assert sorted(map(len, in_hand)) == [1, 1, 1], "a crash would be charged to each item that is in hand"
    assert set(OutboxJob.objects.values_list("status", "attempts")) == {("COMPLETED", 1), ("COMPLETED", 2)}


def test_of_items_with_a_crash_no_more_are_in_hand_than_keep_the_threads_busy(handler: Handler) -> None:
    get_store().add([NewJob("test", {"number": number}) for number in range(440)])
    # Before and after those that a worker died over, there are enough others to claim them by the hundred.
    crashed = list(range(200, 240))
    OutboxJob.objects.filter(payload__number__in=crashed).update(crashes=1, status="RETRY", attempts=1)
    in_hand: list[int] = []
    true_handle = handler.handle

    def handle(item: Any) -> None:
        if item.crashes:
            in_hand.append(OutboxJob.objects.filter(status="CLAIMED", crashes=1).count())
        true_handle(item)

    handler.handle = handle  # type: ignore[method-assign]
    worker(concurrency=3).run(drain=True)
    assert sorted(handler.handled) == list(range(440))
    assert len(in_hand) == 40
    assert max(in_hand) <= 6
    assert set(OutboxJob.objects.values_list("status", "crashes", "attempts")) == {
        ("COMPLETED", 1, 2),
        ("COMPLETED", 0, 1),
    }


def test_an_item_that_waits_to_be_taken_alone_is_the_next_one(handler: Handler) -> None:
    store = get_store()
    store.add([NewJob("test", {"number": n}, tenant=f"t{n % 20}") for n in range(600)])
    OutboxJob.objects.filter(payload__number=7).update(crashes=2, status="RETRY", attempts=1)
    busy = worker()
    claimed_before: list[int] = []
    true_note = busy._note

    def note(request: Any, claimed: list[Any]) -> None:
        true_note(request, claimed)
        if any(item.crashes == 2 for item in claimed):
            claimed_before.append(busy.counters.claimed)

    busy._note = note  # type: ignore[method-assign]
    busy.run(drain=True)
    assert sorted(handler.handled) == list(range(600))
    assert handler.handled.index(7) < claimed_before[0], "it starves while others are claimed at random"


def test_those_that_are_to_be_taken_alone_are_so_one_after_the_other(handler: Handler) -> None:
    """Each would wait otherwise for what is claimed in between, and others for a hand that is emptied each time."""
    get_store().add([NewJob("test", {"number": n}) for n in range(200)])
    OutboxJob.objects.filter(payload__number__lt=4).update(crashes=2, status="RETRY", attempts=1)
    busy = worker(concurrency=4)  # which is how many it claims at first
    busy.run(drain=True)
    assert sorted(handler.handled) == list(range(200))
    assert sorted(handler.handled[:4]) == [0, 1, 2, 3]
    assert busy.counters.claimed == 204, "each is claimed and handed back once"


def test_failed_items_die_and_are_told_while_the_others_complete(handler: Handler) -> None:
    get_store().add([NewJob("test", {"number": n, "fails": n == 2}) for n in range(4)])
    busy = worker()
    busy.run(drain=True)
    assert (sorted(handler.handled), handler.dead) == ([0, 1, 2, 3], [2])
    assert OutboxJob.objects.get(status="FAILED").payload["number"] == 2
    counted = busy.counters.snapshot()
    assert {name: counted[name] for name in ("claimed", "completed", "failed", "retried")} == {
        "claimed": 4,
        "completed": 3,
        "failed": 1,
        "retried": 0,
    }


def test_what_was_claimed_at_a_better_pace_is_handed_back_when_nothing_ends(
    handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_WATCHED", 0.2)
    release = threading.Event()
    true_handle = handler.handle

    def handle(item: Any) -> None:
        if item.payload["number"] >= 300:
            release.wait(20)
        true_handle(item)

    handler.handle = handle  # type: ignore[method-assign]
    get_store().add([NewJob("test", {"number": number}) for number in range(400)])
    busy = worker(concurrency=2)

    thread = started(busy)
    deadline = time.monotonic() + 20
    held = 400
    while time.monotonic() < deadline and (held > 2 or len(handler.handled) < 300):
        time.sleep(0.05)
        held = OutboxJob.objects.filter(status="CLAIMED").count()
    release.set()
    thread.join(30)
    assert held <= 2
    assert sorted(handler.handled) == list(range(400))
    assert set(OutboxJob.objects.values_list("status", "attempts", "crashes")) == {("COMPLETED", 1, 0)}


# -- threads -----------------------------------------------------------------------------------------------------------


def test_short_tasks_are_done_by_few_threads_and_long_ones_get_one_each() -> None:
    pool = ThreadPool("test-pool", 8)
    used: set[str] = set()
    done = threading.Semaphore(0)

    def short() -> None:
        used.add(threading.current_thread().name)
        done.release()

    for _ in range(20):
        for _ in range(50):
            pool.submit(partial(short))
        pool.adjust()
        for _ in range(50):
            assert done.acquire(timeout=10)
    assert len(used) <= 4
    together = threading.Barrier(8, timeout=10)

    def meet() -> None:
        together.wait()

    for _ in range(8):
        pool.submit(partial(meet))
    pool.submit(partial(done.release))
    deadline = time.monotonic() + 10
    while pool.backlog and time.monotonic() < deadline:
        pool.adjust()
        time.sleep(0.002)
    assert done.acquire(timeout=10), "all eight met at the barrier, so that each had a thread"
    assert not together.broken
    pool.close()


def test_a_task_that_raises_ends_no_thread() -> None:
    pool = ThreadPool("test-pool", 2)
    done = threading.Event()

    def leave() -> None:
        raise SystemExit

    for task in [leave] * 5 + [done.set]:
        pool.submit(partial(task))
    deadline = time.monotonic() + 10
    while not done.is_set() and time.monotonic() < deadline:
        pool.adjust()
        time.sleep(0.002)
    pool.close()
    assert done.is_set()


def test_no_more_asynchronous_actions_go_on_at_once_than_the_concurrency_says(
    actions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_WATCHED", 0.2)
    going_on: list[int] = []
    counts: list[int] = []
    released = threading.Event()

    @actions("wait")
    async def wait() -> None:
        going_on.append(1)
        counts.append(len(going_on))
        for _ in range(2000):
            if released.is_set():
                break
            await asyncio.sleep(0.01)
        going_on.pop()

    listen("async", {"id": "a", "action": "test.wait"})
    for _ in range(9):
        emit_event("it.happened", {})
    busy = worker(concurrency=2)
    busy._pace._window = 9  # all of them are in hand at once, as after many quick ones

    thread = started(busy)
    deadline = time.monotonic() + 20
    held = 9
    while time.monotonic() < deadline and (held > 2 or not counts):
        time.sleep(0.05)
        held = OutboxJob.objects.filter(status="CLAIMED").count()
    released.set()
    thread.join(20)
    assert not thread.is_alive()
    assert held == 2, "what waits for its turn was put down"
    assert max(counts) == 2
    assert Execution.objects.filter(status="SUCCESS").count() == 9


def test_asynchronous_actions_hold_no_thread(actions: Any) -> None:
    running: list[asyncio.Event] = []

    @actions("wait")
    async def wait() -> None:
        released = asyncio.Event()
        running.append(released)
        if len(running) == 30:
            await asyncio.sleep(0.2)  # for the threads that started the others to be idle again
            busy_threads.append(busy._launcher._pool._active)  # type: ignore[union-attr]
            for one in running:
                one.set()
        await asyncio.wait_for(released.wait(), 20)

    listen("async", {"id": "a", "action": "test.wait"})
    for _ in range(30):
        emit_event("it.happened", {})
    busy = worker(concurrency=30)
    busy_threads: list[int] = []
    busy.run(drain=True)
    assert Execution.objects.filter(status="SUCCESS").count() == 30, "all of them ran at once, or none would have ended"
    assert busy_threads == [0]


def test_a_worker_whose_threads_all_hang_ends_to_be_replaced(actions: Any) -> None:
    release = threading.Event()

    @actions("hang")
    def hang() -> None:
        release.wait(30)

    listen("hang", {"id": "a", "action": "test.hang", "timeout": 1, "retry": {"max_attempts": 1}})
    for _ in range(2):
        emit_event("it.happened", {})
    stuck = worker(concurrency=2, grace=1)
    try:
        stuck.run()  # without end, but that nothing can run here any more
    finally:
        release.set()
    assert Execution.objects.filter(status="FAILED").count() == 2


# -- effects in the same database --------------------------------------------------------------------------------------


def test_the_effect_of_a_transactional_action_and_its_checkpoint_are_one(actions: Any, work: Any) -> None:
    attempts: list[int] = []

    @actions("book", transactional=True)
    def book(name: str) -> str:
        Group.objects.create(name=f"{name}-{len(attempts)}")
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("after the effect")
        return name

    Group.objects.all().delete()
    listen("booked", {"id": "a", "action": "test.book", "params": {"name": "x"}})
    emit_event("it.happened", {})
    worker().run(drain=True)
    assert Group.objects.count() == 0, "the first attempt failed, and took its effect with it"
    assert Execution.objects.get().status == "FAILED"
    emit_event("it.happened", {})
    worker().run(drain=True)
    assert list(Group.objects.values_list("name", flat=True)) == ["x-1"]
    assert StepRun.objects.filter(status="SUCCESS").count() == 1
    Group.objects.all().delete()


def test_what_ends_while_its_lease_is_renewed_is_not_taken_for_lost(
    handler: Handler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    get_store().add([NewJob("test", {"number": number}) for number in range(3)])
    busy = worker()
    settle = Journal._settle

    def renew_before_it_is_known(self: Journal, *args: Any) -> None:
        held = {item.id: item.lease_token for item in busy._engine.in_hand.values()}
        busy._keeper._renew(held)  # the commit is done, and nobody in this process has been told
        settle(self, *args)

    monkeypatch.setattr(Journal, "_settle", renew_before_it_is_known)
    busy.run(drain=True)
    assert OutboxJob.objects.filter(status="COMPLETED").count() == 3
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


def test_a_transactional_action_that_lost_its_lease_leaves_nothing(actions: Any) -> None:
    @actions("stolen", transactional=True)
    def stolen() -> None:
        Group.objects.create(name="stolen")
        # As the reaper and another worker would have it, seen by this transaction alone on SQLite.
        OutboxJob.objects.filter(kind="automate.run").update(lease_token="f" * 32)

    Group.objects.all().delete()
    listen("stolen", {"id": "a", "action": "test.stolen"})
    emit_event("it.happened", {})
    worker(lease=1).run(once=True)
    assert Group.objects.count() == 0
    assert not StepRun.objects.exists()


def test_a_transactional_action_cannot_be_asynchronous(actions: Any) -> None:
    with pytest.raises(ConfigurationError, match="async"):

        @actions("wrong", transactional=True)
        async def wrong() -> None: ...
