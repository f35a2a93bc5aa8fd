"""DBOS: a workflow without steps as a job, a workflow of three steps as a workflow; 100 at a time."""

from __future__ import annotations

import os
import time

import probe
from dbos import DBOS, DBOSClient, DBOSConfig

URL = os.environ["BENCH_URL"].replace("postgresql://", "postgresql+psycopg://")
WORKFLOW = "three" if "BENCH_FLOW" in os.environ else "bare"
_clients: list[DBOSClient] = []


def _config() -> DBOSConfig:
    return DBOSConfig(
        name="bench", system_database_url=URL, application_version="v1", log_level="ERROR", sys_db_pool_size=30
    )


def setup() -> None:
    """Make the tables and the queue."""
    DBOS(config=_config())
    DBOS.launch()
    DBOS.register_queue("bench", polling_interval_sec=0.1)
    DBOS.destroy()


def fill(count: int) -> None:
    """Put in jobs, one by one: it has no other way."""
    for _ in range(count):
        put(-1)
    while _clients:
        _clients.pop().destroy()


def put(number: int) -> None:
    """Put in one job."""
    if not _clients:
        _clients.append(DBOSClient(system_database_url=URL))
    _clients[0].enqueue({"queue_name": "bench", "workflow_name": WORKFLOW, "app_version": "v1"}, number)


def work(index: str) -> None:
    """Work for ever."""
    os.environ["DBOS__VMID"] = f"w{index}"
    DBOS(config=_config())

    @DBOS.step(name="one")
    def one() -> int:
        return 1

    @DBOS.step(name="two")
    def two() -> int:
        return 2

    @DBOS.step(name="last")
    def last() -> int:
        return 3

    @DBOS.workflow(name="three")
    def three(number: int) -> int:
        total = one() + two() + last()
        probe.hit(number)
        return total

    @DBOS.workflow(name="bare")
    def bare(number: int) -> int:
        probe.hit(number)
        return 0

    DBOS.launch()
    DBOS.register_queue("bench", worker_concurrency=100, polling_interval_sec=0.1)
    while True:
        time.sleep(1)
