"""absurd: batches of 50. ABSURD_SQL names its schema, which its distribution lacks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import probe
import psycopg
from absurd_sdk import Absurd

URL = os.environ["BENCH_URL"]
TASK = "three" if "BENCH_FLOW" in os.environ else "bare"
_made: list[Absurd] = []


def _absurd() -> Absurd:
    if not _made:
        absurd = Absurd(URL, queue_name="bench")

        def bare(params: Any, context: Any) -> int:
            probe.hit(params["i"])
            return 0

        def three(params: Any, context: Any) -> int:
            total = sum(context.step(name, lambda: 1) for name in ("one", "two", "last"))
            probe.hit(params["i"])
            return int(total)

        absurd.register_task(name="bare")(bare)
        absurd.register_task(name="three")(three)
        _made.append(absurd)
    return _made[0]


def setup() -> None:
    """Make the tables and the queue."""
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(Path(os.environ["ABSURD_SQL"]).read_bytes())
    _absurd().create_queue("bench")


def fill(count: int) -> None:
    """Put in jobs, one by one."""
    for _ in range(count):
        put(-1)


def put(number: int) -> None:
    """Put in one job."""
    _absurd().spawn(TASK, {"i": number})


def work(index: str) -> None:
    """Work for ever."""
    _absurd().start_worker(concurrency=1, batch_size=50)
