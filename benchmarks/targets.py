"""What the figures shall be. All but two are ratios within one run, or counts: neither depends on the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bounds import Target
from parts import emitting
from peers import OURS

_FASTER_THAN = {"pgqueuer": 1, "django-q2": 5, "DBOS": 5, "celery": 5, "procrastinate": 20}


def _processing(figures: Mapping[str, Any]) -> Iterator[Target]:
    systems = figures["1"]["systems"]
    ours = systems[OURS.name]
    for name, least in _FASTER_THAN.items():
        if name in systems:
            yield Target(f"jobs, 1 worker, to {name}", systems[name]["ours_to_it"]["median"], least=least)
    yield Target("jobs, 2 workers to 1", figures["2"]["systems"][OURS.name]["to_one_worker"]["median"], least=1.2)
    yield Target("statements per job", ours["statements_per_item"], most=0.05)
    yield Target("commits per job", ours["commits_per_item"], most=0.03)


def _latency(figures: Mapping[str, Any]) -> Iterator[Target]:
    yield Target("pick-up on PostgreSQL, p50 in ms", figures[OURS.name]["p50_ms"], most=5)
    yield Target("pick-up on PostgreSQL, p95 in ms", figures[OURS.name]["p95_ms"], most=15)
    embedded = figures[f"{OURS.name}, SQLite, from the worker's process"]
    yield Target("pick-up on SQLite, p50 in ms", embedded["p50_ms"], most=10)


def _workflows(figures: Mapping[str, Any]) -> Iterator[Target]:
    if "DBOS" in figures:
        for name in ("DBOS", "DBOS, 2 workers"):
            yield Target(f"workflows of three steps, to {name}", figures[name]["ours_to_it"]["median"], least=20)
    yield Target("commits per workflow", figures[OURS.name]["commits_per_item"], most=0.5)


def _emitting(figures: Mapping[str, Any]) -> Iterator[Target]:
    for name, value, least in emitting.reached(figures):
        yield Target(name, value, least=least)


def _claims(figures: Mapping[str, Any]) -> Iterator[Target]:
    empty, large, snapshot = figures["empty"], figures["large"], figures["snapshot"]
    grown = large["start"]["ms"] / empty["start"]["ms"]
    yield Target(f"claim beside {large['history']:,} done and as many pending, to empty", grown, most=1.5)
    aged = snapshot["end"]["ms"] / snapshot["start"]["ms"]
    yield Target(f"claim after {snapshot['jobs']:,} jobs before an old snapshot, to the start", aged, most=2)


def _sqlite(figures: Mapping[str, Any]) -> Iterator[Target]:
    yield Target("jobs/s on SQLite, 1 worker", figures["worker"]["rate"], least=10_000)


_OF_PART = {
    "processing": _processing,
    "latency": _latency,
    "workflows": _workflows,
    "emitting": _emitting,
    "claims": _claims,
    "sqlite": _sqlite,
}


def targets(parts: Mapping[str, Any]) -> list[Target]:
    """Return the targets of the parts that were measured with us among the systems.

    Args:
        parts: Figures by part.
    """
    found: list[Target] = []
    for name, of_part in _OF_PART.items():
        measured = parts.get(name)
        if not measured:
            continue
        systems = measured["1"]["systems"] if name == "processing" else measured
        if OURS.name in systems or name in ("emitting", "claims", "sqlite"):
            found += of_part(measured)
    return found
