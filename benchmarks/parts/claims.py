"""What one claim costs: beside an empty table, beside millions of rows, and before an old snapshot."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

import running
from measuring import figure, say, table
from peers import OURS
from running import Run

BASE = 15_000
LARGE = 1_000_000
FLOW = 100_000


def measure(run: Run) -> dict[str, Any]:
    """Measure claims of 100 through the store of the package.

    Args:
        run: The run.
    """
    base, large, flow = max(3_000, run.jobs(BASE)), run.jobs(LARGE), max(3_000, run.jobs(FLOW))
    figures = {}
    for name, history, backlog in (("empty", 0, 0), ("large", large, large)):
        figures[name] = {"history": history, "backlog": backlog, **_claims(run, base, history, backlog)}
        say(f"  {history:,} done and {backlog:,} pending: {figure(figures[name]['start']['ms'])} ms per claim")
    figures["snapshot"] = {"jobs": flow, **_claims(run, flow, 0, 0, snapshot=True)}
    say(f"  with an old snapshot: {figure(figures['snapshot']['end']['ms'])} ms per claim at the end")
    return figures


def _claims(run: Run, jobs: int, history: int, backlog: int, *, snapshot: bool = False) -> dict[str, Any]:
    """Make a database, and have all jobs claimed and completed by 100 in a process that may import Django."""
    server = run.server
    assert server is not None
    name = running.fresh(run, OURS, 0)
    env = running.environment(server.url(name))
    with server.hurried(name):
        call(env, "fill", history, jobs, backlog)
    server.settle(name)
    with server.connect(name) as old:
        if snapshot:
            old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            old.execute("SELECT count(*) FROM automate_outbox_job")
        result: dict[str, Any] = json.loads(call(env, "claim", jobs))
    server.drop(name)
    return result


def call(env: dict[str, str], *arguments: object) -> str:
    """Run a command of ``peers.ours_claims`` and return what it printed.

    Args:
        env: Its environment.
        *arguments: The command and its arguments.
    """
    command = [sys.executable, "-m", "peers.ours_claims", *map(str, arguments)]
    done = subprocess.run(command, env=env, cwd=tempfile.gettempdir(), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"claims could not be measured:\n{done.stderr[-2000:]}")
    return done.stdout


def report(figures: dict[str, Any]) -> str:
    """Return the figures as text.

    Args:
        figures: What :func:`measure` returned.
    """
    empty, large, snapshot = figures["empty"], figures["large"], figures["snapshot"]
    cases = (
        ("nothing else in the table", empty["start"], empty["start"]),
        (f"{large['history']:,} done and {large['backlog']:,} pending", large["start"], empty["start"]),
        ("an old snapshot is held: the first jobs", snapshot["start"], snapshot["start"]),
        (f"the same after {snapshot['jobs']:,} jobs", snapshot["end"], snapshot["start"]),
    )
    rows = [
        (name, figure(cost["ms"]), figure(cost["ms"] / base["ms"]), figure(cost["server_ms"]), figure(cost["buffers"]))
        for name, cost, base in cases
    ]
    columns = ("beside", "ms per claim (median)", "ratio", "ms in the server (mean)", "buffers per claim")
    return table("A claim of 100", columns, rows)
