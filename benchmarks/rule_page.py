"""The figures about rules as text: tables, targets, and the page of the documentation that has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import bounds
from bounds import Target
from measuring import ROOT, figure, insert, median, ratio, table
from rule_engines import DATALOGIC, OURS, PANZI, PARSED, QUBIT
from rule_shapes import KILOBYTES, SHAPES

PAGE = ROOT / "docs" / "explanation" / "rules.md"
BEGIN = "<!-- figures of benchmarks/rules.py -->"
ENGINES = (OURS, DATALOGIC, PARSED, PANZI, QUBIT)
OF_QUBIT = ("compile", "explain", "explain, compiled")
LEAST_DATA, MOST_DATA = KILOBYTES[0], KILOBYTES[-1]

Series = Mapping[str, list[float]]


def to(series: Series, of: str, base: str) -> float:
    """Return how many times as long one takes as the other; the median of the rounds.

    Args:
        series: Seconds by name and round.
        of: What is compared.
        base: What it is compared to.
    """
    return ratio(series[of], series[base])["median"] if of in series and base in series else float("nan")


def _time(seconds: float) -> str:
    return f"{figure(seconds * 1e9)} ns" if seconds < 1e-6 else f"{figure(seconds * 1e6)} µs"


def _cell(value: float, unit: str = "x") -> str:
    return f"{figure(value)}{unit}" if value == value else "-"


def targets(result: Mapping[str, Any]) -> list[Target]:
    """Return the targets.

    Args:
        result: The run.
    """
    return [*_of_shapes(result["shapes"]), *_of_the_rest(result)]


def _of_shapes(shapes: Mapping[str, Series]) -> Iterator[Target]:
    for name, shape in SHAPES.items():
        series = shapes[name]
        yield Target(f"{name}: to native Python", to(series, OURS, "native"), most=shape.most)
        if shape.least is not None and QUBIT in series:
            yield Target(f"{name}: times as fast as {QUBIT}", to(series, QUBIT, OURS), least=shape.least)
    for what, most in (("compile", 1.0), ("explain", 3.0)):
        ratios = {name: to(series, what, QUBIT) for name, series in shapes.items() if QUBIT in series}
        worst = max(ratios, key=lambda name: ratios[name])
        yield Target(f"{what}: to an evaluation by {QUBIT}, worst ({worst})", ratios[worst], most=most)
    odd = {f"{name}, {what[5:]}": to(series, what, OURS) for name, series, what in _odd(shapes)}
    worst = max(odd, key=lambda name: odd[name])
    yield Target(f"missing or of another type: to the usual, worst ({worst})", odd[worst], most=3)


def _odd(shapes: Mapping[str, Series]) -> Iterator[tuple[str, Series, str]]:
    for name, series in shapes.items():
        yield from ((name, series, what) for what in series if what.startswith("odd: "))


def _of_the_rest(result: Mapping[str, Any]) -> Iterator[Target]:
    grown = to(result["payloads"], f"{OURS}/{MOST_DATA}", f"{OURS}/{LEAST_DATA}")
    yield Target(f"payload of {MOST_DATA} KB: to an empty one", grown, most=1.3)
    few, *_, many = result["matching"]
    name = f"matching, {int(many):,} rules: to {few}, as many candidates"
    yield Target(name, to(result["matching"], many, few), most=1.5)


def machine(result: Mapping[str, Any]) -> str:
    """Say in one paragraph where the figures come from.

    Args:
        result: The run.
    """
    where = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return (
        f"{where['date']}: {where['cores']} cores ({where['cpu']}), {where['memory_gb']} GB, {where['system']}, "
        f"Python {where['python']}. {versions}. Medians of {result['rounds']} rounds, CPU time of one thread.\n"
    )


def _evaluation(shapes: Mapping[str, Series]) -> str:
    rows = [
        (
            name,
            _time(median(series["native"])),
            *(_cell(to(series, engine, "native")) for engine in ENGINES),
            _cell(to(series, QUBIT, OURS), ""),
        )
        for name, series in shapes.items()
    ]
    columns = ("rule", "native Python", *ENGINES, f"{OURS}: times as fast as {QUBIT}")
    return table("Evaluation, to native Python", columns, rows)


def _other(shapes: Mapping[str, Series]) -> str:
    rows = [
        (name, *(part for what in OF_QUBIT for part in (_time(median(series[what])), _cell(to(series, what, QUBIT)))))
        for name, series in shapes.items()
    ]
    columns = ("rule", *(part for what in OF_QUBIT for part in (what, f"to {QUBIT}")))
    return table(f"Compiling and explaining, to one evaluation by {QUBIT}", columns, rows)


def _strange(shapes: Mapping[str, Series]) -> str:
    rows = [
        (name, what[5:], _time(median(series[what])), _cell(to(series, what, OURS)))
        for name, series, what in _odd(shapes)
    ]
    return table("Values that are missing or of another type", ("rule", "value", "time", "to the usual"), rows)


def _payloads(series: Series) -> str:
    engines = [engine for engine in ENGINES if f"{engine}/{LEAST_DATA}" in series]
    rows = [(engine, *(_time(median(series[f"{engine}/{size}"])) for size in KILOBYTES)) for engine in engines]
    return table("The and/or rule, by the size of the payload", ("engine", *(f"{size} KB" for size in KILOBYTES)), rows)


def _matching(series: Series) -> str:
    few = next(iter(series))
    rows = [(f"{int(many):,}", _time(median(series[many])), _cell(to(series, many, few))) for many in series]
    return table("Matching: 20 candidates, by the rules that are installed", ("rules", "time", f"to {few}"), rows)


def report(result: Mapping[str, Any]) -> str:
    """Return everything that was measured, as Markdown.

    Args:
        result: The run.
    """
    shapes = result["shapes"]
    texts = [_evaluation(shapes), _other(shapes), _strange(shapes), _payloads(result["payloads"])]
    return "\n".join([machine(result), *texts, _matching(result["matching"]), bounds.report(targets(result))])


def write(result: Mapping[str, Any]) -> Path:
    """Write the figures into the page.

    Args:
        result: The run.

    Returns:
        The page.
    """
    insert(PAGE, BEGIN, report(result))
    return PAGE
