"""How long a job waits before a worker that is idle."""

from __future__ import annotations

import tempfile
from typing import Any

import running
from measuring import figure, say, table
from peers import OURS, RAW, System
from running import Run

SAMPLES = {"NOTIFY": 40, "polling": 15, "blocking pop": 15}  # one that polls takes its time for each


def measure(run: Run) -> dict[str, Any]:
    """Measure every system on PostgreSQL, and ours on SQLite, put in by the worker's own process and by another one.

    Args:
        run: The run.
    """
    figures: dict[str, Any] = {}
    for system in (RAW, *run.systems):
        url = ""
        if system.database:
            assert run.server is not None
            url = run.server.url(running.fresh(run, system, 0))
        else:
            running.prepare(system, 0, url)
        figures[system.name] = {**running.pick_up(system, url, _samples(run, system)), "wakes": system.wakes}
        say(f"  {system.name}: p50 {figure(figures[system.name]['p50_ms'])} ms")
    if OURS in run.systems:
        for where, together in (("another process", False), ("the worker's process", True)):
            with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as folder:
                url = f"sqlite://{folder}/bench.sqlite3"
                running.prepare(OURS, 0, url)
                name = f"{OURS.name}, SQLite, from {where}"
                figures[name] = {**running.pick_up(OURS, url, _samples(run, OURS), together=together), "wakes": "-"}
                say(f"  {name}: p50 {figure(figures[name]['p50_ms'])} ms")
    return figures


def _samples(run: Run, system: System) -> int:
    return SAMPLES[system.wakes] if run.scale >= 1 else 8


def report(figures: dict[str, Any]) -> str:
    """Return the figures as text.

    Args:
        figures: What :func:`measure` returned.
    """
    rows = [
        (name, figure(waits["p50_ms"]), figure(waits["p95_ms"]), waits["samples"], waits["wakes"])
        for name, waits in sorted(figures.items(), key=lambda entry: float(entry[1]["p50_ms"]))
    ]
    return table("Pick-up by an idle worker", ("system", "p50 in ms", "p95 in ms", "samples", "is woken by"), rows)
