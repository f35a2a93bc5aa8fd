"""How fast events are emitted: ours and what its peers do in the same place, measured in one run on PostgreSQL.

::

    python benchmarks/emit.py [--quick] [--rounds 7] [--systems automate,raw] [--json FILE] [--gate] [--dsn URL]

It makes its own environment, with the newest release of each peer, and runs its own PostgreSQL server. The systems
take turns, round by round, so that each ratio compares what happened side by side.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import environment

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
def started(server: Any, name: str) -> Iterator[Measured]:
    """Run a system over a new database for the block.

    Args:
        server: The PostgreSQL server.
        name: Its function in emitters.py.

    Raises:
        RuntimeError: If it does not work here.
    """
    from measuring import CACHE

    database = f"bench_emit_{name}"
    server.create(database)
    env = {**os.environ, "BENCH_URL": server.url(database)}
    with (CACHE / "bench.log").open("a") as log:
        command = [sys.executable, str(Path(__file__).with_name("emitters.py")), name]
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


def measure(server: Any, names: Sequence[str], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the rates of each system, for each kind of work.

    Args:
        server: The PostgreSQL server.
        names: The systems.
        rounds: How often each is measured.
    """
    from measuring import say

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


def count(server: Any, name: str, kind: str) -> dict[str, float]:
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


def report(rates: Mapping[str, Mapping[str, Sequence[float]]], counts: Mapping[tuple[str, str], Any]) -> list[str]:
    """Return the tables.

    Args:
        rates: What :func:`measure` returned.
        counts: What :func:`count` returned, by system and kind.
    """
    from measuring import figure, median, ratio, table

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
            costs = counts.get((name, kind), {})
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
    return tables


def targets(rates: Mapping[str, Mapping[str, Sequence[float]]]) -> list[tuple[str, float, float]]:
    """Return each target that could be measured: its name, what was reached, and what shall be.

    Args:
        rates: What :func:`measure` returned.
    """
    from measuring import ratio

    return [
        (f"{kind}, automate to {SYSTEMS[peer][0]}", ratio(rates["automate"][kind], rates[peer][kind])["median"], least)
        for kind, peer, least in TARGETS
        if "automate" in rates and rates.get(peer, {}).get(kind)
    ]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds: whether it works, not how fast")
    parser.add_argument("--rounds", type=int, default=7, help="how often each rate is measured; default: 7")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="only these; default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--gate", action="store_true", help="end with an error where a target is missed")
    parser.add_argument("--dsn", help="URL of a PostgreSQL superuser, to use that server; databases bench_* are made")
    parser.add_argument("--venv", type=Path, help="the environment; default: bench-venv in the cache")
    options = parser.parse_args()
    environment.enter(options.venv)

    from cluster import Server, private_server
    from measuring import figure, machine, save, say, syncs_per_second

    with nullcontext(Server(options.dsn)) if options.dsn else private_server() as server:
        if server is None:
            raise SystemExit("There is no PostgreSQL to measure.")
        rates = measure(server, options.systems.split(","), 2 if options.quick else options.rounds)
        kinds = [(name, kind) for name, found in rates.items() for kind in SIZES if found[kind]]
        counts = {(name, kind): count(server, name, kind) for name, kind in kinds} if server.counts else {}
    for text in report(rates, counts):
        say(text)
    missed = False
    for name, reached, least in targets(rates):
        missed |= reached < least
        say(f"{'met' if reached >= least else 'MISSED'}: {name}: {figure(reached)} (≥ {figure(least)})")
    if options.json:
        costs = {f"{name}, {kind}": cost for (name, kind), cost in counts.items()}
        save(
            options.json, {"machine": machine(), "syncs_per_second": syncs_per_second(), "rates": rates, "costs": costs}
        )
    if missed and options.gate:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
