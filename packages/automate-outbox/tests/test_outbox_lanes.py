"""What a store remembers of lanes: how far it has claimed, and when it looks again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from automate_core.errors import OutboxError
from automate_core.outbox import NewJob, OutboxItem
from automate_outbox.models import OutboxJob
from automate_outbox.reaper import OutboxReaper
from automate_outbox.store import DatabaseOutboxStore, get_store, lanes
from django.db import DatabaseError, OperationalError, connections, transaction
from django.utils import timezone

EARLIER = timedelta(minutes=-5)


class Clock:
    """The monotonic clock of the stores, moved by the test alone."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr("automate_outbox.store.lanes.time.monotonic", one)
    return one


def ids(items: list[OutboxItem]) -> list[int]:
    return [item.id for item in items]


def jobs(count: int, **fields: Any) -> list[NewJob]:
    return [NewJob(**{"kind": "test", **fields}) for _ in range(count)]


# -- cursors ----------------------------------------------------------------------------------------------------------


def test_a_claim_goes_on_where_the_last_one_stopped_until_the_store_looks_again(using: str, clock: Clock) -> None:
    """A row behind the cursor, as of a transaction that committed late, waits for that, and no longer."""
    store = get_store(using)
    store.add(jobs(50))
    items = store.claim_batch("w", 5)
    get_store(using).release(items[2].id, "w", lease_token=items[2].lease_token)
    assert items[2].id not in ids(store.claim_batch("w", 5))
    clock.now += lanes.FRESH_SECONDS[1]
    assert ids(store.claim_batch("w", 5))[0] == items[2].id


def test_what_comes_again_is_due_before_what_is_newer(using: str, clock: Clock) -> None:
    store = get_store(using)
    store.add(jobs(50))
    store.claim_batch("w", 5)
    (late,) = store.add(jobs(1, due=EARLIER))
    clock.now += lanes.FRESH_SECONDS[1]
    assert ids(store.claim_batch("w", 5))[0] == late


def test_a_busy_store_looks_for_new_lanes_every_few_claims(using: str, clock: Clock) -> None:
    store = get_store(using)
    store.add(jobs(500, tenant="big"))
    store.claim_batch("w", 5)
    (small,) = store.add(jobs(1, tenant="small"))
    clock.now += 2 * lanes.FRESH_SECONDS[0]
    seen = [small in ids(store.claim_batch("w", 5)) for _ in range(lanes.FRESH_CLAIMS)]
    assert seen == [False] * (lanes.FRESH_CLAIMS - 1) + [True]


def test_an_idle_store_finds_a_new_lane_at_once(using: str, clock: Clock) -> None:
    """Whoever was woken must find what woke it, however short ago it looked."""
    store = get_store(using)
    for number in range(3):
        assert store.claim_batch("w") == []
        (item_id,) = store.add(jobs(1, tenant=f"t{number}"))
        assert ids(store.claim_batch("w")) == [item_id]


def test_a_claim_that_was_not_filled_looks_again_after_a_pause_only(using: str, clock: Clock) -> None:
    store = get_store(using)
    store.add(jobs(10))
    store.claim_batch("w", 5)
    (other,) = store.add(jobs(1, tenant="other"))
    assert len(store.claim_batch("w", 9)) == 5
    assert ids(store.claim_batch("w", 9)) == [other]
    store.add(jobs(3))
    store.add(jobs(1, tenant="third"))
    clock.now += 2 * lanes.PAUSE_SECONDS[0]
    assert len(store.claim_batch("w", 9)) == 4


def test_what_took_long_to_find_is_trusted_for_longer(clock: Clock) -> None:
    book = lanes.LaneBook()
    book.replace([(lanes.Lane(0, "q", "", "k"), 0, 1)], [], took=0.03)
    for _ in range(lanes.FRESH_CLAIMS):
        book.came(1)
    seen = []
    for seconds in (0.29, 0.02):
        clock.now += seconds
        seen.append(book.is_outdated)
    assert seen == [False, True]
    book.replace([], [], took=9.0)
    book.came(1)
    clock.now += lanes.FRESH_SECONDS[1]
    assert book.is_outdated


def test_more_lanes_than_a_claim_visits_take_turns(clock: Clock) -> None:
    book = lanes.LaneBook()
    every = [lanes.Lane(0, "q", f"t{number}", "k") for number in range(100)]
    book.replace([(lane, 0, 1) for lane in every], [], took=0.0)
    visited: set[lanes.Lane] = set()
    for _ in range(4):
        cursors = book.cursors(64)
        assert len(cursors) == 64
        rows = [(7, "k", "", 0, 0, 0, "q", one.lane.tenant, 0, "", 1) for one in cursors]
        visited.update(one.lane for one in cursors)
        book.note(cursors, rows, 64)
    assert visited == set(every)


def test_a_large_claim_may_be_of_many_keys_or_of_many_lanes(using: str) -> None:
    store = get_store(using)
    store.add([NewJob("test", ordering_key=f"k{number}") for number in range(700) for _ in range(2)])
    done = 0
    for _ in range(30):
        claimed = store.claim_batch("w", 700)
        store.mark_success_many({item.id: item.lease_token for item in claimed}, "w")
        done += len(claimed)
    assert done == 1400
    store.add([NewJob("test", tenant=f"t{number}") for number in range(700)])
    assert len({item.tenant for _ in range(20) for item in store.claim_batch("w", 700)}) == 700


def test_keys_take_turns_though_a_claim_looks_at_few(using: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automate_outbox.store.claiming._KEYS_PER_CLAIM", 4)
    store = get_store(using)
    firsts = {store.add(jobs(2, ordering_key=f"k{number:02}"))[0] for number in range(30)}
    seen = [item_id for _ in range(20) for item_id in ids(store.claim_batch("w", 2))]
    assert set(seen) == firsts


def test_the_next_item_of_a_key_is_known_without_looking(using: str, clock: Clock) -> None:
    """Among many keys, and with claims of one item: with every second one at the latest."""
    store = get_store(using)
    store.add([NewJob("test", ordering_key=f"k{number:02}") for number in range(30) for _ in range(2)])
    (first,) = store.claim_batch("w", 1)
    store.mark_success(first.id, "w")
    seen = [item.ordering_key for _ in range(2) for item in store.claim_batch("w", 1)]
    assert first.ordering_key in seen


def test_a_store_knows_its_lanes_by_what_it_claims(using: str, clock: Clock) -> None:
    """Nobody's filter hides what another one asks for."""
    store = get_store(using)
    a, b = store.add([NewJob("a"), NewJob("b", queue="q")])
    assert ids(store.claim_batch("w", kinds=["a"])) == [a]
    assert ids(store.claim_batch("w", queues=["q"])) == [b]


# -- failures in the middle of a claim --------------------------------------------------------------------------------


def test_what_was_claimed_is_not_lost_when_the_next_statement_fails(
    using: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = get_store(using)
    store.add(jobs(8))
    store.claim_batch("w", 5)
    clock.now += 2 * lanes.PAUSE_SECONDS[0]

    def broken(*args: Any) -> Any:
        raise OperationalError("the server is gone")

    monkeypatch.setattr(type(store._dialect), "lanes", broken)
    items = store.claim_batch("w", 9)
    assert len(items) == 3
    assert store.complete_and_claim(ids(items), "w", 9) == (set(), [])
    with pytest.raises(DatabaseError):
        get_store(using).claim_batch("w")


# -- order under concurrency ------------------------------------------------------------------------------------------


@contextmanager
def in_another_connection(using: str, work: Callable[[], None]) -> Iterator[None]:
    """Do some work in a transaction of another connection, and commit when the block is left."""
    ready, leave = Event(), Event()

    def run() -> None:
        try:
            with transaction.atomic(using=using):
                work()
                ready.set()
                leave.wait(60)
        finally:
            ready.set()
            connections[using].close()

    thread = Thread(target=run)
    thread.start()
    assert ready.wait(60)
    try:
        yield
    finally:
        leave.set()
        thread.join(60)


@pytest.mark.parametrize("using", ["postgres"], indirect=True)  # MariaDB locks, SQLite has one writer
def test_a_snapshot_that_misses_a_claim_cannot_claim_a_second_item(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item that was committed late comes first by its id, while another one of its key is being claimed."""
    store, other = get_store(using), get_store(using)
    early, late = store.add(jobs(2, ordering_key="k"))
    OutboxJob.objects.using(using).filter(pk=early).update(status="COMPLETED")
    waits: list[float] = []

    def claim_the_second() -> None:
        assert ids(other.claim_batch("v")) == [late]

    with in_another_connection(using, claim_the_second):
        OutboxJob.objects.using(using).filter(pk=early).update(status="PENDING")
        with connections[using].cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        monkeypatch.setattr("automate_outbox.store.dialect.time.sleep", waits.append)
        with pytest.raises(OperationalError):
            store.claim_batch("w")
        assert waits
        with connections[using].cursor() as cursor:
            cursor.execute("SET lock_timeout = 0")
    assert store.claim_batch("w") == []
    assert sorted(OutboxJob.objects.using(using).values_list("pk", "status")) == [(early, "PENDING"), (late, "CLAIMED")]


# -- the fence of a checkpoint ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("using", ["postgres", "mariadb"], indirect=True)  # SQLite locks the whole database
def test_a_held_claim_is_not_taken_away_until_the_checkpoint_is_written(using: str) -> None:
    store = get_store(using)
    store.add(jobs(2))
    held, free = store.claim_batch("w")
    rows = OutboxJob.objects.using(using)
    rows.update(lease_expires_at=timezone.now() + EARLIER)

    def hold() -> None:
        assert store.hold_many([held.id], "w") == set()

    with in_another_connection(using, hold):
        assert OutboxReaper(using=using).reap_stale_items() == 1
        assert rows.get(pk=held.id).status == "CLAIMED"
        assert rows.get(pk=free.id).status == "RETRY"
    assert OutboxReaper(using=using).reap_stale_items() == 1


def test_a_fence_needs_a_transaction(using: str) -> None:
    store: DatabaseOutboxStore = get_store(using)
    store.add(jobs(1))
    (item,) = store.claim_batch("w")
    with pytest.raises(OutboxError, match="atomic"):
        store.hold_many([item.id], "w")
    with transaction.atomic(using=using):
        assert store.hold_many([item.id, 10**9], "w") == {10**9}
