"""What the hot path costs: statements, and the index that serves them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from automate_core.outbox import NewJob
from automate_core.testing.databases import ALIASES, require_database
from automate_outbox.models import OutboxJob
from automate_outbox.reaper import OutboxReaper
from automate_outbox.store import DatabaseOutboxStore, OptimisticClaimOutboxStore, SkipLockedClaimOutboxStore
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone


@pytest.fixture(params=ALIASES)
def using(request: pytest.FixtureRequest) -> Iterator[str]:
    alias = require_database(request.param)
    OutboxJob.objects.using(alias).all().delete()
    yield alias
    OutboxJob.objects.using(alias).all().delete()


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
    # MariaDB: begin, two locking reads, update, commit.
    assert count(lambda: store.claim_batch("w", 100)) == (1 if returns_rows else 5)
    ids = list(OutboxJob.objects.using(using).filter(status="CLAIMED").values_list("pk", flat=True))
    assert len(ids) == 100
    assert count(lambda: store.renew_many(ids, "w")) == 1
    assert count(lambda: store.renew(ids[0], "w")) == 1
    assert count(lambda: store.mark_success(ids[0], "w")) == 1
    assert count(lambda: store.mark_failed(ids[1], "w", "wrong")) == 1
    assert count(lambda: store.release(ids[2], "w")) == 1
    assert count(lambda: store.mark_retry(ids[3], "w", timedelta(seconds=1), "busy")) == (1 if returns_rows else 2)
    assert count(lambda: store.claim_job("w", ids[3])) == (1 if returns_rows else 2)
    assert count(lambda: store.add_claimed("w", NewJob("test"))) == 2
    assert count(store.seconds_until_due) == 1


def test_an_idle_optimistic_claim_only_reads(using: str) -> None:
    store = OptimisticClaimOutboxStore(using=using)
    (statement,) = statements(using, lambda: store.claim_batch("w"))
    assert statement.lstrip().startswith("SELECT")
    store.add([NewJob("test")])
    assert len(statements(using, lambda: store.claim_batch("w"))) == (3 if using == "mariadb" else 2)


def fill(using: str) -> None:
    """Long history, a backlog, some waiting for later, some held."""
    now = timezone.now()
    done = [OutboxJob(kind="test", status="COMPLETED", completed_at=now) for _ in range(3000)]
    waiting = [OutboxJob(kind="test", priority=n % 3, next_attempt_at=now) for n in range(500)]
    later = [OutboxJob(kind="test", status="RETRY", next_attempt_at=now + timedelta(days=1)) for _ in range(500)]
    held = [OutboxJob(kind="test", status="CLAIMED", lease_expires_at=now - timedelta(hours=n)) for n in range(50)]
    OutboxJob.objects.using(using).bulk_create([*done, *waiting, *later, *held], batch_size=500)
    with connections[using].cursor() as cursor:
        analyze = {"default": "ANALYZE", "postgres": "VACUUM ANALYZE automate_outbox_job"}
        cursor.execute(analyze.get(using, "ANALYZE TABLE automate_outbox_job"))
        if using == "mariadb":
            cursor.fetchall()


def plan(using: str, statement: str) -> str:
    prefix = {"default": "EXPLAIN QUERY PLAN", "postgres": "EXPLAIN (FORMAT JSON)", "mariadb": "EXPLAIN FORMAT=JSON"}
    with connections[using].cursor() as cursor:
        # The captured text holds its values already.
        cursor.execute(f"{prefix[using]} {statement}".replace("%", "%%"), [])
        return json.dumps(cursor.fetchall(), default=str)


SORTS = {"default": "TEMP B-TREE", "postgres": '\\"Sort', "mariadb": "filesort"}


@pytest.mark.parametrize("store_class", [SkipLockedClaimOutboxStore, OptimisticClaimOutboxStore])
def test_claims_walk_the_index_of_live_rows(using: str, store_class: type[DatabaseOutboxStore]) -> None:
    fill(using)
    store = store_class(using=using)
    ran = statements(using, lambda: store.claim_batch("w", 10, kinds=["test"]))
    claims = [text for text in ran if "ORDER BY" in text]
    assert claims
    for statement in claims:
        # An optimistic claim on MariaDB sorts what is due: it locks nothing while it does.
        seen = plan(using, statement)
        if (using, store_class) != ("mariadb", OptimisticClaimOutboxStore):
            assert "automate_outbox_claim" in seen
            assert SORTS[using] not in seen


def test_the_reaper_walks_the_index_of_leases(using: str) -> None:
    fill(using)
    reaper = OutboxReaper(using=using)
    look = statements(using, reaper.reap)[0]
    assert "automate_outbox_lease" in plan(using, look)
    assert OutboxJob.objects.using(using).filter(status="CLAIMED").count() == 0
