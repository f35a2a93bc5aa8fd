"""Closures for rules that are one comparison of a key with a number or a text.

They are those of :mod:`~automate_core.rules.comparison_leaves` without the budget: such a rule needs none, and Python
calls a function faster that has no parameter to fill in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automate_core.rules.coercion import EXACT_DIGITS, NUMBER_STARTS, coerced_number
from automate_core.rules.comparison_leaves import comparison_leaf
from automate_core.rules.leaves import Closure
from automate_core.rules.paths import entry, find

__all__ = ["lone_leaf"]


def lone_leaf(name: str, parts: tuple[str, ...], constant: Any) -> Closure:
    """Compare a variable with a constant, as all that a rule does.

    Args:
        name: The comparison.
        parts: The path of the variable, one part at least.
        constant: The constant, a scalar.

    Returns:
        The closure; it takes the context and gives a bool.
    """
    make = _LEAVES.get(name) if len(parts) == 1 and type(constant) in _NUMBERS else None
    return comparison_leaf(name, parts, constant) if make is None else make(parts[0], constant)


_NUMBERS = frozenset({int, float})


def _at_least(key: str, number: Any) -> Closure:
    read = entry

    def evaluate(context: Any) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        kind = type(value)
        if kind is int or kind is float:
            return value >= number
        if kind is str:
            if value.isdigit() and len(value) <= EXACT_DIGITS and value.isascii():
                return int(value) >= number
            if value and value[0] not in NUMBER_STARTS:
                return False  # no number is above or below what is none
        return coerced_number(value, None) >= number

    return evaluate


def _greater(key: str, number: Any) -> Closure:
    read = entry

    def evaluate(context: Any) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        kind = type(value)
        if kind is int or kind is float:
            return value > number
        if kind is str:
            if value.isdigit() and len(value) <= EXACT_DIGITS and value.isascii():
                return int(value) > number
            if value and value[0] not in NUMBER_STARTS:
                return False  # no number is above or below what is none
        return coerced_number(value, None) > number

    return evaluate


def _at_most(key: str, number: Any) -> Closure:
    read = entry

    def evaluate(context: Any) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        kind = type(value)
        if kind is int or kind is float:
            return value <= number
        if kind is str:
            if value.isdigit() and len(value) <= EXACT_DIGITS and value.isascii():
                return int(value) <= number
            if value and value[0] not in NUMBER_STARTS:
                return False  # no number is above or below what is none
        return coerced_number(value, None) <= number

    return evaluate


def _less(key: str, number: Any) -> Closure:
    read = entry

    def evaluate(context: Any) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        kind = type(value)
        if kind is int or kind is float:
            return value < number
        if kind is str:
            if value.isdigit() and len(value) <= EXACT_DIGITS and value.isascii():
                return int(value) < number
            if value and value[0] not in NUMBER_STARTS:
                return False  # no number is above or below what is none
        return coerced_number(value, None) < number

    return evaluate


_LEAVES: dict[str, Callable[[str, Any], Closure]] = {">=": _at_least, ">": _greater, "<=": _at_most, "<": _less}
