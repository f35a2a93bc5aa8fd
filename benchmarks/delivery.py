"""How fast the outbox delivers: ours and its peers, measured in one run.

::

    python benchmarks/delivery.py [PART …] [--quick | --full] [--json FILE] [--write-docs] [--gate]

It makes its own environment and runs its own PostgreSQL server, durable as PostgreSQL is by default. Compare ratios,
statements and commits, within one run; rates of two runs tell about the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import traceback
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import environment

OF_OURS = ("emitting", "claims", "sqlite", "growth")
PARTS = ("processing", "latency", "workflows", *OF_OURS)


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=f"any of {', '.join(PARTS)}")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="few jobs, one round: whether it works, not how fast")
    size.add_argument("--full", action="store_true", help="the tables of growth up to 10,000 workflows and 1 M rows")
    parser.add_argument("--rounds", type=int, help="how often each rate is measured; default: 3")
    parser.add_argument("--systems", help="only these, by module name, such as ours,pgqueuer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing; report what --json wrote")
    parser.add_argument("--write-docs", action="store_true", help="write figures and charts into the documentation")
    parser.add_argument("--gate", action="store_true", help="end with an error where a target is missed")
    parser.add_argument("--dsn", help="URL of a PostgreSQL superuser, to use that server; databases bench_* are made")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/15", help="for celery; default: %(default)s")
    parser.add_argument("--venv", type=Path, help="the environment; default: bench-venv in the cache")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the chosen parts.

    Args:
        options: The options.
    """
    from cluster import Server, private_server
    from measuring import machine, say, syncs_per_second
    from page import PARTS as MODULES
    from peers import OURS
    from running import Run

    os.environ["BENCH_REDIS_URL"] = options.redis
    with nullcontext(Server(options.dsn)) if options.dsn else private_server() as server:
        run = Run(
            server=server,
            window=1.0 if options.quick else 2.0,
            rounds=options.rounds or (1 if options.quick else 3),
            scale=0.02 if options.quick else 1.0,
            full=options.full,
            systems=[],
        )
        result: dict[str, Any] = {"machine": machine(), "syncs_per_second": [syncs_per_second()], "failed": []}
        run.systems = usable(run, options.systems.split(",") if options.systems else [])
        result["versions"] = {"PostgreSQL": server.version if server else "-"}
        result["versions"] |= {system.name: version(system.distribution) for system in run.systems}
        result["versions"]["Django"] = version("django")
        result["parts"] = {}
        started = time.monotonic()
        try:
            for name in options.parts or PARTS:
                if server is None and name != "sqlite":
                    say(f"SKIPPED: {name}: there is no PostgreSQL")
                    continue
                if name in OF_OURS and OURS not in run.systems:
                    say(f"SKIPPED: {name}: {OURS.name} is not among the systems")
                    continue
                say(f"{name} ({time.monotonic() - started:.0f} s)")
                try:
                    result["parts"][name] = MODULES[name].measure(run)
                except Exception:  # noqa: BLE001 - the other parts are still worth their time
                    say(f"FAILED: {name}\n{traceback.format_exc()}")
                    result["failed"].append(name)
        finally:
            run.clear()
        say(f"measured in {time.monotonic() - started:.0f} s")
        result["syncs_per_second"].append(syncs_per_second())
    return result


def usable(run: Any, wanted: list[str]) -> list[Any]:
    """Return the systems that work here, found by letting each handle a few jobs.

    Args:
        run: The run.
        wanted: Only these modules; empty means all.
    """
    import running
    from measuring import say
    from peers import OURS, SYSTEMS, missing

    found = []
    for system in SYSTEMS:
        if wanted and system.module not in wanted:
            continue
        problem = missing(system) or ("there is no PostgreSQL" if system.database and run.server is None else "")
        if not problem:
            try:
                running.measure(run, system, 1, 50)
            except Exception as error:
                if system is OURS:
                    raise
                problem = str(error)  # whatever is wrong with a peer, the others are measured
        if problem:
            say(f"SKIPPED: {system.name}: {problem}")
        else:
            found.append(system)
    return found


def main() -> int:
    """Measure and report.

    Returns:
        The exit status.
    """
    options = parse()
    environment.enter(options.venv)
    import page
    import targets
    from measuring import ROOT, save, say

    result = json.loads(options.read.read_text()) if options.read else measure(options)
    if options.json:
        save(options.json, result)
    say(page.report(result))
    if options.write_docs:
        for file in page.write(result):
            say(f"wrote {file.relative_to(ROOT)}")
    missed = [target for target in targets.targets(result["parts"]) if not target.is_met]
    return int(bool(result["failed"]) or (options.gate and bool(missed)))


if __name__ == "__main__":
    raise SystemExit(main())
