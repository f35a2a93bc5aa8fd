"""What the ledger says about times: how soon work is taken up again after a death or an outage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from faults.checker import Facts
from faults.custody import Change, Violation
from faults.site import LEASE, REAPER

if TYPE_CHECKING:
    from faults.storm import Record, Size

__all__ = ["GOALS", "Death", "figures_of", "first_claim_after", "first_claims", "missed", "percentile", "recoveries"]

GOALS = {
    "lost": 0,
    "completed twice": 0,
    "stale writes accepted": 0,
    "shared effects doubled": 0,
    "external effects beyond one per crash": 0,
    "other violations": 0,
    "recovery after SIGKILL, p99": LEASE + REAPER + 2,
    "first claim after an outage, max": 5,
    "first claim after 30 s without server (fast)": 5,
    "first claim after 30 s without server (immediate)": 5,
    "crashes to quarantine, max": 3,
    "SIGTERM to exit, idle, max": 1,
    "growth in MB per 100,000 jobs": 5,
    "threads more": 0,
}
"""By the name of a figure, what it may be at the most; times in seconds."""


def missed(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that are beyond their goals.

    Args:
        figures: Figures by name.
    """
    return {name: value for name, value in figures.items() if name in GOALS and value > GOALS[name]}


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that was killed.

    Args:
        at: When, in seconds since 1970.
        pids: Its processes.
    """

    at: float
    pids: tuple[int, ...]


def first_claim_after(changes: Sequence[Change], moment: float) -> float:
    """Return the seconds from a moment to the next claim; infinite where there is none.

    Args:
        changes: The ledger.
        moment: Seconds since 1970.
    """
    return min(
        (change.at - moment for change in changes if change.claims and change.at >= moment), default=float("inf")
    )


def first_claims(changes: Sequence[Change], outages: Sequence[tuple[float, float]]) -> list[float]:
    """Return for each outage the seconds from its end to the next claim.

    One that the next outage followed before anything could be claimed is a part of that one.

    Args:
        changes: The ledger.
        outages: When the server was away: from, to; one after the other.
    """
    waits = []
    for (_, end), following in pairwise([*outages, (float("inf"), float("inf"))]):
        wait = first_claim_after(changes, end)
        if end + wait <= following[0]:
            waits.append(wait)
    return waits


def recoveries(changes: Sequence[Change], deaths: Sequence[Death]) -> list[float]:
    """Return for each item that a killed worker held the seconds until somebody took it up again.

    A claim that is handed back at once takes nothing up.

    Args:
        changes: The ledger.
        deaths: Who was killed, and when; those during an outage are better left out.
    """
    by_pid = {pid: death for death in deaths for pid in death.pids}
    holders: dict[str, Death] = {}
    taken_up: dict[str, tuple[float, Death]] = {}
    orphaned: dict[str, Death] = {}
    found = []
    for change in (change for change in changes if change.source == "job"):
        if change.claims:
            if (death := orphaned.pop(change.row, None)) is not None:
                taken_up[change.row] = (change.at - death.at, death)
            pid = change.writer.partition("-")[0]
            if pid.isdigit() and int(pid) in by_pid:
                holders[change.row] = by_pid[int(pid)]
        elif change.old == "CLAIMED" and change.new != "CLAIMED":
            holder = holders.pop(change.row, None)
            if (again := taken_up.pop(change.row, None)) is not None:
                if change.attempts < change.old_attempts:
                    orphaned[change.row] = again[1]
                    continue
                found.append(again[0])
            if holder is not None and change.at > holder.at and change.new != "COMPLETED":
                orphaned[change.row] = holder
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile, or 0 of nothing.

    Args:
        values: The values.
        share: Such as 0.99.
    """
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def figures_of(facts: Facts, violations: Sequence[Violation], record: Record, size: Size) -> dict[str, Any]:
    """Return what a storm showed, by the name of each figure; times in seconds.

    Args:
        facts: What was recorded.
        violations: What the checker found.
        record: What was done.
        size: How much of it.
    """
    kinds = Counter(violation.kind for violation in violations)
    settled = [death for death in record.deaths if not _in_outage(death.at, record)]
    times = recoveries(facts.changes, settled)
    deaths = sum(change.crashes > change.old_crashes for change in facts.changes if change.source == "job")
    repeated = sum(count - 1 for count in facts.external.values())
    return {
        "jobs": size.jobs,
        "events emitted a second": size.rate,
        "kills": size.kills,
        "stops": size.stops,
        "cuts": size.cuts,
        "restarts": size.restarts,
        "lost": kinds["lost"] + kinds["effect missing"],
        "completed twice": kinds["completed twice"] + kinds["terminal changed"] + kinds["started twice"],
        "stale writes accepted": kinds["stale write accepted"] + kinds["live lease taken"],
        "shared effects doubled": sum(count > 1 for count in facts.shared.values()),
        "external effects repeated": repeated,
        "external effects repeated, per crash of an item": repeated / deaths if deaths else 0.0,
        "external effects beyond one per crash": kinds["external effect repeated"],
        "other violations": len(violations) - sum(kinds[kind] for kind in _COUNTED),
        "innocent items quarantined": _innocent(facts),
        "recovery after SIGKILL, p50": percentile(times, 0.5),
        "recovery after SIGKILL, p99": percentile(times, 0.99),
        "recovery after SIGKILL, max": max(times, default=0.0),
        "first claim after an outage, max": max(first_claims(facts.changes, record.outages), default=0.0),
        "crashes to quarantine, max": max((job.crashes for job in facts.jobs.values()), default=0),
        "SIGTERM to exit, idle, max": max(record.terms, default=0.0),
        "seconds": record.seconds,
    }


_COUNTED = (
    "lost",
    "effect missing",
    "completed twice",
    "terminal changed",
    "started twice",
    "stale write accepted",
    "live lease taken",
    "shared effect doubled",
    "external effect repeated",
)


def _in_outage(moment: float, record: Record) -> bool:
    """Whether a death was during an outage, or so shortly before one that the outage delayed what follows."""
    return any(begin - 10 <= moment <= end for begin, end in record.outages)


def _innocent(facts: Facts) -> int:
    """Return how many items are dead that did nothing but be in hand when workers were killed."""
    dead = [run for run in facts.runs.values() if run.code == "crashed"]
    workflows = [facts.executions[run.execution].workflow for run in dead if run.execution in facts.executions]
    events = sum(job.status == "FAILED" and bool(job.event) for job in facts.jobs.values())
    return events + sum(workflow != "poison" for workflow in workflows)
