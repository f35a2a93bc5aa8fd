"""Closures for the comparison of a variable with a constant, by far the most frequent leaf of rules.

Each comparison is written out, and so is the reading of a text of digits: a call would take as long as all the rest.

A closure trusts that it looks into an object until it looks into something else: to ask for the type each time costs
more than that, and an exception more than both, so a closure meets one and no more.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from automate_core.rules.coercion import EXACT_DIGITS, coerced_number, to_number
from automate_core.rules.comparisons import PAIRS
from automate_core.rules.descents import below
from automate_core.rules.leaves import Closure
from automate_core.rules.limits import Budget
from automate_core.rules.paths import entry, find

__all__ = ["COMPARE", "MIRRORED", "Comparison", "comparison_leaf", "exact_comparison", "item_leaf", "number_leaf"]

_Leaf = Callable[[str, Any, Callable[..., Any]], Closure]
"""Takes the key, the constant and the exact function."""

_Leaves = dict[str, tuple[_Leaf, Callable[..., Any]]]
"""By comparison, what makes the leaf, and the exact function."""

_NUMBERS = frozenset({int, float})


COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "===": operator.eq,
    "!=": operator.ne,
    "!==": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
"""How Python compares two numbers, and two texts for equality, where JSONLogic says the same."""

MIRRORED = {
    "==": "==",
    "===": "===",
    "!=": "!=",
    "!==": "!==",
    ">": "<",
    ">=": "<=",
    "<": ">",
    "<=": ">=",
}
"""The comparison of exchanged operands that says the same."""


def exact_comparison(name: str, constant: Any) -> Callable[..., Any]:
    """Find what compares any value with a constant.

    Args:
        name: The comparison.
        constant: The constant, a scalar.

    Returns:
        The exact function; it takes the value, the constant and the budget.
    """
    compares_numbers = type(constant) in _NUMBERS and name in _WITH_NUMBER
    return _WITH_NUMBER[name] if compares_numbers else PAIRS[name]


def _with_number(compare: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def compare_numbers(value: Any, number: Any, budget: Budget | None = None) -> Any:
        return compare(to_number(value, budget), number)

    return compare_numbers


def _equals_number(value: Any, number: Any, budget: Budget | None = None) -> bool:
    if type(value) is int or type(value) is float:
        return bool(value == number)
    return value is not None and coerced_number(value, budget) == number


def _differs_from_number(value: Any, number: Any, budget: Budget | None = None) -> bool:
    return not _equals_number(value, number, budget)


_WITH_NUMBER = {
    **{name: _with_number(COMPARE[name]) for name in (">", ">=", "<", "<=")},
    "==": _equals_number,
    "!=": _differs_from_number,
}


Comparison = tuple[str, tuple[str, ...], Any]
"""A comparison of a variable with a constant: its name, the path of the variable, and the constant, a scalar."""


def comparison_leaf(name: str, parts: tuple[str, ...], constant: Any) -> Closure:
    """Compare a variable with a constant.

    Args:
        name: The comparison.
        parts: The path of the variable, one part at least.
        constant: The constant, a scalar.

    Returns:
        The closure; it gives a bool.
    """
    make, exact = _LEAVES.get(type(constant), _OTHER_LEAVES)[name]
    leaf = make(parts[-1], constant, exact)
    return leaf if len(parts) == 1 else below(parts[:-1], leaf)


def number_leaf(name: str, value_of: Closure, constant: Any) -> Closure:
    """Compare any value with a number.

    Args:
        name: The comparison.
        value_of: Computes the value.
        constant: The number.

    Returns:
        The closure; it gives a bool.
    """
    exact, compare = exact_comparison(name, constant), COMPARE[name]

    def compare_value(context: Any, budget: Budget | None = None) -> Any:
        value = value_of(context, budget)
        kind = type(value)
        return compare(value, constant) if kind is int or kind is float else exact(value, constant, budget)

    return compare_value


def item_leaf(name: str, constant: Any) -> Closure:
    """Compare the context itself, mostly an item of a list, with a number.

    Args:
        name: The comparison.
        constant: The number.

    Returns:
        The closure; it gives a bool.
    """
    exact, compare = exact_comparison(name, constant), COMPARE[name]

    def compare_item(context: Any, budget: Budget | None = None) -> Any:
        kind = type(context)
        return compare(context, constant) if kind is int or kind is float else exact(context, constant, budget)

    return compare_item


def _any_leaf(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    def compare(context: Any, budget: Budget | None = None) -> Any:
        return exact(find(context, key), constant, budget)

    return compare


def _number_at_least(key: str, constant: Any, _exact: Callable[..., Any]) -> Closure:
    read = entry

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        if type(value) is int or type(value) is float:
            return value >= constant
        if type(value) is str and len(value) <= EXACT_DIGITS and value.isdigit() and value.isascii():
            return int(value) >= constant
        return coerced_number(value, budget) >= constant

    return compare


def _number_greater(key: str, constant: Any, _exact: Callable[..., Any]) -> Closure:
    read = entry

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        if type(value) is int or type(value) is float:
            return value > constant
        if type(value) is str and len(value) <= EXACT_DIGITS and value.isdigit() and value.isascii():
            return int(value) > constant
        return coerced_number(value, budget) > constant

    return compare


def _number_at_most(key: str, constant: Any, _exact: Callable[..., Any]) -> Closure:
    read = entry

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        if type(value) is int or type(value) is float:
            return value <= constant
        if type(value) is str and len(value) <= EXACT_DIGITS and value.isdigit() and value.isascii():
            return int(value) <= constant
        return coerced_number(value, budget) <= constant

    return compare


def _number_less(key: str, constant: Any, _exact: Callable[..., Any]) -> Closure:
    read = entry

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        if type(value) is int or type(value) is float:
            return value < constant
        if type(value) is str and len(value) <= EXACT_DIGITS and value.isdigit() and value.isascii():
            return int(value) < constant
        return coerced_number(value, budget) < constant

    return compare


def _number_equal(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    read = entry

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        if type(value) is int or type(value) is float:
            return value == constant
        return exact(value, constant, budget)

    return compare


def _number_unequal(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    read = entry

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        if type(value) is int or type(value) is float:
            return value != constant
        return exact(value, constant, budget)

    return compare


def _text_equal(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    read = entry

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        if type(value) is str:
            return value == constant
        return exact(value, constant, budget)

    return compare


def _text_unequal(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    read = entry

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        if type(value) is str:
            return value != constant
        return exact(value, constant, budget)

    return compare


_OTHER_LEAVES: _Leaves = {name: (_any_leaf, exact) for name, exact in PAIRS.items()}
_TEXT_LEAVES: _Leaves = {
    **_OTHER_LEAVES,
    "==": (_text_equal, PAIRS["=="]),
    "===": (_text_equal, PAIRS["==="]),
    "!=": (_text_unequal, PAIRS["!="]),
    "!==": (_text_unequal, PAIRS["!=="]),
}
_NUMBER_LEAVES: _Leaves = {
    ">=": (_number_at_least, PAIRS[">="]),
    ">": (_number_greater, PAIRS[">"]),
    "<=": (_number_at_most, PAIRS["<="]),
    "<": (_number_less, PAIRS["<"]),
    "==": (_number_equal, _equals_number),
    "===": (_number_equal, PAIRS["==="]),
    "!=": (_number_unequal, _differs_from_number),
    "!==": (_number_unequal, PAIRS["!=="]),
}
_LEAVES: dict[type, _Leaves] = {int: _NUMBER_LEAVES, float: _NUMBER_LEAVES, str: _TEXT_LEAVES}
