"""How the rate changes with what has gathered: workflows, waiting jobs, history, and the size of payloads."""

from __future__ import annotations

from typing import Any

import running
from cluster import Server
from measuring import figure, say, table
from peers import OURS
from running import Run

from parts.claims import call

JOBS, FLOWS = 30_000, 3_000
LARGEST_BYTES = 200_000_000  # of all payloads together
REDUCED: dict[str, tuple[int, ...]] = {
    "workflows": (1, 100, 1_000),
    "pending": (1, 10_000, 300_000),
    "history": (0, 10_000, 300_000),
    "payload": (100, 10_000, 250_000),
}
FULL: dict[str, tuple[int, ...]] = {
    "workflows": (1, 10, 100, 1_000, 10_000),
    "pending": (1, 1_000, 10_000, 100_000, 1_000_000),
    "history": (0, 1_000, 10_000, 100_000, 1_000_000),
    "payload": (100, 1_000, 10_000, 100_000, 1_000_000),
}
TITLES = {
    "workflows": "installed workflows",
    "pending": "jobs that wait behind",
    "history": "completed jobs",
    "payload": "bytes of payload",
}


def measure(run: Run) -> dict[str, Any]:
    """Measure our rate at each point of each table.

    Args:
        run: The run.
    """
    server = run.server
    assert server is not None
    figures: dict[str, Any] = {}
    for what, sizes in (FULL if run.full else REDUCED).items():
        figures[what] = []
        for size in sizes if run.scale >= 1 else sizes[:2]:
            more = {"BENCH_FLOW": "1", "BENCH_WORKFLOWS": str(size)} if what == "workflows" else {}
            name, count = _filled(run, server, what, size, more)
            server.settle(name)
            result = running.work_off(run, OURS, 1, count, running.environment(server.url(name), **more))
            server.drop(name)
            figures[what].append({"size": size, "rate": result["rate"]})
            say(f"  {size:,} {TITLES[what]}: {figure(result['rate'])}/s")
    return figures


def _filled(run: Run, server: Server, what: str, size: int, more: dict[str, str]) -> tuple[str, int]:
    """Return the name of a database at one point of a table, and how many items it holds that are due."""
    if more:
        name, count = "bench_growth", run.jobs(FLOWS)
        server.create(name)
        with server.hurried(name):
            running.prepare(OURS, count, server.url(name), **more)
        return name, count
    count = run.jobs(JOBS)
    if what == "payload":
        count = max(100, min(count, LARGEST_BYTES // size))
    name = running.fresh(run, OURS, 0)
    points = {"history": (size, count, 0, 0), "pending": (0, count, size, 0), "payload": (0, count, 0, size)}
    with server.hurried(name):
        call(running.environment(server.url(name)), "fill", *points[what])
    return name, count


def report(figures: dict[str, Any]) -> str:
    """Return the figures as text.

    Args:
        figures: What :func:`measure` returned.
    """
    rows = [
        (TITLES[what], f"{point['size']:,}", figure(point["rate"] / points[0]["rate"]), figure(point["rate"]))
        for what, points in figures.items()
        for point in points
    ]
    columns = ("what grows", "to", "rate, to the smallest", "items/s in this run")
    return table("The cost of growth, PostgreSQL, 1 worker", columns, rows)
