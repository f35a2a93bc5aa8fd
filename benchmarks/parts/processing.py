"""Jobs that do nothing, worked off by one worker and by two."""

from __future__ import annotations

from typing import Any

import running
from measuring import figure, median, ratio, say, table
from peers import OURS, RAW
from running import Run

WORKERS = (1, 2)


def measure(run: Run) -> dict[str, Any]:
    """Measure every system in every round, in another order each time, between two looks at raw psycopg.

    Args:
        run: The run.
    """
    rates: dict[int, dict[str, list[float]]] = {workers: {} for workers in WORKERS}
    last: dict[int, dict[str, dict[str, float]]] = {workers: {} for workers in WORKERS}
    for number in range(run.rounds):
        first = number * 3 % max(1, len(run.systems))
        order = [RAW, *run.systems[first:], *run.systems[:first], RAW]
        for workers in WORKERS:
            for place, system in enumerate(order):
                result = running.measure(run, system, workers, run.jobs(system.jobs))
                name = f"{system.name} {'after' if place else 'before'}" if system is RAW else system.name
                rates[workers].setdefault(name, []).append(result["rate"])
                last[workers][system.name] = result
                say(f"  round {number + 1}, {workers} worker(s): {system.name} {figure(result['rate'])}/s")
    figures = {str(workers): _figures(rates[workers], last[workers]) for workers in WORKERS}
    one, two = (figures[str(workers)]["systems"] for workers in WORKERS)
    for name, system in two.items():
        system["to_one_worker"] = ratio(system["rates"], one[name]["rates"])
    return figures


def _figures(rates: dict[str, list[float]], last: dict[str, dict[str, float]]) -> dict[str, Any]:
    before, after = rates.pop(f"{RAW.name} before"), rates.pop(f"{RAW.name} after")
    raw = [(one + other) / 2 for one, other in zip(before, after, strict=True)]
    rates = {RAW.name: raw, **rates}
    ours = rates.get(OURS.name, [])
    return {
        "drift": max(before + after) / max(1.0, min(before + after)),
        "systems": {
            name: {
                **{key: value for key, value in last[name].items() if key != "rate"},
                "rates": values,
                "rate": median(values),
                "to_raw": ratio(values, raw),
                "ours_to_it": ratio(ours, values),
            }
            for name, values in rates.items()
        },
    }


def report(figures: dict[str, Any]) -> str:
    """Return the figures as text.

    Args:
        figures: What :func:`measure` returned.
    """
    texts = []
    for workers, measured in figures.items():
        rows = [
            (
                name,
                figure(system["to_raw"]["median"]),
                spread(system["ours_to_it"]),
                figure(system["statements_per_item"]) if "statements_per_item" in system else "no database",
                figure(system["commits_per_item"]) if "commits_per_item" in system else "no database",
                figure(system["rate"]),
            )
            for name, system in fastest_first(measured["systems"])
        ]
        title = f"No-op jobs, {workers} worker{'s' if workers != '1' else ''}"
        columns = ("system", "to raw", "ours to it", "statements per job", "commits per job", "jobs/s in this run")
        drift = f"Raw psycopg, fastest to slowest look: {measured['drift']:.2f}.\n"
        texts.append(table(title, columns, rows) + "\n" + drift)
    return "\n".join(texts)


def fastest_first(systems: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the systems in the order of their rates.

    Args:
        systems: Figures by system.
    """
    return sorted(systems.items(), key=lambda system: -system[1]["rate"])


def spread(given: dict[str, float]) -> str:
    """Return a ratio with its smallest and largest value.

    Args:
        given: What :func:`measuring.ratio` returned.
    """
    if not given["median"]:
        return "-"
    if given["min"] == given["max"]:
        return figure(given["median"])
    return f"{figure(given['median'])} ({figure(given['min'])} to {figure(given['max'])})"
