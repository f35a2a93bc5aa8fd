"""What workers count and what the outbox looks like from outside, on every database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from automate_core import settings
from automate_core.outbox import NewJob
from automate_outbox import gauges as module
from automate_outbox.counters import BEAT_SECONDS, GONE_SECONDS, Counters, Heartbeat, fold
from automate_outbox.gauges import gauges, measure
from automate_outbox.models import OutboxJob, WorkerBeat
from automate_outbox.store import get_store
from django.db import connections
from django.db.models import F
from django.test.utils import CaptureQueriesContext


@pytest.fixture(autouse=True)
def _no_workers(using: str) -> Iterator[None]:
    """Nobody has told anything, and no gauge is remembered."""
    WorkerBeat.objects.using(using).all().delete()
    module._kept.clear()
    yield
    WorkerBeat.objects.using(using).all().delete()
    module._kept.clear()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def worker(using: str, name: str, clock: Clock | None = None) -> tuple[Counters, Heartbeat]:
    counters = Counters()
    return counters, Heartbeat(name, counters, mode="thread", using=using, clock=clock or Clock())


def age(using: str, seconds: float) -> None:
    WorkerBeat.objects.using(using).update(beat_at=F("beat_at") - timedelta(seconds=seconds))


def test_depth_age_flight_and_death_are_told_for_each_queue(using: str) -> None:
    store = get_store(using)
    late, hour = timedelta(seconds=-30), timedelta(hours=1)
    store.add([NewJob("k", due=late), NewJob("k"), NewJob("k", due=hour), NewJob("k", queue="slow", due=hour)])
    store.add([NewJob("k", queue="slow", ordering_key="a", due=late), NewJob("k", queue="slow", ordering_key="a")])
    held = store.add_claimed("w", NewJob("k"))
    store.add_claimed("w", NewJob("k"))
    dead = store.add_claimed("w", NewJob("k"))
    store.mark_failed(dead.id, "w", "boom")
    done = store.add_claimed("w", NewJob("k"))
    store.mark_success(done.id, "w")
    read = measure(using)
    assert [(one.queue, one.due, one.waiting) for one in read.queues] == [("default", 2, 1), ("slow", 2, 1)]
    assert all(29 < one.oldest_seconds < 90 for one in read.queues)
    assert (read.due, read.waiting, read.in_flight, read.dead) == (4, 2, 2, 1)
    store.mark_success(held.id, "w")
    OutboxJob.objects.using(using).exclude(status="CLAIMED").delete()
    assert (measure(using).oldest_seconds, measure(using).queues, measure(using).in_flight) == (0.0, (), 1)


def test_a_scrape_reads_two_statements_over_the_indexes_of_the_few(using: str) -> None:
    with CaptureQueriesContext(connections[using]) as queries:
        measure(using)
    depth, workers = (query["sql"] for query in queries.captured_queries)
    assert "automate_outbox_worker" in workers
    if connections[using].vendor == "sqlite":
        with connections[using].cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + depth.replace("%", "%%"), [])
            plan = [row[3] for row in cursor.fetchall()]
        scans = [line.split(" INDEX ")[-1] for line in plan if "automate_outbox_job" in line]
        names = ("claim", "order", "held", "dead")
        assert scans == [f"automate_outbox_{name}" for name in names], plan
    else:
        assert depth.count("status IN") == 5  # every count is of some statuses, and history is none of them
        assert "COMPLETED" not in depth


def test_what_was_read_is_kept(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        settings.configure(settings.parse({"OUTBOX": {"metrics_cache_seconds": 60}}))
        first = gauges(using)
        with CaptureQueriesContext(connections[using]) as queries:
            assert gauges(using) is first
        assert len(queries) == 0
        settings.configure(settings.parse({"OUTBOX": {"metrics_cache_seconds": 0}}))
        assert gauges(using) is not first
        # A reading that takes long is kept for long, whatever the setting says.
        settings.configure(settings.parse({"OUTBOX": {"metrics_cache_seconds": 1}}))
        clock = Clock()

        def slow(using: str) -> module.Gauges:
            clock.now += 2.0
            return module.Gauges((), 0, 0, (), {})

        module._kept.clear()
        monkeypatch.setattr("automate_outbox.gauges.time.monotonic", clock)
        monkeypatch.setattr(module, "measure", slow)
        found = gauges(using)
        clock.now += 199
        assert gauges(using) is found
        clock.now += 2
        assert gauges(using) is not found
    finally:
        settings.configure(None)


def test_a_worker_beats_now_and_then_with_one_statement(using: str) -> None:
    clock = Clock()
    counters, heart = worker(using, "w", clock)
    assert heart.beat(in_hand=1, wake="notify")
    counters.claimed += 3
    with CaptureQueriesContext(connections[using]) as queries:
        clock.now += BEAT_SECONDS - 1
        assert not heart.beat(in_hand=2)
        assert len(queries) == 0
        clock.now += 1
        assert heart.beat(in_hand=2, wake="poll")
    assert len(queries) == 1
    (seen,) = measure(using).workers
    assert (seen.worker_id, seen.mode, seen.wake, seen.in_hand, seen.is_alive) == ("w", "thread", "poll", 2, True)
    assert measure(using).totals["claimed"] == 3
    age(using, 4 * BEAT_SECONDS)
    assert measure(using).alive == ()
    assert measure(using).workers[0].seconds_since == pytest.approx(4 * BEAT_SECONDS, abs=5)


def test_the_rows_of_a_dead_worker_are_folded_by_its_name(using: str) -> None:
    gone, heart = worker(using, "host.1-a")
    _, alive = worker(using, "host.1-b")
    gone.completed = 5
    assert heart.beat(in_hand=3)
    assert alive.beat(in_hand=0)
    assert fold(using, worker_id="host.1-a", counts={"reaped": 3, "crashed": 1}) == 1
    assert fold(using, worker_id="host.1-a") == 0
    assert fold(using, worker_id="host.1-a", counts={"reaped": 1}) == 0  # it had never told anything
    read = measure(using)
    assert [seen.worker_id for seen in read.workers] == ["host.1-b"]
    assert (read.totals["completed"], read.totals["reaped"], read.totals["crashed"]) == (5, 4, 1)


def test_totals_never_go_back(using: str) -> None:
    clock = Clock()
    first, heart = worker(using, "same", clock)
    other, orderly = worker(using, "same", clock)  # two workers with one name are two
    first.completed, other.completed, other.stale_refused = 5, 7, 1
    assert heart.beat(in_hand=0)
    assert orderly.beat(in_hand=0)
    assert measure(using).totals["completed"] == 12
    other.completed += 1
    orderly.end()
    assert measure(using).totals["completed"] == 13  # what was counted since the last beat included
    assert [seen.worker_id for seen in measure(using).workers] == ["same"]
    age(using, GONE_SECONDS + 60)  # a worker stands still for so long that it counts as gone
    assert fold(using, seconds=GONE_SECONDS) == 1
    assert fold(using, seconds=GONE_SECONDS) == 0  # the totals themselves are never gone
    assert (measure(using).totals["completed"], measure(using).workers) == (13, ())
    first.completed += 2
    clock.now += BEAT_SECONDS
    assert heart.beat(in_hand=0)  # and comes back
    assert measure(using).totals == {**Counters().snapshot(), "completed": 15, "stale_refused": 1}
    clock.now += BEAT_SECONDS
    first.completed += 1
    assert heart.beat(in_hand=0)
    heart.end()
    assert measure(using).totals["completed"] == 16
    assert WorkerBeat.objects.using(using).count() == 1


def test_workers_that_end_at_once_are_all_added_up(using: str) -> None:
    barrier = threading.Barrier(6)
    problems: list[BaseException] = []

    def live() -> None:
        try:
            counters, heart = worker(using, "w")
            counters.completed = 10
            barrier.wait()
            heart.beat(in_hand=0)
            counters.completed += 1
            heart.end()
        except BaseException as error:
            problems.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=live) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert measure(using).totals["completed"] == 66
    assert WorkerBeat.objects.using(using).count() == 1
