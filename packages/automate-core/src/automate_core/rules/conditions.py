"""Closures for ``and``, ``or`` and ``if``: one for each, whatever it holds.

Where many conditions compare a key with a constant, they are grouped by shape and gone through in tight loops. That
changes their order, which nothing can tell: such a condition has no effect, and never raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeGuard

from automate_core.rules.coercion import EXACT_DIGITS, coerced_number, truthy
from automate_core.rules.comparison_leaves import COMPARE, Comparison, comparison_leaf
from automate_core.rules.comparisons import PAIRS
from automate_core.rules.leaves import Closure
from automate_core.rules.limits import Budget
from automate_core.rules.paths import entry, find, step

__all__ = ["Condition", "choose", "closure_of", "first_value", "join"]

_GROUPED_FROM = 4

Condition = Comparison | Closure
"""A condition of an ``and`` or an ``or``: a comparison that is not compiled yet, as that may be done together with
others, or the closure of anything else."""


def closure_of(condition: Condition) -> Closure:
    """Compile a condition by itself, if that is not done yet."""
    return comparison_leaf(*condition) if isinstance(condition, tuple) else condition


def join(conditions: Sequence[Condition], stop: bool, decided: bool = True) -> Closure:
    """Compile an ``and`` or an ``or``.

    Args:
        conditions: What it joins, one condition at least.
        stop: False for ``and``, true for ``or``.
        decided: Whether each of them gives a bool.

    Returns:
        The closure; it gives a bool where all conditions do.
    """
    if not decided:
        return first_value([closure_of(condition) for condition in conditions], stop)
    if len(conditions) >= _GROUPED_FROM:
        return _one_holds(*_grouped(conditions)) if stop else _all_hold(*_grouped(conditions))
    both, text_first, text_last = (_or, _text_or, _or_text) if stop else (_and, _text_and, _and_text)
    *rest, last = conditions
    if rest and _is_text_of_key(last) and not _is_text_of_key(rest[-1]):
        held = text_last(closure_of(rest.pop()), last[1][0], last[2], PAIRS[last[0]])
    else:
        held = closure_of(last)
    for condition in reversed(rest):
        if _is_text_of_key(condition):
            held = text_first(condition[1][0], condition[2], PAIRS[condition[0]], held)
        else:
            held = both(closure_of(condition), held)
    return held


def _is_text_of_key(condition: Condition) -> TypeGuard[Comparison]:
    """Tell whether a condition compares a key with a text for equality."""
    if not isinstance(condition, tuple):
        return False
    name, parts, constant = condition
    return type(constant) is str and len(parts) == 1 and name in _EQUALITIES


_EQUALITIES = frozenset({"==", "==="})
_ORDERS = {name: COMPARE[name] for name in (">", ">=", "<", "<=")}
_NUMBERS = frozenset({int, float})

_Groups = tuple[list[tuple[str, str, Closure]], list[tuple[str, Closure, Any]], list[Closure]]
"""Conditions by shape: a key equal to a text, a key beside a number in some order, and all others."""


def _grouped(conditions: Sequence[Condition]) -> _Groups:
    texts: list[tuple[str, str, Closure]] = []
    numbers: list[tuple[str, Closure, Any]] = []
    others: list[Closure] = []
    for condition in conditions:
        if not isinstance(condition, tuple):
            others.append(condition)
            continue
        name, parts, constant = condition
        if len(parts) == 1 and type(constant) in _NUMBERS and name in _ORDERS:
            numbers.append((parts[0], _ORDERS[name], constant))
        elif _is_text_of_key(condition):
            texts.append((parts[0], constant, PAIRS[name]))
        else:
            others.append(comparison_leaf(name, parts, constant))
    return texts, numbers, others


def _and(first: Closure, rest: Closure) -> Closure:
    return lambda context, budget=None: first(context, budget) and rest(context, budget)


def _text_and(key: str, text: str, exact: Closure, rest: Closure) -> Closure:
    read = entry

    def hold(context: Any, budget: Budget | None = None) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        if type(value) is str:
            return value == text and rest(context, budget)
        return exact(value, text, budget) and rest(context, budget)

    return hold


def _and_text(first: Closure, key: str, text: str, exact: Closure) -> Closure:
    read = entry

    def hold(context: Any, budget: Budget | None = None) -> Any:
        nonlocal read
        if not first(context, budget):
            return False
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        return value == text if type(value) is str else exact(value, text, budget)

    return hold


def _all_hold(texts: Sequence[Any], numbers: Sequence[Any], others: Sequence[Closure]) -> Closure:
    def hold(context: Any, budget: Budget | None = None) -> Any:
        get = context.get if type(context) is dict else partial(step, context)
        for key, text, exact in texts:
            value = get(key)
            if not (value == text if type(value) is str else exact(value, text, budget)):
                return False
        for key, compare, number in numbers:
            value = get(key)
            if type(value) is not int and type(value) is not float:
                if type(value) is str and value.isdigit() and value.isascii() and len(value) <= EXACT_DIGITS:
                    value = int(value)
                else:
                    value = coerced_number(value, budget)
            if not compare(value, number):
                return False
        for test in others:  # noqa: SIM110 - a generator would double the cost
            if not test(context, budget):
                return False
        return True

    return hold


def _or(first: Closure, rest: Closure) -> Closure:
    return lambda context, budget=None: first(context, budget) or rest(context, budget)


def _text_or(key: str, text: str, exact: Closure, rest: Closure) -> Closure:
    read = entry

    def hold(context: Any, budget: Budget | None = None) -> Any:
        nonlocal read
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        if type(value) is str:
            return value == text or rest(context, budget)
        return exact(value, text, budget) or rest(context, budget)

    return hold


def _or_text(first: Closure, key: str, text: str, exact: Closure) -> Closure:
    read = entry

    def hold(context: Any, budget: Budget | None = None) -> Any:
        nonlocal read
        if first(context, budget):
            return True
        try:
            value = read(context, key)
        except TypeError:
            read, value = find, find(context, key)
        return value == text if type(value) is str else exact(value, text, budget)

    return hold


def _one_holds(texts: Sequence[Any], numbers: Sequence[Any], others: Sequence[Closure]) -> Closure:
    def hold(context: Any, budget: Budget | None = None) -> Any:
        get = context.get if type(context) is dict else partial(step, context)
        for key, text, exact in texts:
            value = get(key)
            if value == text if type(value) is str else exact(value, text, budget):
                return True
        for key, compare, number in numbers:
            value = get(key)
            if type(value) is not int and type(value) is not float:
                if type(value) is str and value.isdigit() and value.isascii() and len(value) <= EXACT_DIGITS:
                    value = int(value)
                else:
                    value = coerced_number(value, budget)
            if compare(value, number):
                return True
        for test in others:  # noqa: SIM110 - a generator would double the cost
            if test(context, budget):
                return True
        return False

    return hold


def first_value(parts: Sequence[Closure], stop: bool) -> Closure:
    """Give the first value whose truth is ``stop``, or the last value.

    Args:
        parts: The closures of the operands.
        stop: False for ``and``, true for ``or``.

    Returns:
        The closure.
    """
    *head, last = parts

    def first(context: Any, budget: Budget | None = None) -> Any:
        for part in head:
            value = part(context, budget)
            if truthy(value) is stop:
                return value
        return last(context, budget)

    return first


def choose(branches: list[tuple[Closure, Closure]], last: Closure) -> Closure:
    """Give the value of the first branch whose condition holds, or the last value.

    Args:
        branches: Conditions, each of which gives a bool, and values.
        last: Gives the value where no condition holds.

    Returns:
        The closure.
    """
    if len(branches) == 1:
        ((condition, result),) = branches

        def either(context: Any, budget: Budget | None = None) -> Any:
            return result(context, budget) if condition(context, budget) else last(context, budget)

        return either

    def first_branch(context: Any, budget: Budget | None = None) -> Any:
        for condition, result in branches:
            if condition(context, budget):
                return result(context, budget)
        return last(context, budget)

    return first_branch
