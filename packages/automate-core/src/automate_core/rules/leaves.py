"""Closures for the leaves of a rule: reading a variable, and comparing or computing with it and a constant.

They make up most of every rule, so each shape is one closure: the comparison is written out, the constant's type is
known, and the exact function is called only when the value has a type that the closure does not expect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automate_core.rules import operators
from automate_core.rules.coercion import MAX_EXACT, plain, truthy
from automate_core.rules.limits import Budget
from automate_core.rules.paths import MISSING, step, walk

__all__ = ["Closure", "arithmetic_leaf", "comparison_leaf", "membership_leaf", "read", "read_or", "truth_leaf"]

Closure = Callable[..., Any]
"""Takes the context and, optionally, the budget of the evaluation; gives a JSON value."""

_Leaf = Callable[[str, Any, Callable[..., Any]], Closure]
"""Takes the key, the constant and the exact function."""


def _below(parents: tuple[str, ...], leaf: Closure) -> Closure:
    """Go down a path before a leaf reads its key."""
    if not parents:
        return leaf
    if len(parents) == 1:
        parent = parents[0]

        def child(context: Any, budget: Budget | None = None) -> Any:
            return leaf(context.get(parent) if type(context) is dict else step(context, parent), budget)

        return child

    def descendant(context: Any, budget: Budget | None = None) -> Any:
        for part in parents:
            context = context.get(part) if type(context) is dict else step(context, part)
        return leaf(context, budget)

    return descendant


def read(parts: tuple[str, ...]) -> Closure:
    """Read a variable that is null where it is missing.

    Args:
        parts: Its path; none for the context itself.

    Returns:
        The closure.
    """
    if not parts:

        def whole(context: Any, budget: Budget | None = None) -> Any:
            return context

        return whole
    key = parts[-1]

    def value_of_key(context: Any, budget: Budget | None = None) -> Any:
        return context.get(key) if type(context) is dict else step(context, key)

    if len(parts) == 1:
        return value_of_key

    def value_of_path(context: Any, budget: Budget | None = None) -> Any:
        for part in parts:
            context = context.get(part) if type(context) is dict else step(context, part)
        return context

    return value_of_path


def read_or(parts: tuple[str, ...], default: Closure) -> Closure:
    """Read a variable that has a default.

    Args:
        parts: Its path.
        default: Computes what a missing variable gives.

    Returns:
        The closure.
    """

    def value_or_default(context: Any, budget: Budget | None = None) -> Any:
        found = walk(context, parts)
        return default(context, budget) if found is MISSING else found

    return value_or_default


def truth_leaf(parts: tuple[str, ...], negate: bool = False) -> Closure:
    """Tell whether a variable is truthy.

    Args:
        parts: Its path.
        negate: Whether to tell that it is not.

    Returns:
        The closure; it gives a bool.
    """
    value_of = read(parts)

    def holds(context: Any, budget: Budget | None = None) -> Any:
        value = value_of(context)
        return value if type(value) is bool else truthy(value)

    def fails(context: Any, budget: Budget | None = None) -> Any:
        return not truthy(value_of(context))

    return fails if negate else holds


def comparison_leaf(name: str, parts: tuple[str, ...], constant: Any, exact: Callable[..., Any]) -> Closure:
    """Compare a variable with a constant.

    Args:
        name: The comparison.
        parts: The path of the variable, one part at least.
        constant: The constant, a scalar.
        exact: The exact function behind the comparison; takes both values and the budget.

    Returns:
        The closure; it gives a bool.
    """
    kind = type(constant)
    if kind is int or kind is float:
        leaf = _NUMBER_LEAVES.get(name, _any_leaf)
    elif kind is str:
        leaf = _TEXT_LEAVES.get(name, _any_leaf)
    else:
        leaf = _any_leaf
    return _below(parts[:-1], leaf(parts[-1], constant, exact))


def _any_leaf(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    def compare(context: Any, budget: Budget | None = None) -> Any:
        value = context.get(key) if type(context) is dict else step(context, key)
        return exact(value, constant, budget)

    return compare


def _number_at_least(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    def compare(context: Any, budget: Budget | None = None) -> Any:
        if type(context) is dict:
            value = context.get(key)
            kind = type(value)
            if kind is int or kind is float:
                return value >= constant
        else:
            value = step(context, key)
        return exact(value, constant, budget)

    return compare


def _number_greater(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    def compare(context: Any, budget: Budget | None = None) -> Any:
        if type(context) is dict:
            value = context.get(key)
            kind = type(value)
            if kind is int or kind is float:
                return value > constant
        else:
            value = step(context, key)
        return exact(value, constant, budget)

    return compare


def _number_at_most(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    def compare(context: Any, budget: Budget | None = None) -> Any:
        if type(context) is dict:
            value = context.get(key)
            kind = type(value)
            if kind is int or kind is float:
                return value <= constant
        else:
            value = step(context, key)
        return exact(value, constant, budget)

    return compare


def _number_less(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    def compare(context: Any, budget: Budget | None = None) -> Any:
        if type(context) is dict:
            value = context.get(key)
            kind = type(value)
            if kind is int or kind is float:
                return value < constant
        else:
            value = step(context, key)
        return exact(value, constant, budget)

    return compare


def _number_equal(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    def compare(context: Any, budget: Budget | None = None) -> Any:
        if type(context) is dict:
            value = context.get(key)
            kind = type(value)
            if kind is int or kind is float:
                return value == constant
        else:
            value = step(context, key)
        return exact(value, constant, budget)

    return compare


def _number_unequal(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    def compare(context: Any, budget: Budget | None = None) -> Any:
        if type(context) is dict:
            value = context.get(key)
            kind = type(value)
            if kind is int or kind is float:
                return value != constant
        else:
            value = step(context, key)
        return exact(value, constant, budget)

    return compare


def _text_equal(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    def compare(context: Any, budget: Budget | None = None) -> Any:
        if type(context) is dict:
            value = context.get(key)
            if type(value) is str:
                return value == constant
        else:
            value = step(context, key)
        return exact(value, constant, budget)

    return compare


def _text_unequal(key: str, constant: Any, exact: Callable[..., Any]) -> Closure:
    def compare(context: Any, budget: Budget | None = None) -> Any:
        if type(context) is dict:
            value = context.get(key)
            if type(value) is str:
                return value != constant
        else:
            value = step(context, key)
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


def membership_leaf(parts: tuple[str, ...], constants: list[Any]) -> Closure:
    """Look for a variable in a list of constants.

    Args:
        parts: The path of the variable.
        constants: The list; lists and objects in it equal nothing.

    Returns:
        The closure; it gives a bool.
    """
    value_of = read(parts)
    texts = frozenset(item for item in constants if type(item) is str)
    numbers = frozenset(item for item in constants if type(item) in _NUMBERS)
    others = [item for item in constants if item is None or type(item) is bool]

    def contains(context: Any, budget: Budget | None = None) -> Any:
        value = value_of(context)
        if type(value) is str:
            return value in texts
        value = plain(value)
        kind = type(value)
        if kind in _NUMBERS:
            return value in numbers
        return value in texts if kind is str else any(value is item for item in others)

    return contains


_NUMBERS = frozenset({int, float})


def arithmetic_leaf(name: str, value_of: Closure, constant: Any) -> Closure | None:
    """Compute with a value and a positive number.

    Args:
        name: The operator.
        value_of: Computes the first operand.
        constant: The second operand.

    Returns:
        The closure; None where this shape has none of its own.
    """
    if type(constant) not in _NUMBERS or not 0 < constant <= MAX_EXACT:
        return None
    leaf = _ARITHMETIC_LEAVES.get(name)
    return None if leaf is None else leaf(value_of, constant)


def _plus(value_of: Closure, constant: Any) -> Closure:
    def compute(context: Any, budget: Budget | None = None) -> Any:
        value = value_of(context, budget)
        kind = type(value)
        if kind is float or (kind is int and -MAX_EXACT <= value < MAX_EXACT):
            result = value + constant
            return result if -MAX_EXACT <= result <= MAX_EXACT else float(result)
        return operators.add(budget, value, constant)

    return compute


def _minus(value_of: Closure, constant: Any) -> Closure:
    def compute(context: Any, budget: Budget | None = None) -> Any:
        value = value_of(context, budget)
        kind = type(value)
        if kind is float or (kind is int and -MAX_EXACT <= value <= MAX_EXACT):
            result = value - constant
            return result if -MAX_EXACT <= result <= MAX_EXACT else float(result)
        return operators.subtract(budget, value, constant)

    return compute


def _times(value_of: Closure, constant: Any) -> Closure:
    def compute(context: Any, budget: Budget | None = None) -> Any:
        value = value_of(context, budget)
        kind = type(value)
        if kind is float or (kind is int and -MAX_EXACT <= value <= MAX_EXACT):
            result = value * constant
            return result if -MAX_EXACT <= result <= MAX_EXACT else float(result)
        return operators.multiply(budget, value, constant)

    return compute


_ARITHMETIC_LEAVES: dict[str, Callable[[Closure, Any], Closure]] = {"+": _plus, "-": _minus, "*": _times}
