"""Workflows of three steps, from what starts them to the end, by one worker."""

from __future__ import annotations

from typing import Any

import running
from measuring import figure, median, ratio, say, table
from peers import OURS, RAW
from running import Run

from parts.processing import fastest_first, spread


def measure(run: Run) -> dict[str, Any]:
    """Measure every system that has workflows. Ours begin with an event about which a rule decides.

    Args:
        run: The run.
    """
    systems = [system for system in (RAW, *run.systems) if system.flows]
    rates: dict[str, list[float]] = {}
    last = {}
    for number in range(run.rounds):
        for system in systems:
            result = running.measure(run, system, 1, run.jobs(system.flows), BENCH_FLOW="1")
            rates.setdefault(system.name, []).append(result["rate"])
            last[system.name] = result
            say(f"  round {number + 1}: {system.name} {figure(result['rate'])}/s")
    return {
        name: {
            **last[name],
            "rates": values,
            "rate": median(values),
            "to_raw": ratio(values, rates[RAW.name]),
            "ours_to_it": ratio(rates.get(OURS.name, []), values),
        }
        for name, values in rates.items()
    }


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
    return table("Workflows of three steps, 1 worker", columns, rows)
