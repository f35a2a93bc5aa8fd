"""Dead letters on every database: found by filter, grouped, requeued and discarded in bounded batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from automate_core.errors import OutboxError
from automate_core.outbox import JobStatus, NewJob, OutboxItem
from automate_outbox import handlers
from automate_outbox.dead import DeadLetters, Requeued, dead_letters_changed, discard, groups, requeue
from automate_outbox.models import OutboxJob
from automate_outbox.store import get_store
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone


@pytest.fixture
def announced() -> Iterator[list[dict[str, Any]]]:
    heard: list[dict[str, Any]] = []

    def hear(**sent: Any) -> None:
        heard.append({name: sent[name] for name in ("action", "actor", "letters", "ids")})

    dead_letters_changed.connect(hear)
    yield heard
    dead_letters_changed.disconnect(hear)


class Choosy:
    """Refuses odd ones, and gives the others another payload."""

    kind = "choosy"

    def handle(self, item: OutboxItem) -> None:
        raise NotImplementedError

    def on_dead(self, item: OutboxItem, error: str) -> None:
        raise NotImplementedError

    def on_requeue(self, payloads: Mapping[int, dict[str, Any]]) -> Mapping[int, Mapping[str, Any]]:
        return {item_id: {"n": -payload["n"]} for item_id, payload in payloads.items() if payload["n"] % 2 == 0}


@pytest.fixture
def choosy() -> Iterator[None]:
    handlers.register_handler(Choosy())
    yield
    handlers.unregister_handler(Choosy.kind)


def die(using: str, count: int, error: str = "boom", **fields: Any) -> list[int]:
    store = get_store(using)
    ids = store.add([NewJob(**{"kind": "k", "payload": {"n": n}, **fields}) for n in range(count)])
    for item in store.claim_batch("w", count):
        store.mark_failed(item.id, "w", error)
    return ids


def statuses(using: str) -> dict[int, str]:
    return dict(OutboxJob.objects.using(using).values_list("pk", "status"))


def test_requeued_items_start_anew_and_the_living_are_never_touched(using: str) -> None:
    (waiting,) = get_store(using).add([NewJob("other", due=timedelta(hours=1))])
    dead = die(using, 3)
    OutboxJob.objects.using(using).filter(pk__in=dead).update(crashes=3, attempts=4)
    before = OutboxJob.objects.using(using).values().get(pk=waiting)
    assert requeue(DeadLetters(ids=(*dead, waiting)), actor="me", using=using) == Requeued(3, 0)
    assert OutboxJob.objects.using(using).values().get(pk=waiting) == before
    for row in OutboxJob.objects.using(using).filter(pk__in=dead):
        assert (row.status, row.attempts, row.crashes, row.last_error, row.fingerprint) == ("PENDING", 0, 0, "", "")
        assert row.completed_at is None
    claimed = get_store(using).claim_batch("w", 10)
    assert sorted(item.id for item in claimed) == dead  # due at once
    assert {item.attempts for item in claimed} == {1}


def test_filters_narrow_what_is_meant(using: str) -> None:
    mine = die(using, 2, "no route to 10.0.0.1", tenant="acme", queue="slow")
    die(using, 3, "boom")
    OutboxJob.objects.using(using).filter(pk=mine[0]).update(completed_at=timezone.now() - timedelta(days=2))

    def found(**given: Any) -> list[int]:
        return list(DeadLetters(**given).rows(using).order_by("pk").values_list("pk", flat=True))

    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert found(tenant="acme") == found(queue="slow") == found(error="NO ROUTE") == mine
    assert found(tenant="acme", since=yesterday) == [mine[1]]
    assert found(until=yesterday) == [mine[0]]
    assert len(found(tenant="", kind="k")) == 3
    assert len(found()) == 5
    assert found(kind="K " if connections[using].vendor != "mysql" else "x") == []
    assert found(ids=()) == []  # of nothing, nothing: only what is not given means all
    with pytest.raises(OutboxError, match="time zone"):
        DeadLetters(since=datetime(2026, 1, 1))


def test_a_handler_prepares_its_items_and_keeps_those_that_it_cannot_carry_on(
    using: str, choosy: None, announced: list[dict[str, Any]]
) -> None:
    ids = die(using, 4, kind="choosy")
    letters = DeadLetters(kind="choosy")
    assert requeue(letters, actor="me", using=using) == Requeued(2, 2)
    assert statuses(using) == {ids[0]: "PENDING", ids[1]: "FAILED", ids[2]: "PENDING", ids[3]: "FAILED"}
    assert [item.payload for item in get_store(using).claim_batch("w", 9)] == [{"n": 0}, {"n": -2}]
    assert announced == [{"action": "requeued", "actor": "me", "letters": letters, "ids": (ids[0], ids[2])}]


def test_work_is_bounded_announced_and_undone_batch_by_batch(using: str, announced: list[dict[str, Any]]) -> None:
    ids = die(using, 7)
    seen: list[int] = []

    def refuse_the_last(**sent: Any) -> None:
        if ids[-1] in sent["ids"]:
            raise LookupError("the audit log is full")

    dead_letters_changed.connect(refuse_the_last)
    try:
        with pytest.raises(LookupError):
            discard(DeadLetters(), actor="me", using=using, batch=3, progress=seen.append)
    finally:
        dead_letters_changed.disconnect(refuse_the_last)
    assert seen == [3, 6]
    assert statuses(using) == {ids[6]: "FAILED"}  # two batches stand, the third was rolled back
    assert [len(one["ids"]) for one in announced] == [3, 3, 1]
    assert discard(DeadLetters(), actor="me", using=using) == 1
    assert statuses(using) == {}


def test_history_is_not_read(using: str) -> None:
    """The plan is asked where the planner decides without statistics."""
    rows = DeadLetters(kind="k").rows(using)
    assert "IN ('FAILED')" in str(rows.query)
    if connections[using].vendor == "sqlite":
        assert "automate_outbox_dead" in rows.explain()


def test_a_batch_costs_the_same_whatever_its_size(using: str) -> None:
    counts = []
    for size in (2, 40):
        die(using, size)
        with CaptureQueriesContext(
            connections[using],
        ) as queries:
            assert requeue(DeadLetters(), actor="me", using=using).requeued == size
        counts.append(len(queries))
        OutboxJob.objects.using(using).all().delete()
    assert counts[0] == counts[1] <= 7


def test_groups_gather_one_cause_and_read_in_two_statements(using: str) -> None:
    first = die(using, 2, "no route to 10.0.0.1")
    die(using, 1, "boom")
    OutboxJob.objects.using(using).filter(status=JobStatus.FAILED).exclude(pk__in=first).update(fingerprint="b" * 16)
    OutboxJob.objects.using(using).filter(pk__in=first).update(fingerprint="a" * 16)
    with CaptureQueriesContext(connections[using]) as queries:
        found = groups(DeadLetters(), using=using)
    assert len(queries) == 2
    assert [(group.fingerprint[0], group.kind, group.count) for group in found] == [("a", "k", 2), ("b", "k", 1)]
    assert found[0].sample_id == first[1]
    assert found[0].sample_error == "no route to 10.0.0.1"
    assert found[0].first_seen <= found[0].last_seen
