"""Closures for the leaves of a rule: reading a variable, and computing with it and a constant.

They make up most of every rule, so each shape is one closure: the constant's type is known, and the exact function is
called only when the value has a type that the closure does not expect.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from automate_core.rules import arithmetic
from automate_core.rules.coercion import MAX_EXACT, plain, truthy
from automate_core.rules.limits import Budget
from automate_core.rules.paths import MISSING, step, walk

__all__ = ["Closure", "arithmetic_leaf", "membership_leaf", "read", "read_or", "truth_leaf"]

Closure = Callable[..., Any]
"""Takes the context and, optionally, the budget of the evaluation; gives a JSON value."""


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
            if type(context) is dict:
                context = context.get(part)
            elif context is None:
                break
            else:
                context = step(context, part)
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


def membership_leaf(parts: tuple[str, ...], constants: list[Any]) -> Closure:
    """Look for a variable in a list of constants.

    Args:
        parts: The path of the variable.
        constants: The list; lists and objects in it equal nothing.

    Returns:
        The closure; it gives a bool.
    """
    value_of = read(parts)
    texts = frozenset([item for item in constants if type(item) is str])
    known = [item for item in constants if type(item) in _NUMBERS]
    numbers = frozenset([item for item in known if -_HASHED < item < _HASHED])
    large = frozenset([hex(int(item)) for item in known if not -_HASHED < item < _HASHED])
    others = [item for item in constants if item is None or type(item) is bool]

    def contains(context: Any, budget: Budget | None = None) -> Any:
        value = value_of(context)
        if type(value) is str:
            return value in texts
        value = plain(value)
        kind = type(value)
        if kind in _NUMBERS:
            if -_HASHED < value < _HASHED:
                return value in numbers
            return value - value == 0 and hex(int(value)) in large
        return value in texts if kind is str else any(value is item for item in others)

    return contains


_NUMBERS = frozenset({int, float})
_HASHED = 2**60
"""Up to here Python hashes no two integers alike; beyond, a list can be made of those that it does."""


def arithmetic_leaf(name: str, path: tuple[str, ...] | None, value_of: Closure, constant: Any) -> Closure | None:
    """Compute with a value and a positive number.

    Args:
        name: The operator.
        path: The path of the first operand where it is a variable.
        value_of: Computes the first operand.
        constant: The second operand.

    Returns:
        The closure; None where this shape has none of its own.
    """
    if name not in _ARITHMETIC or type(constant) not in _NUMBERS or not 0 < constant <= MAX_EXACT:
        return None
    number, lowest = constant, -MAX_EXACT
    compute, exact = _ARITHMETIC[name]
    if path is not None and len(path) == 1:
        return _key_arithmetic(path[0], number, compute, exact)

    def compute_value(context: Any, budget: Budget | None = None) -> Any:
        value = value_of(context, budget)
        kind = type(value)
        if kind is float and value:
            return compute(value, number)
        if kind is int and lowest <= value <= MAX_EXACT:
            result = compute(value, number)
            if lowest <= result <= MAX_EXACT:
                return result
        return exact(budget, value, number)

    return compute_value


def _key_arithmetic(key: str, number: Any, compute: Callable[[Any, Any], Any], exact: Callable[..., Any]) -> Closure:
    lowest, highest = -MAX_EXACT, MAX_EXACT

    def compute_key(context: Any, budget: Budget | None = None) -> Any:
        value: Any = context.get(key) if type(context) is dict else step(context, key)
        kind = type(value)
        if kind is int and lowest <= value <= highest:
            result = compute(value, number)
            if lowest <= result <= highest:
                return result
        elif kind is float and value:
            return compute(value, number)
        return exact(budget, value, number)

    return compute_key


_ARITHMETIC: dict[str, tuple[Callable[[Any, Any], Any], Callable[..., Any]]] = {
    "+": (operator.add, arithmetic.add),
    "-": (operator.sub, arithmetic.subtract),
    "*": (operator.mul, arithmetic.multiply),
}
