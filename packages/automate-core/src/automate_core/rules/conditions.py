"""Closures for ``and``, ``or`` and ``if``: one for each, whatever it holds.

Where many conditions stand in a row that compare a key with a constant, one closure goes through them in a tight loop.
Their order is always that of the rule: another one may end in a limit where this one does not.
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

_LOOPED_FROM = 4

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
    if len(conditions) >= _LOOPED_FROM:
        return _in_loops(conditions, stop)
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

_Compared = tuple[str, Any, Closure, bool]
"""A condition of a run: a key, the constant, how Python compares with a number (or the exact function for a text), and
whether the constant is a number."""


def _in_loops(conditions: Sequence[Condition], stop: bool) -> Closure:
    """Compile many conditions: a closure for each run of comparisons of a key, and one for each of the others."""
    tests: list[Closure] = []
    run: list[Comparison] = []
    for condition in conditions:
        if isinstance(condition, tuple) and (_is_number_of_key(condition) or _is_text_of_key(condition)):
            run.append(condition)
            continue
        if run:
            tests.append(_run(run, stop))
            run = []
        tests.append(closure_of(condition))
    if run:
        tests.append(_run(run, stop))
    if len(tests) == 1:
        return tests[0]
    return _one_holds(tests) if stop else _all_hold(tests)


def _run(comparisons: list[Comparison], stop: bool) -> Closure:
    if len(comparisons) == 1:
        return comparison_leaf(*comparisons[0])
    if all(_is_number_of_key(comparison) for comparison in comparisons):
        numbers = [(parts[0], _ORDERS[name], constant) for name, parts, constant in comparisons]
        return _one_number_holds(numbers) if stop else _all_numbers_hold(numbers)
    compared = [
        (parts[0], constant, _ORDERS[name], True) if name in _ORDERS else (parts[0], constant, PAIRS[name], False)
        for name, parts, constant in comparisons
    ]
    return _one_comparison_holds(compared) if stop else _all_comparisons_hold(compared)


def _is_number_of_key(comparison: Comparison) -> bool:
    """Tell whether a comparison asks for the order of a key and a number."""
    name, parts, constant = comparison
    return len(parts) == 1 and type(constant) in _NUMBERS and name in _ORDERS


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


def _all_numbers_hold(numbers: Sequence[tuple[str, Closure, Any]]) -> Closure:
    def hold(context: Any, budget: Budget | None = None) -> Any:
        get = context.get if type(context) is dict else partial(step, context)
        for key, compare, number in numbers:
            value = get(key)
            if type(value) is not int and type(value) is not float:
                if type(value) is str and len(value) <= EXACT_DIGITS and value.isdigit() and value.isascii():
                    value = int(value)
                else:
                    value = coerced_number(value, budget)
            if not compare(value, number):
                return False
        return True

    return hold


def _all_comparisons_hold(compared: Sequence[_Compared]) -> Closure:
    def hold(context: Any, budget: Budget | None = None) -> Any:
        get = context.get if type(context) is dict else partial(step, context)
        for key, constant, compare, with_number in compared:
            value = get(key)
            if with_number:
                if type(value) is not int and type(value) is not float:
                    value = coerced_number(value, budget)
                if not compare(value, constant):
                    return False
            elif not (value == constant if type(value) is str else compare(value, constant, budget)):
                return False
        return True

    return hold


def _all_hold(tests: Sequence[Closure]) -> Closure:
    def hold(context: Any, budget: Budget | None = None) -> Any:
        for test in tests:  # noqa: SIM110 - a generator would double the cost
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


def _one_number_holds(numbers: Sequence[tuple[str, Closure, Any]]) -> Closure:
    def hold(context: Any, budget: Budget | None = None) -> Any:
        get = context.get if type(context) is dict else partial(step, context)
        for key, compare, number in numbers:
            value = get(key)
            if type(value) is not int and type(value) is not float:
                if type(value) is str and len(value) <= EXACT_DIGITS and value.isdigit() and value.isascii():
                    value = int(value)
                else:
                    value = coerced_number(value, budget)
            if compare(value, number):
                return True
        return False

    return hold


def _one_comparison_holds(compared: Sequence[_Compared]) -> Closure:
    def hold(context: Any, budget: Budget | None = None) -> Any:
        get = context.get if type(context) is dict else partial(step, context)
        for key, constant, compare, with_number in compared:
            value = get(key)
            if with_number:
                if type(value) is not int and type(value) is not float:
                    value = coerced_number(value, budget)
                if compare(value, constant):
                    return True
            elif value == constant if type(value) is str else compare(value, constant, budget):
                return True
        return False

    return hold


def _one_holds(tests: Sequence[Closure]) -> Closure:
    def hold(context: Any, budget: Budget | None = None) -> Any:
        for test in tests:  # noqa: SIM110 - a generator would double the cost
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
