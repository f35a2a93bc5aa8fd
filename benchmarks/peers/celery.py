"""Celery over Redis: the solo pool, 32 prefetched. Nothing is transactional with the database, nothing is synced."""

from __future__ import annotations

import os

import probe
from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_REDIS_URL"])
app.conf.update(
    task_default_queue="automate-bench",
    task_ignore_result=True,
    worker_prefetch_multiplier=32,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop(number: int) -> None:
    """Count the call."""
    probe.hit(number)


def setup() -> None:
    """Empty the queue."""
    app.control.purge()


def fill(count: int) -> None:
    """Put in jobs, one by one."""
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            noop.apply_async((-1,), producer=producer)


def put(number: int) -> None:
    """Put in one job."""
    noop.apply_async((number,))


def work(index: str) -> None:
    """Work for ever."""
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]
    app.worker_main(["worker", "-P", "solo", "-n", f"w{index}@bench", *quiet])
