"""The hostile set. Each case makes its rule and its data in the process that tries it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

__all__ = ["CASES"]

ACCUMULATOR = {"var": "accumulator"}
UNLIKE = "a" * 50 + "b" + "a" * 48
"""A text that takes longest to look for among its own letters."""

SIX = {"or": [{"<": [{"var": "x"}, 0]}] * 6}
"""Six comparisons of what is in a row."""

MANY = 99_900
"""Nearly as many items as an evaluation may visit."""


def nested(levels: int, inner: Any, name: str = "!", listed: bool = True) -> Any:
    """Put an operation around itself."""
    for _ in range(levels):
        inner = {name: [inner] if listed else inner}
    return inner


def over(levels: int, name: str, items: int, body: Any = 1) -> Any:
    """Put an array operator into the body of itself."""
    return {name: [[0] * items, over(levels - 1, name, items, body)]} if levels else body


def repeated(times: int, body: Any, start: Any) -> Any:
    """Apply a body again and again."""
    return {"reduce": [list(range(times)), body, start]}


def kept(condition: Any) -> Any:
    """Evaluate a condition on all data for each of many items."""
    return {"reduce": [{"var": "many"}, {"if": [condition, ACCUMULATOR, ACCUMULATOR]}, {"var": ""}]}


def of(key: str) -> Any:
    """Read what `kept` keeps."""
    return {"var": f"accumulator.{key}"}


def data(count: int = MANY, **more: Any) -> dict[str, Any]:
    """Return data with many items."""
    return {"many": list(range(count)), **more}


def cyclic_rule() -> Any:
    """Return a rule that holds itself."""
    rule: dict[str, Any] = {"!": []}
    rule["!"].append(rule)
    return rule


def cyclic_list() -> list[Any]:
    """Return a list that holds itself."""
    items: list[Any] = [1]
    items.append(items)
    return items


def cyclic_data() -> dict[str, Any]:
    """Return data that hold themselves."""
    found: dict[str, Any] = {"a": 1, "items": cyclic_list()}
    found["self"] = found
    return found


def deep(levels: int = 100_000) -> list[Any]:
    """Return lists in lists."""
    inner: list[Any] = []
    for _ in range(levels):
        inner = [inner]
    return inner


def doubled(levels: int = 40) -> Any:
    """Return a list that has 2**levels leaves and takes no memory."""
    inner: Any = [1]
    for _ in range(levels):
        inner = [inner, inner]
    return inner


def each(test: Any) -> Any:
    """Look for a row of which a test holds."""
    return {"some": [{"var": "rows"}, test]}


def rows(value: Any) -> dict[str, Any]:
    """Return nearly as many rows as an evaluation may visit."""
    return {"rows": [{"x": value}] * 99_000}


def tests(count: int, name: str) -> Any:
    """Return a body of so many comparisons, none of which decides."""
    return {"or": [{name: [{"var": ""}, {"var": "nothing"}]}] * count}


Made = Callable[[], tuple[Any, Any]]

CASES: dict[str, Made] = {
    # Rules that must not be compiled.
    "10,000 nested !": lambda: (nested(10_000, 1), {}),
    "10,000 nested ! without lists": lambda: (nested(10_000, 1, listed=False), {}),
    "100,000 nested and": lambda: (nested(100_000, 1, "and"), {}),
    "100,000 nested lists": lambda: ({"in": [1, deep()]}, {}),
    "cyclic rule": lambda: (cyclic_rule(), {}),
    "cyclic list in a rule": lambda: ({"in": [1, cyclic_list()]}, {}),
    "lists of 2**40 leaves in a rule": lambda: ({"in": [1, doubled()]}, {}),
    "unknown operator 60 levels deep": lambda: (nested(60, {"nope": 1}), {}),
    "operator method": lambda: ({"method": ["text", "upper"]}, {}),
    "operator with a dot": lambda: ({"var.constructor": 1}, {}),
    "object with two keys": lambda: ({"==": [1, 1], ">": [2, 1]}, {}),
    "number as a key": lambda: ({"and": [{1: [1]}]}, {}),
    "null as a key": lambda: ({None: [1]}, {}),
    "tuple as a key": lambda: ({(1, 2): [1]}, {}),
    "a million operands": lambda: ({"and": [True] * 1_000_000}, {}),
    "a million keys": lambda: (dict.fromkeys(map(str, range(1_000_000)), 1), {}),
    "constant of 10 MB": lambda: ({"==": [{"var": "a"}, "x" * 10_000_000]}, {}),
    "name of 10 MB": lambda: ({"x" * 10_000_000: 1}, {}),
    "integer constant of a million bits": lambda: ({"==": [{"var": "a"}, 1 << 1_000_000]}, {}),
    # Rules that multiply work.
    "4 nested map over 100 items": lambda: (over(4, "map", 100), {}),
    "4 nested filter over 100 items": lambda: (over(4, "filter", 100, True), {}),
    "4 nested all over 100 items": lambda: (over(4, "all", 100, True), {}),
    "4 nested none over 100 items": lambda: (over(4, "none", 100, False), {}),
    "30 nested map over 2 items": lambda: (over(30, "map", 2), {}),
    "map over 99,900 items": lambda: ({"map": [{"var": "many"}, {"+": [{"var": ""}, 1]}]}, data()),
    "19 nodes over 99,900 items": lambda: ({"some": [{"var": "many"}, tests(3, "===")]}, data()),
    "19 slow nodes over 99,900 items": lambda: ({"none": [{"var": "many"}, tests(3, "<")]}, data()),
    "9,000 nodes over 99,900 items": lambda: ({"map": [{"var": "many"}, [0] * 9_000]}, data()),
    "cat doubled 30 times": lambda: (repeated(30, {"cat": [ACCUMULATOR, ACCUMULATOR]}, "xx"), {}),
    "merge doubled 28 times": lambda: (repeated(28, {"merge": [ACCUMULATOR, ACCUMULATOR]}, [1, 2]), {}),
    "list doubled 64 times, as text": lambda: ({"cat": [repeated(64, [ACCUMULATOR, ACCUMULATOR], 1)]}, {}),
    "lists doubled 64 times, ordered": lambda: ({">": [repeated(64, [ACCUMULATOR] * 2, 1)] * 2}, {}),
    "lists doubled 64 times, in one another": lambda: (
        {"in": [repeated(64, [ACCUMULATOR] * 2, 1), [repeated(64, [ACCUMULATOR] * 2, 1)]]},
        {},
    ),
    "list deepened 9,000 times": lambda: (repeated(9_000, {"if": [True, [ACCUMULATOR]]}, 1), {}),
    "number squared 64 times": lambda: (repeated(64, {"*": [ACCUMULATOR, ACCUMULATOR]}, {"var": "x"}), {"x": 12_345}),
    "text looked for in a list, 900 times": lambda: (kept({"in": ["z", of("many")]}), data(900)),
    "text looked for in long lists, 60 times": lambda: (kept({"in": ["z", of("list")]}), data(60, list=[1] * 100_000)),
    "true looked for among ones, 1,000 times": lambda: (
        kept({"in": [True, of("ones")]}),
        data(1_000, ones=[1] * 6_000),
    ),
    "true looked for among few ones, 99,900 times": lambda: (kept({"in": [True, of("ones")]}), data(ones=[1] * 64)),
    "date looked for among dates, 1,000 times": lambda: (
        kept({"in": ["z", of("dates")]}),
        data(1_000, dates=[datetime.date.max] * 400),
    ),
    "text looked for in a text, 25 times": lambda: (kept({"in": ["z", of("text")]}), data(25, text="a" * 1_000_000)),
    "text looked for in a text, 6,000 times": lambda: (
        kept({"in": [UNLIKE, of("text")]}),
        data(6_000, text="a" * 4_000),
    ),
    "text looked for in a text, 99,900 times": lambda: (kept({"in": [UNLIKE, of("text")]}), data(text="a" * 256)),
    "long digits as a number, 400 times": lambda: (kept({">": [of("text"), 5]}), data(400, text="1" * 60_000)),
    "digits as a number, 6,000 times": lambda: (kept({">": [of("text"), 5]}), data(6_000, text="1" * 4_000)),
    "digits as a number, 99,900 times": lambda: (kept({">": [of("text"), 5]}), data(text="1" * 256)),
    "spaces as a number, 99,900 times": lambda: (kept({"+": [of("text"), 5]}), data(text=" " * 256)),
    "text cut, 250 times": lambda: (kept({"substr": [of("text"), 1]}), data(250, text="a" * 4_000)),
    "long paths, 1,900 times": lambda: (kept({"var": of("text")}), data(1_900, text="many." * 800)),
    "short paths, 99,900 times": lambda: (kept({"var": of("text")}), data(text="many.0.0." * 5)),
    "missing of 300 keys, 300 times": lambda: (kept({"missing": of("many")}), data(300)),
    "lists compared, 280 times": lambda: (kept({"<": [of("many"), of("many")]}), data(280)),
    "long lists compared, once": lambda: ({"<": [{"var": "many"}, {"var": "other"}]}, data(other=list(range(MANY)))),
    "lists of a million items compared, 45 times": lambda: (
        {"or": [{"<": [{"var": "a"}, {"var": "a"}]}] * 45},
        {"a": [1] * 1_000_000},
    ),
    "60 texts looked for in a list": lambda: ({"or": [{"in": ["z", {"var": "many"}]}] * 60}, data()),
    "45 texts looked for in a million items": lambda: (
        {"or": [{"in": ["z", {"var": "a"}]}] * 45},
        {"a": [1] * 1_000_000},
    ),
    "missing of a million keys": lambda: ({"missing": {"var": "a"}}, {"a": list(map(str, range(1_000_000)))}),
    "6 short texts as numbers for each of 99,000": lambda: (each(SIX), rows("1e5")),
    "6 times 40 digits for each of 99,000": lambda: (each(SIX), rows("1" * 40)),
    "6 nested lists for each of 99,000": lambda: (each(SIX), rows([["1.5"]])),
    "9 lists in max for each of 99,000": lambda: (each({"!": {"max": [{"var": "x"}] * 9}}), rows([["1.5"]])),
    "9 floats as texts for each of 99,000": lambda: (each({"!": {"cat": [{"var": "x"}] * 9}}), rows(1.5)),
    "9 computed paths for each of 99,000": lambda: (each({"or": [{"var": [{"var": "x"}]}] * 9}), rows("a.b")),
    "6 texts searched for each of 99,000": lambda: (each({"or": [{"in": ["ab", {"var": "x"}]}] * 6}), rows("a" * 250)),
    "49 comparisons of 5 MB of digits": lambda: ({"or": [{"<": [{"var": "t"}, 0]}] * 49}, {"t": "1" * 5_000_000}),
    "190 operands of 5 MB of digits": lambda: ({"max": [{"var": "t"}] * 190}, {"t": "1" * 5_000_000}),
    "190 operands of 5 MB of spaces": lambda: ({"+": [{"var": "t"}] * 190}, {"t": " " * 5_000_000}),
    "49 comparisons of a long list with long texts": lambda: (
        {"or": [{"==": [{"var": "t"}, "," * 16_000]}] * 49},
        {"t": [None] * 300_000},
    ),
    "45 comparisons of a long list with longer texts": lambda: (
        {"or": [{"==": [{"var": "t"}, "," * 60_000]}] * 45},
        {"t": [None] * 300_000},
    ),
    "integers that Python hashes alike": lambda: (
        {"in": [{"var": "a"}, [number * (2**61 - 1) for number in range(9_900)]]},
        {"a": 5},
    ),
    # Data that are no honest JSON.
    "cyclic data, whole": lambda: ({"var": ""}, cyclic_data()),
    "cyclic data, compared": lambda: ({"==": [{"var": "items"}, "1,"]}, cyclic_data()),
    "cyclic data, in itself": lambda: ({"in": [{"var": ""}, [{"var": ""}, {"var": "items"}]]}, cyclic_data()),
    "cyclic data, 60 steps down": lambda: ({"var": "self." * 60 + "a"}, cyclic_data()),
    "data 100,000 levels deep": lambda: ({"var": "a"}, {"a": deep()}),
    "data 100,000 levels deep, compared": lambda: ({"<=": [{"var": "a"}, {"var": "b"}]}, {"a": deep(), "b": deep()}),
    "data 100,000 levels deep, in a list": lambda: ({"in": [{"var": "a"}, {"var": "b"}]}, {"a": deep(), "b": [deep()]}),
    "data of 2**40 leaves": lambda: ({"cat": [{"var": "a"}]}, {"a": doubled()}),
    "data of 2**40 leaves, compared": lambda: ({"<": [{"var": "a"}, {"var": "b"}]}, {"a": doubled(), "b": doubled()}),
    "data of 2**40 leaves, as they are": lambda: ({"var": "a"}, {"a": doubled()}),
    "200,000 digits times themselves": lambda: ({"*": [{"var": "x"}, {"var": "x"}]}, {"x": "9" * 200_000}),
    "integer of 200,000 digits": lambda: ({"cat": [{"*": [{"var": "x"}, {"var": "x"}]}]}, {"x": 10**200_000}),
    "integer of 200,000 digits, compared": lambda: ({">": [{"var": "x"}, 1.5]}, {"x": 10**200_000}),
    "path of a million parts": lambda: ({"var": [{"var": "a"}]}, {"a": "a." * 1_000_000}),
    "lone surrogates": lambda: ({"cat": ["\ud800", {"var": "x"}]}, {"x": "\udfff"}),
    "NaN and infinities": lambda: (
        {"if": [{"<": [{"var": "n"}, {"var": "i"}]}, 1, {"-": [{"var": "i"}, {"var": "i"}]}]},
        {"n": float("nan"), "i": float("inf")},
    ),
    "attributes of Python": lambda: ({"var": "x.__class__.__mro__.1"}, {"x": "text"}),
}
"""By name, what makes the rule and the data."""
