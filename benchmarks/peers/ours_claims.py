"""Claims through our store: ``python -m peers.ours_claims fill DONE JOBS MORE | claim JOBS | loop JOBS``."""

from __future__ import annotations

import json
import os
import random
import string
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

import django

django.setup()

from automate_core.outbox import NewJob, OutboxItem
from automate_outbox.models import OutboxJob
from automate_outbox.store import DatabaseOutboxStore, get_store
from django.db import connection
from django.utils import timezone
from measuring import median
from project.apps import KIND

BATCH, WORKER = 100, "bench"
_COST = (
    "SELECT calls, total_exec_time, shared_blks_hit + shared_blks_read FROM pg_stat_statements "
    "JOIN pg_database ON oid = dbid WHERE datname = current_database() AND query LIKE '%SKIP LOCKED%' "
    "AND query LIKE '%LIMIT%' ORDER BY calls DESC LIMIT 1"
)


def multiply(job_id: int, count: int) -> None:
    """Copy a row of the outbox within the database.

    Args:
        job_id: The row.
        count: How many copies.
    """
    names = ", ".join(f'"{field.column}"' for field in OutboxJob._meta.concrete_fields if not field.primary_key)
    table = OutboxJob._meta.db_table
    copy = f"INSERT INTO {table} ({names}) SELECT {names} FROM {table}, generate_series(1, %s) WHERE id = %s"
    with connection.cursor() as cursor:
        cursor.execute(copy, [count, job_id])


def fill(history: int, jobs: int, backlog: int, payload: int = 0) -> None:
    """Write completed jobs, jobs to be claimed, and jobs behind these.

    Args:
        history: How many completed ones.
        jobs: How many to be claimed.
        backlog: How many behind them.
        payload: Characters of text in the payload of those to be claimed.
    """
    store = get_store()
    if history:
        (first,) = store.add([NewJob(KIND, {"i": -1})])
        OutboxJob.objects.filter(id=first).update(status="COMPLETED", attempts=1, completed_at=timezone.now())
        multiply(first, history - 1)
    (first,) = store.add([NewJob(KIND, {"i": -1, "text": _text(payload)})])
    multiply(first, jobs - 1)
    if backlog:
        (first,) = store.add([NewJob(KIND, {"i": -1})])
        multiply(first, backlog - 1)


def _text(length: int) -> str:
    """Return text that does not compress to nothing, the same each time."""
    source = random.Random(1)
    return "".join(source.choices(string.ascii_letters, k=length))


def complete(store: DatabaseOutboxStore, items: list[OutboxItem]) -> None:
    """Complete what was claimed.

    Args:
        store: The store.
        items: The items.
    """
    if store.mark_success_many({item.id: item.lease_token for item in items}, WORKER):
        raise RuntimeError("a claim was lost while nobody else claims")


def claim(jobs: int) -> dict[str, Any]:
    """Claim and complete jobs by 100; return what a claim costs in the first and in the last tenth.

    Args:
        jobs: How many.
    """
    store = get_store()
    batches = jobs // BATCH
    tenth = max(2, batches // 10)
    for _ in range(min(5, tenth)):  # plans, caches
        complete(store, store.claim_batch(WORKER, BATCH, kinds=[KIND]))
    start = _cost(store, tenth)
    for _ in range(batches - 2 * tenth - min(5, tenth)):
        complete(store, store.claim_batch(WORKER, BATCH, kinds=[KIND]))
    return {"start": start, "end": _cost(store, tenth)}


def _cost(store: DatabaseOutboxStore, count: int) -> dict[str, float]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_statements_reset()")
    waits = []
    for _ in range(count):
        items, passed = _timed(lambda: store.claim_batch(WORKER, BATCH, kinds=[KIND]))
        if len(items) != BATCH:
            raise RuntimeError(f"a claim of {BATCH} got {len(items)}")
        waits.append(passed * 1000)
        complete(store, items)
    with connection.cursor() as cursor:
        cursor.execute(_COST)
        calls, total, buffers = cursor.fetchone()
    return {"ms": median(waits), "server_ms": total / calls, "buffers": buffers / calls}


def _timed(work: Callable[[], list[OutboxItem]]) -> tuple[list[OutboxItem], float]:
    started = time.perf_counter()
    items = work()
    return items, time.perf_counter() - started


def loop(jobs: int) -> dict[str, Any]:
    """Claim and complete jobs by 100 without a worker, and return the rate.

    Args:
        jobs: How many.
    """
    store = get_store()
    store.add([NewJob(KIND, {"i": -1})] * jobs)
    started, done = time.perf_counter(), 0
    while items := store.claim_batch(WORKER, BATCH, kinds=[KIND]):
        complete(store, items)
        done += len(items)
    return {"rate": done / (time.perf_counter() - started), "count": done}


if __name__ == "__main__":
    command = {"fill": fill, "claim": claim, "loop": loop}[sys.argv[1]]
    sys.stdout.write(json.dumps(command(*map(int, sys.argv[2:]))))
