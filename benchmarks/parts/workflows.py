"""Workflows of three steps, from what starts them to the end, by one worker and by two."""

from __future__ import annotations

from itertools import product
from typing import Any

import running
from measuring import figure, median, ratio, say, table
from peers import OURS, RAW
from running import Run

from parts.processing import WORKERS, fastest_first, spread


def measure(run: Run) -> dict[str, Any]:
    """Measure every system that has workflows. Ours begin with an event about which a rule decides.

    Args:
        run: The run.
    """
    systems = [system for system in (RAW, *run.systems) if system.flows]
    rates: dict[str, list[float]] = {}
    last = {}
    for number in range(run.rounds):
        for workers, system in product(WORKERS, systems):
            result = running.measure(run, system, workers, run.jobs(system.flows), BENCH_FLOW="1")
            name = named(system.name, workers)
            rates.setdefault(name, []).append(result["rate"])
            last[name] = result
            say(f"  round {number + 1}: {name} {figure(result['rate'])}/s")
    return {
        name: {
            **last[name],
            "rates": values,
            "rate": median(values),
            "to_raw": ratio(values, rates[named(RAW.name, workers)]),
            "ours_to_it": ratio(rates.get(named(OURS.name, workers), []), values),
        }
        for workers, system in product(WORKERS, systems)
        for name in [named(system.name, workers)]
        for values in [rates[name]]
    }


def named(system: str, workers: int) -> str:
    """Return the name of a row.

    Args:
        system: The name of the system.
        workers: How many work.
    """
    return system if workers == 1 else f"{system}, {workers} workers"


def report(figures: dict[str, Any]) -> str:
    """Return the figures as text.

    Args:
        figures: What :func:`measure` returned.
    """
    rows = [
        (
            name,
            figure(system["to_raw"]["median"]),
            spread(system["ours_to_it"]),
            figure(system["statements_per_item"]),
            figure(system["commits_per_item"]),
            figure(system["rate"]),
        )
        for name, system in fastest_first(figures)
    ]
    columns = ("system", "to raw", "ours to it", "statements", "commits per workflow", "workflows/s in this run")
    return table("Workflows of three steps, 1 and 2 workers", columns, rows)
