"""Random rules over the classic operators, and random data for them. The same seed gives the same cases."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from automate_core.rules import Engine
from automate_core.rules.operators import Form

__all__ = ["NAMES", "OFTEN", "OPERATORS", "Case", "Draw", "cases", "data_for", "rule_for", "scalar"]

OPERATORS = Engine().operators
NAMES = sorted(OPERATORS)
ARRAYS = frozenset({Form.MAP, Form.FILTER, Form.REDUCE, Form.ALL, Form.SOME, Form.NONE})
DEEPEST = 5
MOST_OPERANDS = 4

ORDINARY: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 10, 100, 0.1, 0.5, -2.5, 1e3, 1e21, 1e-7, -0.0),
    *(
        "",
        " ",
        "0",
        "1",
        "9",
        "10",
        "-1",
        "1.0",
        "1.5",
        " 5 ",
        "1e2",
        "-0",
        "3px",
        "0x1f",
        "0b11",
        "1,2",
        ",",
        "+1",
        ".5",
    ),
    *("a", "b", "A", "abc", "abcabc", "paid", "true", "false", "null", "NaN", "1_0", "٣"),
    *("é", "ß", "日本", "a\u0301", "\u00a01\ufeff", "\n", "[object Object]", "undefined"),
)
RARE: tuple[Any, ...] = (
    *(2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**60 + 1, 10**16 + 1, 10**21, 10**22, 1e300, -1e300, 5e-324),
    *(
        "9007199254740993",
        "1e400",
        "Infinity",
        "-Infinity",
        "0x20000000000001",
        "😀",
        "a😀b",
        "\ud83d",
        "\uffff",
        "😀😀",
    ),
)
PATHS: tuple[Any, ...] = (
    *("", "a", "b", "a", "b", "c", "c.d", "c.d.e", "list", "list", "items", "items", "list.0", "list.1", "list.9"),
    *("items.0", "items.0.a", "items.1.b", "text", "text.0", "number", "none", "empty", "flag", "0", "1", "a.b", "c.0"),
    *("nope", "nope.deeper", "c.nope", "current", "accumulator", "current.a", "current.b", "accumulator.a", "."),
    *(0, 1, None, 1.5, True),
)
RARE_OPERANDS: tuple[Any, ...] = (
    *({"and": []}, {"or": []}, {"log": []}, {"*": []}, {"missing_some": [1, None]}, {"missing": [{"var": "c.d"}]}),
    *({"substr": ["a😀b", 1, 1]}, {"substr": ["😀😀", -1]}, {"<": ["😀", "\uffff"]}, {"in": ["\ud83d", "😀"]}),
    *({"max": []}, {"min": []}, {"/": [1, 0]}, {"===": [{"var": "number"}, 2**53 + 1]}, {}),
)
RARE_PATHS: tuple[Any, ...] = (
    "list.length",
    "text.length",
    "length",
    "list.01",
    "list.-1",
    "a.constructor",
    "toString",
    "c.",
    ".a",
)


ORDINARILY = 0.0004
"""How often an ordinary case draws what json-logic-js and we are known to see differently, at each opportunity."""

OFTEN = 0.2
"""The same for the cases that are there to see these differences."""


class Draw(random.Random):
    """The source of one case.

    Args:
        seed: What it depends on.
        rarity: How often it draws what is rare, 0 to 1.
    """

    def __init__(self, seed: str | int, rarity: float = ORDINARILY) -> None:
        super().__init__(seed)
        self.rarity = rarity

    def rarely(self) -> bool:
        """Tell whether to draw something rare."""
        return self.random() < self.rarity


class Case(NamedTuple):
    """One rule and the data that it is applied to."""

    rule: Any
    data: Any


def cases(seed: int, count: int, rarity: float = ORDINARILY) -> Iterator[Case]:
    """Yield cases; each depends on the seed, its own number and the rarity alone.

    Args:
        seed: The seed.
        count: How many.
        rarity: How often they draw what is rare.
    """
    for number in range(count):
        draw = Draw(f"{seed}:{number}", rarity)
        yield Case(rule_for(draw), data_for(draw))


# -- data -------------------------------------------------------------------------------------------------------------


def scalar(draw: Draw) -> Any:
    """Draw a scalar of any type."""
    if draw.rarely():
        return draw.choice(RARE)
    kind = draw.random()
    if kind < 0.75:
        return draw.choice(ORDINARY)
    if kind < 0.87:
        return draw.randint(-20, 200)
    if kind < 0.93:
        return round(draw.uniform(-100, 100), draw.randint(0, 6))
    return "".join(draw.choices("abc01. -e,é", k=draw.randint(0, 5)))


def value(draw: Draw, depth: int = 2) -> Any:
    """Draw a JSON value."""
    kind = draw.random()
    if depth == 0 or kind < 0.65:
        return scalar(draw)
    if kind < 0.85:
        return [value(draw, depth - 1) for _ in range(draw.randint(0, 4))]
    return {key: value(draw, depth - 1) for key in draw.sample(("a", "b", "d", "e", "0"), draw.randint(0, 3))}


def data_for(draw: Draw) -> Any:
    """Draw what a rule is applied to: an object with keys that rules look for, or now and then anything else."""
    if draw.random() < 0.05:
        return value(draw)
    data: dict[str, Any] = {
        "a": value(draw),
        "b": scalar(draw),
        "c": {"d": {"e": scalar(draw)}, "0": scalar(draw)},
        "list": [scalar(draw) for _ in range(draw.randint(0, 4))],
        "items": [{"a": value(draw, 1), "b": scalar(draw)} for _ in range(draw.randint(0, 3))],
        "text": str(scalar(draw)),
        "number": draw.randint(-5, 150),
        "none": None,
        "empty": "",
        "flag": draw.random() < 0.5,
    }
    for key in draw.sample(tuple(data), draw.randint(0, 4)):
        del data[key]
    return data


# -- rules ------------------------------------------------------------------------------------------------------------


def rule_for(draw: Draw) -> Any:
    """Draw a rule."""
    return operation(draw, draw.randint(1, DEEPEST))


def operation(draw: Draw, depth: int) -> dict[str, Any]:
    """Draw an operation with operands of any type."""
    name = draw.choice(NAMES)
    operator = OPERATORS[name]
    make = _SHAPES.get(operator.form)
    if make is not None:
        return {name: make(draw, depth)}
    least = operator.minimum if draw.rarely() else max(operator.minimum, 1)
    most = MOST_OPERANDS if operator.maximum is None else operator.maximum
    usual = draw.random() < 0.6 and operator.minimum <= 2 <= most
    count = 2 if usual else draw.randint(least, most)
    operands = [operand(draw, depth - 1) for _ in range(count)]
    if count == 1 and not isinstance(operands[0], list) and draw.random() < 0.5:
        return {name: operands[0]}
    return {name: operands}


def operand(draw: Draw, depth: int) -> Any:
    """Draw an operand: mostly a variable or an operation, else a constant or a list."""
    if draw.rarely():
        return draw.choice(RARE_OPERANDS)
    kind = draw.random()
    if kind < 0.35:
        return {"var": path(draw)}
    if depth > 0 and kind < 0.7:
        return operation(draw, depth)
    if kind < 0.9:
        return scalar(draw)
    if kind < 0.92:
        return {}
    return [operand(draw, depth - 2) for _ in range(draw.randint(0, 3))]


def path(draw: Draw) -> Any:
    """Draw a path."""
    return draw.choice(RARE_PATHS if draw.rarely() else PATHS)


def _variable(draw: Draw, depth: int) -> Any:
    kind = draw.random()
    if kind < 0.5:
        return path(draw)
    if kind < 0.9:
        return [path(draw), *([operand(draw, depth - 1)] if draw.random() < 0.6 else [])]
    return [] if kind < 0.92 else [operand(draw, depth - 1)]


def _items(draw: Draw, depth: int) -> Any:
    kind = draw.random()
    if kind < 0.5:
        return {"var": draw.choice(("list", "items", "a", "b", "text", "nope"))}
    if kind < 0.8:
        return [operand(draw, depth - 2) for _ in range(draw.randint(0, 4))]
    return operand(draw, depth - 1)


def _array(draw: Draw, depth: int) -> list[Any]:
    return [_items(draw, depth), operand(draw, depth - 1)]


def _reduce(draw: Draw, depth: int) -> list[Any]:
    return [*_array(draw, depth), *([operand(draw, depth - 1)] if draw.random() < 0.7 else [])]


def _missing(draw: Draw, depth: int) -> Any:
    if draw.rarely():
        return operand(draw, depth - 1)
    keys = [path(draw) for _ in range(draw.randint(0, 4))]
    if draw.random() < 0.8:
        return keys
    return {"merge": [keys, {"if": [operand(draw, depth - 1), keys, [path(draw)]]}]}


def _missing_some(draw: Draw, depth: int) -> list[Any]:
    keys = _missing(draw, depth)
    return [draw.choice((0, 1, 1, 2, "1", None, {"var": "number"})), keys]


_SHAPES: dict[Form, Callable[[Draw, int], Any]] = {
    **dict.fromkeys(ARRAYS, _array),
    Form.REDUCE: _reduce,
    Form.VAR: _variable,
    Form.MISSING: _missing,
    Form.MISSING_SOME: _missing_some,
}
