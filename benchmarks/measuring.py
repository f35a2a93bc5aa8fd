"""What every benchmark needs: medians and ratios, the machine, tables, and the file that holds a run."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
END = "<!-- end of the figures -->"
"""The mark after the figures on a page."""


def median(values: Sequence[float]) -> float:
    """Return the median; 0.0 of nothing.

    Args:
        values: The values.
    """
    return statistics.median(values) if values else 0.0


def percentile(values: Sequence[float], share: int) -> float:
    """Return the smallest value that a share of the values does not exceed; 0.0 of nothing.

    Args:
        values: The values.
        share: Percent.
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)] if ordered else 0.0


def ratio(of: Sequence[float], to: Sequence[float]) -> dict[str, float]:
    """Return the median, smallest and largest ratio of two series measured side by side, round by round.

    Ratios within a round hold where the machine gets slower or faster between rounds; ratios of medians do not.

    Args:
        of: What is compared, one value for each round.
        to: What it is compared to.
    """
    ratios = [mine / theirs for mine, theirs in zip(of, to, strict=False) if theirs] or [0.0]
    return {"median": median(ratios), "min": min(ratios), "max": max(ratios)}


def machine() -> dict[str, Any]:
    """Describe where the figures come from."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": model or platform.processor(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def syncs_per_second(seconds: float = 0.5) -> float:
    """Return how often a small write can be made durable, the limit of everything that commits alone.

    Args:
        seconds: How long to try.
    """
    with tempfile.TemporaryFile(dir="/var/tmp") as file:
        count, started = 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < seconds:
            os.pwrite(file.fileno(), b"x" * 512, 0)
            getattr(os, "fdatasync", os.fsync)(file.fileno())
            count += 1
    return count / passed


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table as Markdown, aligned so that it reads in a terminal too.

    Args:
        title: A heading; empty for none.
        columns: The names of the columns.
        rows: The cells.
    """
    cells = [[str(cell) for cell in row] for row in [columns, *rows]]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join([*([f"### {title}", ""] if title else []), *lines, ""])


def say(text: str = "") -> None:
    """Print a line at once.

    Args:
        text: The line.
    """
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def figure(value: float) -> str:
    """Return a number with three significant digits, as people write it.

    Args:
        value: The number.
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def insert(page: Path, begin: str, text: str) -> None:
    """Write figures into a page of the documentation, between two marks.

    Args:
        page: The page.
        begin: The mark before them.
        text: The figures.
    """
    head, _, rest = page.read_text().partition(begin)
    page.write_text(f"{head}{begin}\n\n{text}\n{END}{rest.partition(END)[2]}")


def save(path: Path, result: Mapping[str, Any]) -> None:
    """Write the figures of a run.

    Args:
        path: The file.
        result: What was measured.
    """
    path.write_text(json.dumps(result, indent=1) + "\n")
