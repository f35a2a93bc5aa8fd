"""Closures for the comparison of a variable with a constant, by far the most frequent leaf of rules."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from automate_core.rules.coercion import to_number
from automate_core.rules.comparisons import PAIRS
from automate_core.rules.leaves import Closure
from automate_core.rules.limits import Budget
from automate_core.rules.paths import step

__all__ = ["COMPARE", "MIRRORED", "comparison_leaf", "exact_comparison", "item_leaf", "number_leaf"]

_Leaf = Callable[[str, Any, Callable[..., Any]], Closure]
"""Takes the key, the constant and the exact function."""

_NUMBERS = frozenset({int, float})


def _below(parents: tuple[str, ...], leaf: Closure) -> Closure:
    """Go down a path before a leaf reads its key."""
    if not parents:
        return leaf
    if len(parents) == 1:
        parent = parents[0]

        def child(context: Any, budget: Budget | None = None) -> Any:
            return leaf(context.get(parent) if type(context) is dict else step(context, parent), budget)

        return child

    return _descend(parents, leaf)


def _descend(parents: tuple[str, ...], leaf: Closure) -> Closure:
    trusted = True

    def descendant(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if trusted:
            value = context
            try:
                for part in parents:
                    if type(value) is not dict:
                        break
                    value = value[part]
                else:
                    return leaf(value, budget)
            except KeyError:
                trusted = False
        for part in parents:
            if type(context) is dict:
                context = context.get(part)
            elif context is None:
                break
            else:
                context = step(context, part)
        return leaf(context, budget)

    return descendant


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


_WITH_NUMBER = {name: _with_number(COMPARE[name]) for name in (">", ">=", "<", "<=")}


def comparison_leaf(name: str, parts: tuple[str, ...], constant: Any) -> Closure:
    """Compare a variable with a constant.

    Args:
        name: The comparison.
        parts: The path of the variable, one part at least.
        constant: The constant, a scalar.

    Returns:
        The closure; it gives a bool.
    """
    exact = exact_comparison(name, constant)
    kind = type(constant)
    if kind is int or kind is float:
        leaf = _NUMBER_LEAVES[name]
    elif kind is str:
        leaf = _TEXT_LEAVES.get(name, _any_leaf)
    else:
        leaf = _any_leaf
    return _below(parts[:-1], leaf(parts[-1], constant, exact)) if len(parts) > 1 else leaf(parts[0], constant, exact)


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
        value = context.get(key) if type(context) is dict else step(context, key)
        return exact(value, constant, budget)

    return compare


def _number_at_least(key: str, constant: Any, _exact: Callable[..., Any]) -> Closure:
    trusted: Any = dict

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if type(context) is trusted:
            try:
                value = context[key]
            except KeyError:
                trusted = value = None
        else:
            value = context.get(key) if type(context) is dict else step(context, key)
        if type(value) is int or type(value) is float:
            return value >= constant
        return to_number(value, budget) >= constant

    return compare


def _number_greater(key: str, constant: Any, _exact: Callable[..., Any]) -> Closure:
    trusted: Any = dict

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if type(context) is trusted:
            try:
                value = context[key]
            except KeyError:
                trusted = value = None
        else:
            value = context.get(key) if type(context) is dict else step(context, key)
        if type(value) is int or type(value) is float:
            return value > constant
        return to_number(value, budget) > constant

    return compare


def _number_at_most(key: str, constant: Any, _exact: Callable[..., Any]) -> Closure:
    trusted: Any = dict

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if type(context) is trusted:
            try:
                value = context[key]
            except KeyError:
                trusted = value = None
        else:
            value = context.get(key) if type(context) is dict else step(context, key)
        if type(value) is int or type(value) is float:
            return value <= constant
        return to_number(value, budget) <= constant

    return compare


def _number_less(key: str, constant: Any, _exact: Callable[..., Any]) -> Closure:
    trusted: Any = dict

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if type(context) is trusted:
            try:
                value = context[key]
            except KeyError:
                trusted = value = None
        else:
            value = context.get(key) if type(context) is dict else step(context, key)
        if type(value) is int or type(value) is float:
            return value < constant
        return to_number(value, budget) < constant

    return compare


def _number_equal(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    trusted: Any = dict

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if type(context) is trusted:
            try:
                value = context[key]
            except KeyError:
                trusted = value = None
        else:
            value = context.get(key) if type(context) is dict else step(context, key)
        if type(value) is int or type(value) is float:
            return value == constant
        return exact(value, constant, budget)

    return compare


def _number_unequal(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    trusted: Any = dict

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if type(context) is trusted:
            try:
                value = context[key]
            except KeyError:
                trusted = value = None
        else:
            value = context.get(key) if type(context) is dict else step(context, key)
        if type(value) is int or type(value) is float:
            return value != constant
        return exact(value, constant, budget)

    return compare


def _text_equal(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    trusted: Any = dict

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if type(context) is trusted:
            try:
                value = context[key]
            except KeyError:
                trusted = value = None
        else:
            value = context.get(key) if type(context) is dict else step(context, key)
        if type(value) is str:
            return value == constant
        return exact(value, constant, budget)

    return compare


def _text_unequal(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    trusted: Any = dict

    def compare(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if type(context) is trusted:
            try:
                value = context[key]
            except KeyError:
                trusted = value = None
        else:
            value = context.get(key) if type(context) is dict else step(context, key)
        if type(value) is str:
            return value != constant
        return exact(value, constant, budget)

    return compare


_NUMBER_LEAVES: dict[str, _Leaf] = {
    ">=": _number_at_least,
    ">": _number_greater,
    "<=": _number_at_most,
    "<": _number_less,
    "==": _number_equal,
    "===": _number_equal,
    "!=": _number_unequal,
    "!==": _number_unequal,
}
_TEXT_LEAVES: dict[str, _Leaf] = {
    "==": _text_equal,
    "===": _text_equal,
    "!=": _text_unequal,
    "!==": _text_unequal,
}
