"""The figures about redaction as text: tables, targets, and the page of the documentation that has them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import bounds
from bounds import Target
from measuring import ROOT, figure, insert, median, ratio, table
from redaction import KILOBYTES, MATCHER, NAIVE, OURS, SECRETS

PAGE = ROOT / "docs" / "explanation" / "redaction.md"
BEGIN = "<!-- figures of benchmarks/redaction.py -->"


def versions() -> dict[str, str]:
    """Return the versions of what is compared, by distribution; those that are missing are left out."""
    found = {}
    for name in ("automate-core", "pyahocorasick", "ahocorasick-rs"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _named(kilobytes: int, count: int) -> str:
    return f"{kilobytes} KB, {count:,} secrets"


def targets(result: Mapping[str, Any]) -> list[Target]:
    """Return the targets.

    Args:
        result: The run.
    """
    series = result["series"]
    few, many = SECRETS
    found = []
    for kilobytes in KILOBYTES:
        mine, less = series[_named(kilobytes, many)], series[_named(kilobytes, few)]
        grown = ratio(mine[OURS], less[OURS])["median"]
        found.append(Target(f"{kilobytes} KB: {many:,} secrets, to {few}", grown, most=1.5))
        faster = ratio(mine[NAIVE], mine[OURS])["median"]
        found.append(Target(f"{kilobytes} KB, {many:,} secrets: times as fast as {NAIVE}", faster, least=10))
    small, large = KILOBYTES
    per_byte = ratio(series[_named(large, many)][OURS], series[_named(small, many)][OURS])["median"] * small / large
    found.append(Target(f"{many:,} secrets: a KB of {large:,}, to a KB of {small}", per_byte, most=1.5))
    return found


def report(result: Mapping[str, Any]) -> str:
    """Return everything that was measured, as Markdown.

    Args:
        result: The run.
    """
    where = result["machine"]
    compared = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    machine = (
        f"{where['date']}: {where['cores']} cores ({where['cpu']}), {where['memory_gb']} GB, {where['system']}, "
        f"Python {where['python']}. {compared}. Medians of {result['rounds']} rounds, CPU time of one thread.\n"
    )
    names = list(next(iter(result["series"].values())))
    rows = [
        (what, *(f"{figure(median(times[name]) * 1e3)} ms, {_to(times, name)}" for name in names))
        for what, times in result["series"].items()
    ]
    return "\n".join([machine, table("", ("payload", *names), rows), bounds.report(targets(result))])


def _to(times: Mapping[str, list[float]], name: str) -> str:
    return f"{figure(ratio(times[name], times[MATCHER])['median'])}x"


def write(result: Mapping[str, Any]) -> Path:
    """Write the figures into the page.

    Args:
        result: The run.

    Returns:
        The page.
    """
    insert(PAGE, BEGIN, report(result))
    return PAGE
