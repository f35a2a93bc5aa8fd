"""What the hot path costs: statements, and the index that serves them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from automate_core.outbox import NewJob
from automate_core.testing.databases import require_database
from automate_outbox.models import OutboxJob
from automate_outbox.reaper import OutboxReaper
from automate_outbox.store import DatabaseOutboxStore, OptimisticClaimOutboxStore, SkipLockedClaimOutboxStore, lanes
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone


@pytest.fixture(autouse=True)
def _lanes_stay_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted must not depend on the speed of the machine."""
    monkeypatch.setattr(lanes, "FRESH_SECONDS", (600.0, 600.0))


def statements(using: str, work: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connections[using]) as captured:
        work()
    return [query["sql"] for query in captured.captured_queries]


def test_the_hot_path_is_one_statement_per_call(using: str) -> None:
    store = SkipLockedClaimOutboxStore(using=using)
    returns_rows = using != "mariadb"

    def count(work: Callable[[], Any]) -> int:
        return len(statements(using, work))

    assert count(lambda: store.add([NewJob("test") for _ in range(500)])) == 1
    # The first claim looks for lanes. MariaDB does that in two reads; then begin, two locking reads, update, commit.
    assert count(lambda: store.claim_batch("w", 50)) == (2 if returns_rows else 7)
    assert count(lambda: store.claim_batch("w", 50)) == (1 if returns_rows else 5)
    ids = list(OutboxJob.objects.using(using).filter(status="CLAIMED").values_list("pk", flat=True))
    assert len(ids) == 100
    assert count(lambda: store.renew(ids[0], "w")) == 1
    assert count(lambda: store.mark_success(ids[0], "w")) == 1
    assert count(lambda: store.mark_failed(ids[1], "w", "wrong")) == 1
    assert count(lambda: store.release(ids[2], "w")) == 1
    # MariaDB: begin, a locking read, update, read, commit.
    assert count(lambda: store.mark_retry(ids[3], "w", timedelta(seconds=1), "busy")) == (1 if returns_rows else 5)
    assert count(lambda: store.claim_job("w", ids[3])) == (1 if returns_rows else 4)
    assert count(lambda: store.add_claimed("w", NewJob("test"))) == 1
    assert count(lambda: store.add_claimed_many("w", [NewJob("test") for _ in range(100)])) == 1
    assert count(store.seconds_until_due) == (1 if returns_rows else 2)


def test_the_calls_for_many_items_are_one_statement(using: str) -> None:
    store = SkipLockedClaimOutboxStore(using=using)
    # MariaDB: begin, a locking read, update, commit.
    change = 4 if using == "mariadb" else 1

    def count(work: Callable[[list[int]], Any]) -> int:
        # Of two claims, so with two tokens.
        ids = [item.id for _ in range(2) for item in store.add_claimed_many("w", [NewJob("test") for _ in range(50)])]
        return len(statements(using, lambda: work(ids)))

    assert count(lambda ids: store.renew_many(ids, "w")) == change
    assert count(lambda ids: store.mark_success_many(ids, "w")) == change
    assert count(lambda ids: store.mark_failed_many(ids, "w", dict.fromkeys(ids, "no"))) == change
    assert count(lambda ids: store.release_many(ids, "w")) == change
    assert count(lambda ids: store.reschedule_many(ids, "w", dict.fromkeys(ids, timedelta(hours=1)))) == change
    later = (timedelta(hours=1), "busy")
    # MariaDB reads what became of each.
    retry = change + (using == "mariadb")
    assert count(lambda ids: store.mark_retry_many(ids, "w", dict.fromkeys(ids, later))) == retry
    assert count(lambda ids: store.completed_by(dict.fromkeys(ids, "0" * 32))) == 1
    with transaction.atomic(using=using):
        assert count(lambda ids: store.hold_many(ids, "w")) == 1


def test_completing_and_claiming_is_one_statement_on_postgresql() -> None:
    using = require_database("postgres")
    store = SkipLockedClaimOutboxStore(using=using)
    OutboxJob.objects.using(using).all().delete()
    store.add([NewJob("test") for _ in range(30)])
    held = [item.id for item in store.claim_batch("w")]
    assert len(statements(using, lambda: store.complete_and_claim(held, "w", 10))) == 1
    assert OutboxJob.objects.using(using).filter(status="COMPLETED").count() == 10
    assert OutboxJob.objects.using(using).filter(status="CLAIMED").count() == 10
    OutboxJob.objects.using(using).all().delete()


@pytest.mark.parametrize("store_class", [SkipLockedClaimOutboxStore, OptimisticClaimOutboxStore])
def test_an_idle_claim_only_reads(using: str, store_class: type[DatabaseOutboxStore]) -> None:
    store = store_class(using=using)
    for _ in range(2):
        ran = statements(using, lambda: store.claim_batch("w"))
        assert len(ran) == (2 if using == "mariadb" else 1)
        assert all(text.lstrip("( \n").startswith(("SELECT", "WITH RECURSIVE")) for text in ran)
        assert not any("UPDATE" in text for text in ran)


def test_many_lanes_are_still_one_statement(using: str) -> None:
    store = SkipLockedClaimOutboxStore(using=using)
    store.add([NewJob("test", tenant=f"t{n % 30}") for n in range(600)])
    store.claim_batch("w", 30)
    ran = statements(using, lambda: store.claim_batch("w", 30))
    # MariaDB: begin, two locking reads for each of at most eight lanes, update, commit; and so until it is filled.
    assert len(ran) == (1 if using != "mariadb" else 19)


def test_ordered_items_cost_three_statements_more(using: str) -> None:
    store = SkipLockedClaimOutboxStore(using=using)
    store.add([NewJob("test", ordering_key=f"k{n % 50}") for n in range(500)])
    held = [item.id for item in store.claim_batch("w", 20)]
    store.mark_success_many(held[:10], "w")
    ran = statements(using, lambda: store.claim_batch("w", 10))
    # The heads of the keys that were given up, those of the next keys, and the claim. MariaDB: begin, two locking
    # reads, update, commit.
    assert len(ran) == (3 if using != "mariadb" else 7)


def fill(using: str) -> None:
    """Long history, a backlog, some waiting for later, some held."""
    now = timezone.now()
    done = [OutboxJob(kind="test", status="COMPLETED", completed_at=now) for _ in range(3000)]
    waiting = [OutboxJob(kind="test", priority=n % 3, next_attempt_at=now) for n in range(500)]
    later = [OutboxJob(kind="test", status="RETRY", next_attempt_at=now + timedelta(days=1)) for _ in range(500)]
    held = [OutboxJob(kind="test", status="CLAIMED", lease_expires_at=now - timedelta(hours=n)) for n in range(50)]
    OutboxJob.objects.using(using).bulk_create([*done, *waiting, *later, *held], batch_size=500)
    analyze(using)


def analyze(using: str) -> None:
    words = {"default": "ANALYZE", "postgres": "VACUUM ANALYZE automate_outbox_job"}
    with connections[using].cursor() as cursor:
        cursor.execute(words.get(using, "ANALYZE TABLE automate_outbox_job"))
        if using == "mariadb":
            cursor.fetchall()


def plan(using: str, statement: str) -> str:
    prefix = {"default": "EXPLAIN QUERY PLAN", "postgres": "EXPLAIN (FORMAT JSON)", "mariadb": "EXPLAIN FORMAT=JSON"}
    with connections[using].cursor() as cursor:
        # The captured text holds its values already.
        cursor.execute(f"{prefix[using]} {statement}".replace("%", "%%"), [])
        return json.dumps(cursor.fetchall(), default=str)


SORTS = {"default": "TEMP B-TREE", "postgres": '\\"Sort', "mariadb": "filesort"}


def claims_of(ran: list[str]) -> list[str]:
    return [text for text in ran if "ORDER BY next_attempt_at, id" in text]


@pytest.mark.parametrize("store_class", [SkipLockedClaimOutboxStore, OptimisticClaimOutboxStore])
def test_claims_walk_the_index_of_live_rows(using: str, store_class: type[DatabaseOutboxStore]) -> None:
    fill(using)
    store = store_class(using=using)
    found = claims_of(statements(using, lambda: store.claim_batch("w", 10, kinds=["test"])))
    assert found
    for statement in found:
        # An optimistic claim on MariaDB sorts what is due: it locks nothing while it does.
        seen = plan(using, statement)
        assert "automate_outbox_claim" in seen
        if (using, store_class) != ("mariadb", OptimisticClaimOutboxStore):
            assert SORTS[using] not in seen


def test_lanes_and_keys_are_found_by_loose_scans(using: str) -> None:
    fill(using)
    store = SkipLockedClaimOutboxStore(using=using)
    store.add([NewJob("test", tenant=f"t{n % 5}", ordering_key=f"k{n % 10}") for n in range(5000)])
    analyze(using)
    for statement in statements(using, store.seconds_until_due):
        seen = plan(using, statement)
        assert "automate_outbox_claim" in seen or "automate_outbox_order" in seen
        if using == "mariadb":
            assert "using_index_for_group_by" in seen
        else:
            assert SORTS[using] not in seen or "ORDER BY step" in statement
            assert "Seq Scan" not in seen


def test_the_reaper_reads_the_claimed_rows_alone(using: str) -> None:
    fill(using)
    reaper = OutboxReaper(using=using)
    look = statements(using, reaper.reap)[0]
    assert "automate_outbox_held" in plan(using, look)
    assert OutboxJob.objects.using(using).filter(status="CLAIMED").count() == 0
    (look,) = statements(using, lambda: reaper.reap("w"))  # nobody is woken where nothing was found
    assert "automate_outbox_held" in plan(using, look)


def test_a_claim_looks_its_token_up_whatever_the_statistics_say(using: str) -> None:
    if using != "postgres":
        pytest.skip("elsewhere the claims are no join that a planner could take for small")
    fill(using)  # of a thousand rows at the most fifty are held, says what was analysed
    store = SkipLockedClaimOutboxStore(using=using)
    claims = {item.id: item.lease_token for item in store.claim_batch("w", 500)}
    assert len(claims) == 500

    def hold() -> None:
        with transaction.atomic(using=using):
            store.hold_many(claims, "w")

    ran = statements(using, hold) + statements(using, lambda: store.mark_success_many(claims, "w"))
    fenced = [text for text in ran if "lease_owner = 'w'" in text and "CLAIMED" in text]
    assert len(fenced) == 2
    for statement in fenced:
        assert "Join" not in plan(using, statement)
