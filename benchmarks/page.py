"""The page about performance: what a run measured goes between its marks, and its charts beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import bounds
import charts
import targets
from measuring import ROOT, insert
from parts import claims, emitting, growth, latency, processing, sqlite, workflows
from peers import OURS

PAGE = ROOT / "docs" / "explanation" / "performance.md"
CHARTS = ROOT / "docs" / "_static"
BEGIN = "<!-- figures of benchmarks/delivery.py -->"
PARTS = {
    "processing": processing,
    "latency": latency,
    "workflows": workflows,
    "emitting": emitting,
    "claims": claims,
    "sqlite": sqlite,
    "growth": growth,
}


def machine(result: Mapping[str, Any]) -> str:
    """Say in one paragraph where the figures come from.

    Args:
        result: The run.
    """
    where = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    syncs = " and ".join(f"{count:,.0f}" for count in result["syncs_per_second"])
    return (
        f"{where['date']}: {where['cores']} cores ({where['cpu']}), {where['memory_gb']} GB, {where['system']}, "
        f"Python {where['python']}. {versions}. The disk made {syncs} writes a second durable, before the run and "
        f"after it.\n"
    )


def report(result: Mapping[str, Any]) -> str:
    """Return everything that was measured, as Markdown.

    Args:
        result: The run.
    """
    measured = result["parts"]
    texts = [part.report(measured[name]) for name, part in PARTS.items() if name in measured]
    return "\n".join([machine(result), *texts, bounds.report(targets.targets(measured))])


def drawn(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield part, file name and SVG of each chart.

    Args:
        result: The run.
    """
    measured = result["parts"]
    if "processing" in measured:
        one, two = (measured["processing"][workers]["systems"] for workers in "12")
        base = one["raw psycopg"]["rate"]
        rows = {name: (one[name]["rate"] / base, two[name]["rate"] / base) for name, _ in processing.fastest_first(one)}
        axis, title = "rate, to raw psycopg with one worker", "Jobs that do nothing, PostgreSQL"
        svg = charts.bars(title, axis, rows, ("1 worker", "2 workers"), highlighted=[OURS.name])
        yield "processing", "performance-processing.svg", svg
    if "latency" in measured:
        waits = {name.replace(f"{OURS.name}, ", ""): value for name, value in measured["latency"].items()}
        waits = dict(sorted(waits.items(), key=lambda entry: float(entry[1]["p50_ms"])))
        rows = {name: (value["p50_ms"], value["p95_ms"]) for name, value in waits.items()}
        ours = [name for name in rows if name.startswith((OURS.name, "SQLite"))]
        svg = charts.bars(
            "Pick-up by an idle worker",
            "milliseconds from the commit to the handler",
            rows,
            ("p50", "p95"),
            highlighted=ours,
        )
        yield "latency", "performance-latency.svg", svg
    if "workflows" in measured:
        base = measured["workflows"]["raw psycopg"]["rate"]
        rates = {name: (value["rate"] / base,) for name, value in processing.fastest_first(measured["workflows"])}
        svg = charts.bars(
            "Workflows of three steps, PostgreSQL",
            "rate, to raw psycopg",
            rates,
            ("",),
            highlighted=[OURS.name, workflows.named(OURS.name, 2)],
        )
        yield "workflows", "performance-workflows.svg", svg


def write(result: Mapping[str, Any]) -> list[Path]:
    """Write the charts, and the figures into the page.

    Args:
        result: The run.

    Returns:
        The files.
    """
    CHARTS.mkdir(exist_ok=True)
    files, images = [], {}
    for of_part, file, svg in drawn(result):
        (CHARTS / file).write_text(svg)
        files.append(CHARTS / file)
        images[of_part] = f"![{of_part.capitalize()}: the same figures as in the table](../_static/{file})\n"
    measured = result["parts"]
    texts = [machine(result)]
    for name, part in PARTS.items():
        if name in measured:
            texts += [part.report(measured[name]), *([images[name]] if name in images else [])]
    texts.append(bounds.report(targets.targets(measured)))
    insert(PAGE, BEGIN, "\n".join(texts))
    return [*files, PAGE]
