"""What we decided otherwise than json-logic-js, and how a difference is found to be one of these and nothing else.

No difference is taken for a decision by its looks. Each decision can be built into the original (``answering.js``); a
difference is explained by the smallest set of decisions with which the original gives our answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from automate_core.rules import compile_rule
from automate_core.rules.coercion import MAX_EXACT

from differential.generator import Case
from differential.javascript import Answer, ask

__all__ = ["DECISIONS", "Difference", "differences", "ours", "same"]

INTEGERS, INFINITY = "integers", "infinity"
DECISIONS = {
    "undefined": "what JavaScript leaves undefined (`and`, `or`, `log`, `!` of nothing) is null: JSON has no undefined",
    "properties": "`var` sees data only: keys, and positions of lists and texts. `a.length` is null",
    INTEGERS: "integers beyond 2**53 that were not computed keep every digit, so that 64-bit ids stay distinct",
    "characters": "texts are counted, cut and ordered by characters, not by halves of them (UTF-16)",
    INFINITY: "a rule whose value is infinite does not match: JSON writes it as null",
    "product": "`*` of nothing is null; the original throws a TypeError",
    "data": "data is never evaluated as a rule: `missing` reads an object as a text, the original applies it",
    "keys": "`missing_some` takes null for one key that is missing; the original throws a TypeError",
}
"""The reviewed table: each decision, and its reason."""


class Difference(NamedTuple):
    """A case with two answers."""

    number: int
    case: Case
    original: Answer
    mine: Answer
    reasons: tuple[str, ...]
    """The decisions that explain it; none where nothing does."""

    @property
    def is_of_value(self) -> bool:
        """Whether it can be seen in JSON. An infinite value cannot: it is null on both sides."""
        return self.reasons != (INFINITY,)


def same(first: Any, second: Any) -> bool:
    """Compare as JSON, floats to the last bit: booleans are no numbers, 1 is 1.0, and 0 is not -0."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first == second and math.copysign(1, first) == math.copysign(1, second)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return type(first) is type(second) and bool(first == second)


def agree(first: Answer, second: Answer) -> bool:
    """Tell whether two answers are the same, and both are answers."""
    return not (first.error or second.error) and first.truth is second.truth and same(first.value, second.value)


def ours(case: Case) -> Answer:
    """Answer a case with our engine: compiled, and explained."""
    try:
        compiled = compile_rule(case.rule)
        value, truth = compiled.value(case.data), compiled.evaluate(case.data)
        explained = compiled.explain(case.data)["result"]
    except Exception as error:
        return Answer(error=f"{type(error).__name__}: {error}")
    if explained is not truth:
        return Answer(error=f"explain gives {explained}, evaluate {truth}")
    return Answer(json.loads(json.dumps(value, allow_nan=False)), truth)


def rounded(value: Any) -> Any:
    """Round integers as JavaScript does when it reads them."""
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return float(value) if type(value) is int and abs(value) > MAX_EXACT else value


def differences(cases: Sequence[Case]) -> list[Difference]:
    """Compare the two engines, and explain where they differ.

    Args:
        cases: The cases.

    Returns:
        The differences.
    """
    found = [
        (number, original, mine)
        for number, (original, mine) in enumerate(zip(ask((case, ()) for case in cases), map(ours, cases), strict=True))
        if not agree(original, mine)
    ]
    different = [cases[number] for number, _, _ in found]
    return [
        Difference(number, cases[number], original, mine, reasons)
        for (number, original, mine), reasons in zip(found, explanations(different), strict=True)
    ]


def explanations(different: Sequence[Case]) -> list[tuple[str, ...]]:
    """Find the smallest set of decisions that explains each difference; an empty one where none does."""
    sets = list(_sets())
    answers = iter(ask((case, [name for name in chosen if name != INTEGERS]) for case in different for chosen in sets))
    found = []
    for case in different:
        exact, inexact = ours(case), ours(Case(rounded(case.rule), rounded(case.data)))
        reasons: tuple[str, ...] = ()
        for chosen in sets:
            answer = next(answers)
            if not reasons and agree(answer, inexact if INTEGERS in chosen else exact):
                reasons = chosen
        found.append(reasons)
    return found


def _sets() -> Iterator[tuple[str, ...]]:
    for size in (1, 2, 3, len(DECISIONS)):
        yield from combinations(DECISIONS, size)
