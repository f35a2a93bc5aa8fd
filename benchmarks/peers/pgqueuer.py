"""pgqueuer: batches of 100, asyncpg, uvloop."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta

import asyncpg
import probe
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

URL = os.environ["BENCH_URL"]
_loop = asyncio.new_event_loop()
_queries: list[Queries] = []


async def _connected() -> Queries:
    if not _queries:
        _queries.append(Queries(AsyncpgDriver(await asyncpg.connect(URL))))
    return _queries[0]


async def _setup() -> None:
    await (await _connected()).install()


async def _fill(count: int) -> None:
    await (await _connected()).enqueue(["noop"] * count, [b"-1"] * count, [0] * count)


async def _put(number: int) -> None:
    await (await _connected()).enqueue("noop", str(number).encode())


def setup() -> None:
    """Make the tables."""
    _loop.run_until_complete(_setup())


def fill(count: int) -> None:
    """Put in jobs, all at once."""
    _loop.run_until_complete(_fill(count))


def put(number: int) -> None:
    """Put in one job."""
    _loop.run_until_complete(_put(number))


async def _work() -> None:
    queuer = PgQueuer(AsyncpgDriver(await asyncpg.connect(URL)))

    @queuer.entrypoint("noop")
    async def noop(job):  # noqa: ANN001, ANN202 - it looks at the names, and takes no annotations that are text
        probe.hit(int(job.payload))

    await queuer.run(batch_size=100, dequeue_timeout=timedelta(seconds=30))


def work(index: str) -> None:
    """Work for ever."""
    uvloop.run(_work())
