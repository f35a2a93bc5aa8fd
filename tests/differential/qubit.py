"""json-logic-qubit as a second oracle: single operations, where every difference is on a reviewed list.

It stays out of everything that runs: its operator ``method`` calls any method of any object that a rule can reach, so a
rule is code there. Tests and benchmarks import it, and evaluate rules of their own making alone.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import packages_distributions
from itertools import pairwise
from typing import Any

from automate_core.rules import compile_rule
from automate_core.rules.coercion import MAX_EXACT

from differential.differences import same
from differential.generator import Draw, value

__all__ = ["REASONS", "compare", "reason_for"]

ARITHMETIC = frozenset({"+", "-", "*", "/", "%", "min", "max"})
ORDER = frozenset({"<", "<=", ">", ">="})
EQUALITY = frozenset({"==", "!="})
IDENTITY = frozenset({"===", "!=="})
TRUTH = frozenset({"!", "!!", "and", "or", "if"})
BODIES: dict[str, Any] = {
    "map": {"var": ""},
    "filter": {">": [{"var": ""}, 1]},
    "all": {">": [{"var": ""}, 1]},
    "some": {">": [{"var": ""}, 1]},
    "none": {">": [{"var": ""}, 1]},
    "reduce": {"+": [{"var": "accumulator"}, {"var": "current"}]},
}
COUNTS = {
    **dict.fromkeys((*EQUALITY, *IDENTITY, ">", ">=", "in", "/", "%"), (2, 2)),
    **{"<": (2, 3), "<=": (2, 3), "-": (1, 2), "!": (1, 1), "!!": (1, 1), "substr": (2, 3), "if": (1, 4)},
    **dict.fromkeys(("and", "or", "min", "max", "cat", "merge", "+", "*"), (1, 3)),
    **dict.fromkeys(BODIES, (1, 1)),
}
NAMES = sorted(COUNTS)
KEYS = "abcd"

Values = Sequence[Any]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _all_numbers(values: Values) -> bool:
    return all(map(_is_number, values))


def _is_composite(value: Any) -> bool:
    return isinstance(value, list | dict)


def _pairs(values: Values) -> list[tuple[Any, Any]]:
    return list(pairwise(values))


def _compares_kinds(name: str, values: Values) -> bool:
    if name in ORDER:
        return any(not (_all_numbers(pair) or all(isinstance(value, str) for value in pair)) for pair in _pairs(values))
    return name in BODIES and isinstance(values[0], list) and not _all_numbers(values[0])


def _equates_kinds(name: str, values: Values) -> bool:
    if name in EQUALITY:
        return not all(isinstance(value, str) for value in values) and not _all_numbers(values)
    return name in IDENTITY and all(map(_is_composite, values))


def _prints(name: str, values: Values) -> bool:
    texts = {"cat": values, "substr": values[:1]}.get(name, ())
    return any(not isinstance(value, str | int) or isinstance(value, bool) for value in texts)


def _cuts(name: str, values: Values) -> bool:
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values[1:])
    return name == "substr" and not (isinstance(values[0], str) and whole)


def _looks_in(name: str, values: Values) -> bool:
    if name != "in":
        return False
    needle, haystack = values
    if isinstance(haystack, str):
        return not isinstance(needle, str) or not haystack
    if not isinstance(haystack, list):
        return isinstance(haystack, dict)
    return _is_composite(needle) or any(type(item) is not type(needle) and item == needle for item in haystack)


def _is_signed(name: str, values: Values) -> bool:
    return (
        name == "%"
        and _all_numbers(values)
        and values[1] != 0
        and math.copysign(1, values[0]) != math.copysign(1, values[1])
    )


def _is_large(name: str, values: Values) -> bool:
    summed = values[0] if name == "reduce" and isinstance(values[0], list) else values
    arithmetic = name in ARITHMETIC or name == "reduce"
    return arithmetic and any(_is_number(value) and abs(value) > MAX_EXACT for value in summed)


REASONS: dict[str, str] = {
    "numbers": "arithmetic with what is no number raises or reads it another way; JavaScript coerces",
    "single": "`*` and `+` of a single operand convert it; the original gives `*` of one back unchanged",
    "zero": "division by zero raises; JavaScript gives an infinity or NaN, null in JSON",
    "sign": "`%` has the sign of the divisor, as in Python; in JavaScript that of the dividend",
    "digits": "a float without a fraction becomes an integer of any size; in JavaScript every number is a float",
    "order": "values of two kinds are not ordered, or raise: null is never less or greater, text has to be a number",
    "equality": "`==` compares texts once one side is text, truths once one is a bool; lists are equal by content",
    "object": "an empty object is falsy, as in Python; in JavaScript every object is truthy",
    "text": "null, booleans, floats and lists are written as Python writes them",
    "cut": "`substr` takes texts and whole positions only, and raises otherwise",
    "in": "`in` raises for a number in a text, and takes 1 and true for the same",
    "scope": 'an item that is falsy (0, "", false, null) is replaced by an empty object inside array operators',
}
"""The reviewed table: where json-logic-qubit is no oracle, and why."""

_APPLIES: dict[str, Callable[[str, Values], bool]] = {
    "zero": lambda name, values: name in ("/", "%") and _all_numbers(values) and values[1] == 0,
    "sign": _is_signed,
    "single": lambda name, values: name == "*" and len(values) == 1,
    "numbers": lambda name, values: name in ARITHMETIC and not _all_numbers(values),
    "digits": _is_large,
    "scope": lambda name, values: name in BODIES and isinstance(values[0], list) and not all(values[0]),
    "order": _compares_kinds,
    "equality": _equates_kinds,
    "object": lambda name, values: name in TRUTH and any(item == {} and isinstance(item, dict) for item in values),
    "cut": _cuts,
    "text": _prints,
    "in": _looks_in,
}


def reason_for(name: str, values: Values) -> str:
    """Return the reason for which the two may differ about an operation; empty where they must agree."""
    return next((reason for reason, applies in _APPLIES.items() if applies(name, values)), "")


def draw_operation(draw: Draw) -> tuple[str, list[Any]]:
    """Draw an operator and the values of its operands."""
    name = draw.choice(NAMES)
    if draw.random() < 0.5:  # of one kind, as in most rules
        kind = draw.choice((_number, _number, _text, _numbers))
        return name, [kind(draw) for _ in range(draw.randint(*COUNTS[name]))]
    return name, [value(draw, 1) for _ in range(draw.randint(*COUNTS[name]))]


def _number(draw: Draw) -> Any:
    return draw.choice((draw.randint(-50, 50), round(draw.uniform(-50, 50), 2)))


def _text(draw: Draw) -> Any:
    return "".join(draw.choices("abc01. -é", k=draw.randint(0, 5)))


def _numbers(draw: Draw) -> Any:
    return [_number(draw) for _ in range(draw.randint(0, 4))]


def compare(seed: int, count: int) -> tuple[Counter[str], list[str]]:
    """Compare single operations.

    Args:
        seed: The seed.
        count: How many.

    Returns:
        How many differences have each reason, those that are equal under the empty name; and the others as text.
    """
    if packages_distributions()["json_logic"] != ["json-logic-qubit"]:
        raise RuntimeError("another distribution than json-logic-qubit owns the module json_logic")
    counts: Counter[str] = Counter()
    unexplained = []
    for number in range(count):
        name, values = draw_operation(Draw(f"qubit:{seed}:{number}", 0))
        data = dict(zip(KEYS, values, strict=False))
        operands = [{"var": key} for key in data]
        rule = {name: [*operands, BODIES[name], *([0] if name == "reduce" else [])] if name in BODIES else operands}
        mine, theirs = _without_minus_zero(compile_rule(rule).value(data)), _without_minus_zero(_theirs(rule, data))
        reason = "" if same(mine, theirs) else reason_for(name, values)
        if reason or same(mine, theirs):
            counts[reason] += 1
        else:
            unexplained.append(f"{json.dumps({name: values})}: ours {mine!r}, theirs {theirs!r}")
    return counts, unexplained


def _without_minus_zero(value: Any) -> Any:
    """Return a value whose zeros have no sign: it counts with integers, of which none is -0."""
    if isinstance(value, list):
        return [_without_minus_zero(item) for item in value]
    return 0.0 if isinstance(value, float) and value == 0 else value


def _theirs(rule: Any, data: Any) -> Any:
    import json_logic  # type: ignore[import-untyped] # it has no types

    try:
        return json_logic.jsonLogic(rule, data)
    except Exception as error:
        return error
