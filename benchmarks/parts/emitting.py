"""How fast events are emitted: ours and what its peers do in the same place, each in a process of its own.

The systems take turns, round by round, so that each ratio compares what happened side by side.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import running
from cluster import Server
from measuring import CACHE, figure, median, ratio, say, table
from running import Run

SYSTEMS = {
    "raw": ("raw INSERT", "psycopg"),
    "raw_notify": ("raw INSERT with NOTIFY", "psycopg"),
    "raw_rows": ("raw INSERT of as many rows", "psycopg"),
    "automate": ("automate", "django-automate"),
    "automate_prepared": ("automate, prepared statements", "django-automate"),
    "django_q2": ("django-q2", "django-q2"),
    "django_tasks_db": ("django-tasks-db", "django-tasks-db"),
    "procrastinate": ("procrastinate, Django's connection", "procrastinate"),
    "pgqueuer": ("pgqueuer", "pgqueuer"),
}
"""Functions of emitters.py, with the names and the distributions of what they measure.

An event of ours is two rows, the event and its item; ``raw_rows`` writes two for each.
"""

SIZES = {"single": 300, "bulk": 1000}
BULKS = 3
TARGETS = (
    ("single", "raw_notify", 0.5),
    ("single", "django_q2", 1.0),
    ("single", "django_tasks_db", 1.0),
    ("single", "procrastinate", 1.0),
    ("bulk", "raw_rows", 0.3),
)
"""How many times as fast as whom, at the least."""


@dataclass
class Measured:
    """What was measured of one system.

    Args:
        process: It.
        has_bulk: Whether it can put in many at once.
        rates: Jobs a second, for each kind of work, one for each round.
    """

    process: subprocess.Popen[str]
    has_bulk: bool
    rates: dict[str, list[float]] = field(default_factory=lambda: {"single": [], "bulk": []})

    def run(self, kind: str, count: int) -> float:
        """Let it put in some jobs.

        Args:
            kind: ``single`` or ``bulk``.
            count: How many.

        Returns:
            Jobs a second.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{kind} {count}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("it ended")
        return count / float(answer)


@contextmanager
def started(server: Server, name: str) -> Iterator[Measured]:
    """Run a system over a new database for the block.

    Args:
        server: The PostgreSQL server.
        name: Its function in emitters.py.

    Raises:
        RuntimeError: If it does not work here.
    """
    database = f"bench_emit_{name}"
    server.create(database)
    env = {**os.environ, "BENCH_URL": server.url(database)}
    with (CACHE / "bench.log").open("a") as log:
        command = [sys.executable, str(running.HERE / "emitters.py"), name]
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise RuntimeError(f"it does not start; see {CACHE / 'bench.log'}")
        yield Measured(process, has_bulk="single" not in words)
    finally:
        process.communicate()
        server.drop(database)


def missing(name: str) -> str:
    """Return why a system cannot be measured; empty where it can.

    Args:
        name: Its function in emitters.py.
    """
    try:
        version(SYSTEMS[name][1])
    except PackageNotFoundError:
        return f"{SYSTEMS[name][1]} is not installed"
    return ""


def _rates(server: Server, names: Sequence[str], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the rates of each system, for each kind of work.

    Args:
        server: The PostgreSQL server.
        names: The systems.
        rounds: How often each is measured.
    """
    systems: dict[str, Measured] = {}
    with ExitStack() as stack:
        for name in names:
            problem = missing(name)
            try:
                if not problem:
                    systems[name] = stack.enter_context(started(server, name))
            except RuntimeError as error:
                problem = str(error)
            if problem:
                say(f"SKIPPED: {SYSTEMS[name][0]}: {problem}")
        for round_number in range(rounds + 1):
            for system in systems.values():
                for kind, count in SIZES.items():
                    if kind == "bulk" and not system.has_bulk:
                        continue
                    repeated = [system.run(kind, count) for _ in range(BULKS if kind == "bulk" else 1)]
                    if round_number:  # the first one only warms up
                        system.rates[kind].append(max(repeated))
    return {name: system.rates for name, system in systems.items()}


def _cost(server: Server, name: str, kind: str) -> dict[str, float]:
    """Return what one job costs in statements and commits.

    Args:
        server: The PostgreSQL server.
        name: The system.
        kind: ``single`` or ``bulk``.
    """
    database, items = f"bench_emit_{name}", SIZES[kind]
    with started(server, name) as system:
        system.run(kind, items)
        time.sleep(1.1)  # a session tells of its commits once a second
        system.run(kind, items)
        before = server.reset(database)
        system.run(kind, items)
        statements = server.statements(database)
        system.process.communicate()  # what it committed is told when it ends
        counted: dict[str, float] = server.since(database, before, statements).per(items)
        return counted


def measure(run: Run) -> dict[str, Any]:
    """Measure ours, its peers and raw INSERTs.

    Args:
        run: The run.
    """
    server = run.server
    assert server is not None
    rates = _rates(server, list(SYSTEMS), 2 * run.rounds + 1)
    kinds = [(name, kind) for name, found in rates.items() for kind in SIZES if found[kind]] if server.counts else []
    return {"rates": rates, "costs": {f"{name} {kind}": _cost(server, name, kind) for name, kind in kinds}}


def report(figures: Mapping[str, Any]) -> str:
    """Return the figures as text.

    Args:
        figures: What :func:`measure` returned.
    """
    rates: Mapping[str, Mapping[str, Sequence[float]]] = figures["rates"]
    tables = []
    for kind, size in SIZES.items():
        of = f"Emitting {size:,} at once" if kind == "bulk" else "Emitting one, in its own transaction"
        rows = []
        for name, kinds in rates.items():
            if not kinds[kind]:
                continue
            to_raw = [
                figure(ratio(kinds[kind], rates[raw][kind])["median"]) if rates.get(raw, {}).get(kind) else "-"
                for raw in ("raw", "raw_notify", "raw_rows")
            ]
            ours = ratio(rates["automate"][kind], kinds[kind])["median"] if "automate" in rates else 0.0
            costs = figures["costs"].get(f"{name} {kind}", {})
            cost = [figure(costs[key]) if key in costs else "-" for key in ("statements_per_item", "commits_per_item")]
            rows.append([SYSTEMS[name][0], figure(median(kinds[kind])), *to_raw, figure(ours), *cost])
        columns = [
            "system",
            "per second",
            "to raw",
            "to raw with NOTIFY",
            "to raw, 2 rows",
            "automate to it",
            "statements",
            "commits",
        ]
        tables.append(table(of, columns, rows))
    return "\n".join(tables)


def reached(figures: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Return each target that could be measured: its name, what was reached, and what shall be.

    Args:
        figures: What :func:`measure` returned.
    """
    rates = figures["rates"]
    return [
        (f"emitting, {kind}, to {SYSTEMS[peer][0]}", ratio(rates["automate"][kind], rates[peer][kind])["median"], least)
        for kind, peer, least in TARGETS
        if "automate" in rates and rates.get(peer, {}).get(kind)
    ]
