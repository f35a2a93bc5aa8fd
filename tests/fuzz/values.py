"""Python values that are JSON, nearly JSON, or nothing like it."""

from __future__ import annotations

import datetime
import enum
import uuid
from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from differential.generator import Draw, scalar

__all__ = ["SHARED", "damaged", "python_value"]


class Quarrelsome:
    """Cannot be compared, hashed, tested, measured or written."""

    def _refuse(self, *_: object) -> Any:
        raise ValueError("leave me alone")

    __eq__ = __ne__ = __lt__ = __gt__ = __bool__ = __hash__ = __len__ = __iter__ = _refuse
    __str__ = __repr__ = __int__ = __float__ = __index__ = __format__ = __getattr__ = _refuse


class Whole(int):
    """A number of a type of its own."""


class Text(str):
    """A text of a type of its own."""

    __slots__ = ()


class Items(list[Any]):
    """A list of a type of its own."""


class Keys(dict[Any, Any]):
    """An object of a type of its own."""


class Level(enum.IntEnum):
    """A number that is an enumeration."""

    LOW = 1


class Colour(enum.StrEnum):
    """A text that is an enumeration."""

    RED = "red"


Point = namedtuple("Point", "x y")


def _cyclic_list() -> list[Any]:
    items: list[Any] = [1]
    items.append(items)
    return items


def _cyclic_dict() -> dict[str, Any]:
    data: dict[str, Any] = {"a": 1}
    data["b"] = data["and"] = data
    return data


def _deep(levels: int, name: str = "") -> Any:
    inner: Any = 1
    for _ in range(levels):
        inner = {name: [inner]} if name else [inner]
    return inner


def _doubled(levels: int) -> Any:
    inner: Any = [1]
    for _ in range(levels):
        inner = [inner, inner]
    return inner


SHARED = (
    *(float("nan"), float("inf"), float("-inf"), 10**400, -(10**5_000), 2**1_024, 1 << 70, 0j, Whole(7), True),
    *(
        "\ud800",
        "\udfff\ud800",
        "\0",
        "x" * 100_000,
        "9" * 5_000,
        "." * 5_000,
        "a." * 3_000,
        "1" + "0" * 400,
        Text("10"),
    ),
    *(
        b"bytes",
        bytearray(b"1"),
        range(3),
        {1, 2},
        frozenset({1}),
        (1, 2),
        (),
        Point(1, 2),
        deque([1]),
        memoryview(b"1"),
    ),
    *(Decimal("1.5"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), Decimal("1e999999"), Fraction(1, 3)),
    *(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.date.max, datetime.time.min, datetime.timedelta(1)),
    *(
        uuid.UUID(int=1),
        Level.LOW,
        Colour.RED,
        object(),
        int,
        len,
        Ellipsis,
        NotImplemented,
        ValueError("x"),
        Quarrelsome(),
    ),
    *(
        MappingProxyType({"a": 1}),
        UserDict(a=1),
        OrderedDict(a=1),
        defaultdict(list, a=[1]),
        Keys(a=1),
        Items([1, "a"]),
    ),
    *(_cyclic_list(), _cyclic_dict(), _deep(70), _deep(3_000), _deep(3_000, "!"), _deep(70, "a"), _doubled(10)),
    *({1: 2}, {None: None}, {(1,): 1}, {b"a": 1}, {"": 1}, {"a": 1, "b": 2}, {"password": "hunter2", "token": [1]}),
    *(
        {Text("var"): "a"},
        {"var": (1, 2)},
        {"and": (True, False)},
        {Colour.RED: 1},
        Keys(var="a"),
        {"method": ["a", "b"]},
    ),
)
"""Values of which each is made once: nothing may change them."""

HEAVY = (_doubled(40), _doubled(40), _deep(100_000), "1," * 500_000)
"""Values that take long to read where nothing ends the reading."""

KEYS: tuple[Any, ...] = ("a", "b", "c", "d", "e", "0", "", "list", "items", "text", "current", "token", 1, None, (1,))


def python_value(draw: Draw, depth: int = 3) -> Any:
    """Draw any value."""
    if draw.random() < 0.0005:
        return draw.choice(HEAVY)
    kind = draw.random()
    if kind < 0.3:
        return scalar(draw)
    if depth == 0 or kind < 0.7:
        return draw.choice(SHARED)
    if kind < 0.85:
        items = [python_value(draw, depth - 1) for _ in range(draw.randint(0, 4))]
        return items if kind < 0.81 else draw.choice((tuple, Items))(items)
    return {draw.choice(KEYS): python_value(draw, depth - 1) for _ in range(draw.randint(0, 4))}


def damaged(draw: Draw, rule: Any) -> Any:
    """Return a rule in which something was replaced, renamed, added, taken away or wrapped."""
    if isinstance(rule, dict) and rule:
        ((name, given),) = rule.items()
        if draw.random() < 0.75:
            return {name: damaged(draw, given)}
        return draw.choice(_OF_OPERATIONS)(draw, name, given)
    if isinstance(rule, list) and rule and draw.random() < 0.8:
        at = draw.randrange(len(rule))
        return [*rule[:at], damaged(draw, rule[at]), *rule[at + 1 :]]
    return python_value(draw)


_OF_OPERATIONS: tuple[Callable[[Draw, str, Any], Any], ...] = (
    lambda draw, name, given: {f"{name}x": given},
    lambda draw, name, given: {name.upper(): given},
    lambda draw, name, given: {draw.choice(KEYS): given},
    lambda draw, name, given: {name: given, draw.choice(KEYS): python_value(draw, 1)},
    lambda draw, name, given: {name: python_value(draw)},
    lambda draw, name, given: {name: tuple(given) if isinstance(given, list) else (given,)},
    lambda draw, name, given: {name: [given] * draw.choice((0, 1, 5, 200))},
    lambda draw, name, given: {name: [*given[1:]] if isinstance(given, list) else []},
    lambda draw, name, given: {"!": [{name: given}]},
)
