"""procrastinate: asynchronous tasks, 20 at a time."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import probe
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

URL = os.environ["BENCH_URL"]
_app = App(connector=SyncPsycopgConnector(conninfo=URL))


def _task(app: App) -> Any:
    async def noop(i: int) -> None:
        probe.hit(i)

    return app.task(name="noop", queue="bench")(noop)


_noop = _task(_app)
_opened: list[App] = []


def setup() -> None:
    """Make the tables."""
    with _app.open():
        _app.schema_manager.apply_schema()


def fill(count: int) -> None:
    """Put in jobs, all at once."""
    with _app.open():
        _noop.batch_defer(*[{"i": -1}] * count)


def put(number: int) -> None:
    """Put in one job."""
    if not _opened:
        _opened.append(_app.open())
    _noop.defer(i=number)


async def _work() -> None:
    app = App(connector=PsycopgConnector(conninfo=URL, min_size=4, max_size=10))
    _task(app)
    async with app.open_async():
        await app.run_worker_async(queues=["bench"], concurrency=20)


def work(index: str) -> None:
    """Work for ever."""
    asyncio.run(_work())
