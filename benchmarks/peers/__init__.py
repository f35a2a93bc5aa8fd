"""The systems that are measured, each in a module of its own, with the one setting that was chosen for it.

A module has ``setup()``, ``fill(count)``, ``put(number)`` and ``work(index)``. It finds its database in BENCH_URL and,
where BENCH_FLOW is set, runs workflows of three steps instead of bare jobs. ``python -m peers NAME COMMAND`` calls it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

__all__ = ["SYSTEMS", "System", "missing"]


@dataclass(frozen=True)
class System:
    """One system.

    Args:
        name: What it is called in the figures.
        module: The module of this package that runs it.
        distribution: What has to be installed.
        jobs: Jobs of one measurement, enough for about three seconds.
        setting: How it is set.
        wakes: How an idle worker learns of a new job.
        flows: Workflows of one measurement; 0 where it has none.
        database: Whether its jobs lie in PostgreSQL.
    """

    name: str
    module: str
    distribution: str
    jobs: int
    setting: str
    wakes: str
    flows: int = 0
    database: bool = True


RAW = System("raw psycopg", "raw", "psycopg", 60_000, "batch of 100, one pipelined transaction", "NOTIFY", flows=30_000)
OURS = System("automate", "ours", "django-automate", 60_000, "defaults", "NOTIFY", flows=8_000)
SYSTEMS = (
    OURS,
    System("pgqueuer", "pgqueuer", "pgqueuer", 40_000, "batch_size 100, asyncpg, uvloop", "NOTIFY"),
    System("procrastinate", "procrastinate", "procrastinate", 2_000, "asynchronous, concurrency 20", "NOTIFY"),
    System("DBOS", "dbos", "dbos", 3_500, "worker_concurrency 100, polls every 0.1 s", "polling", flows=600),
    System("absurd", "absurd", "absurd-sdk", 3_500, "batch_size 50", "polling", flows=1_000),
    System(
        "django-q2", "django_q2", "django-q2", 4_000, "ORM broker, 2 workers, bulk 50, polls every 0.05 s", "polling"
    ),
    System("django-tasks-db", "django_tasks_db", "django-tasks-db", 1_500, "interval 1 s", "polling"),
    System(
        "celery",
        "celery",
        "celery",
        6_000,
        "Redis, solo, prefetch 32; not transactional",
        "blocking pop",
        database=False,
    ),
)


def missing(system: System) -> str:
    """Return why a system cannot be measured here; empty where it can.

    Args:
        system: The system.
    """
    import os
    import socket
    from urllib.parse import urlsplit

    try:
        version(system.distribution)
    except PackageNotFoundError:
        return f"{system.distribution} is not installed"
    if system.module == "absurd" and not os.environ.get("ABSURD_SQL"):
        return "ABSURD_SQL does not name its absurd.sql, which its distribution lacks"
    if not system.database:
        broker = urlsplit(os.environ["BENCH_REDIS_URL"])
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((broker.hostname or "127.0.0.1", broker.port or 6379)):
                return "Redis does not answer"
    return ""
