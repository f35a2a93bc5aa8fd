"""SQLite with write-ahead logging and ``synchronous=NORMAL``: one worker, the store alone, and bare sqlite3."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import running
from measuring import figure, median, ratio, say, table
from peers import OURS
from running import Run

from parts.claims import call
from parts.processing import spread

JOBS = 60_000
BATCH = 100
_CLAIM = (
    "UPDATE job SET status = 1, attempts = attempts + 1, lease_owner = 'w', lease_expires_at = ? "
    "WHERE id IN (SELECT id FROM job WHERE status = 0 ORDER BY id LIMIT ?) RETURNING id, payload"
)
_COMPLETE = "UPDATE job SET status = 2, lease_owner = NULL WHERE id = ? AND lease_owner = 'w' AND status = 1"


def measure(run: Run) -> dict[str, Any]:
    """Measure all three in every round.

    Args:
        run: The run.
    """
    ways: dict[str, Callable[[Run, Path], float]] = {"sqlite3": _raw, "store": _store, "worker": _worker}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(run.rounds):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as folder:
                rates[name].append(way(run, Path(folder) / "bench.sqlite3"))
            say(f"  {name}: {figure(rates[name][-1])}/s")
    return {
        name: {"rates": values, "rate": median(values), "to_raw": ratio(values, rates["sqlite3"])}
        for name, values in rates.items()
    }


def _raw(run: Run, path: Path) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(
        "CREATE TABLE job (id INTEGER PRIMARY KEY, status INTEGER NOT NULL DEFAULT 0, payload TEXT NOT NULL, "
        "attempts INTEGER NOT NULL DEFAULT 0, lease_owner TEXT, lease_expires_at REAL)"
    )
    connection.execute("CREATE INDEX job_due ON job (id) WHERE status = 0")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO job (payload) VALUES (?)", [('{"i": -1}',)] * run.jobs(JOBS))
    connection.execute("COMMIT")
    started, done = time.perf_counter(), 0
    while True:
        rows = connection.execute(_CLAIM, (time.time() + 30, BATCH)).fetchall()
        if not rows:
            break
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_COMPLETE, [(row[0],) for row in rows])
        connection.execute("COMMIT")
        done += len(rows)
    connection.close()
    return done / (time.perf_counter() - started)


def _store(run: Run, path: Path) -> float:
    running.prepare(OURS, 0, f"sqlite://{path}")
    return float(json.loads(call(running.environment(f"sqlite://{path}"), "loop", run.jobs(JOBS)))["rate"])


def _worker(run: Run, path: Path) -> float:
    jobs = run.jobs(JOBS)
    running.prepare(OURS, jobs, f"sqlite://{path}")
    return running.work_off(run, OURS, 1, jobs, running.environment(f"sqlite://{path}"))["rate"]


def report(figures: dict[str, Any]) -> str:
    """Return the figures as text.

    Args:
        figures: What :func:`measure` returned.
    """
    names = {
        "sqlite3": "bare sqlite3, by 100",
        "store": "the store alone, by 100",
        "worker": "automate_worker, default settings",
    }
    rows = [(text, spread(figures[name]["to_raw"]), figure(figures[name]["rate"])) for name, text in names.items()]
    return table("SQLite (WAL, synchronous=NORMAL)", ("what", "to bare sqlite3", "jobs/s in this run"), rows)
