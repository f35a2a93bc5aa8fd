"""Closures for ``and`` and ``or``: one for each, whatever it holds.

Where many conditions compare a key with a constant, they are grouped by shape and gone through in tight loops. That
changes their order, which nothing can tell: such a condition has no effect, and never raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from automate_core.rules.coercion import truthy
from automate_core.rules.comparison_leaves import COMPARE, exact_comparison
from automate_core.rules.leaves import Closure
from automate_core.rules.limits import Budget
from automate_core.rules.paths import step

__all__ = ["all_hold", "first_value", "one_holds"]

_GROUPED_FROM = 4


def _key_of(variable: Any) -> str | None:
    """Read a variable that is a key of the context; None for anything else."""
    key = variable.get("var") if type(variable) is dict else None
    return key if type(key) is str and key and "." not in key else None


def _key_condition(rule: Any) -> tuple[str, str, Any] | None:
    """Read a comparison of a key with a text or a number; None for any other condition."""
    ((name, given),) = rule.items() if type(rule) is dict and rule else (("", None),)
    if name not in COMPARE or type(given) is not list or len(given) != 2 or type(given[1]) not in _GROUPED_CONSTANTS:
        return None
    key = _key_of(given[0])
    return None if key is None else (name, key, given[1])


_GROUPED_CONSTANTS = frozenset({int, float, str})


def _text_condition(rule: Any) -> tuple[str, str, Closure] | None:
    """Read an equality of a key and a text: the key, the text, and the exact comparison."""
    if type(rule) is not dict:
        return None
    name = "==" if "==" in rule else "==="
    given = rule.get(name)
    if type(given) is not list or len(given) != 2 or type(given[1]) is not str:
        return None
    key = _key_of(given[0])
    return None if key is None else (key, given[1], exact_comparison(name, given[1]))


_EQUALITIES = frozenset({"==", "==="})


class _Groups:
    """Conditions by shape: a key equal to a text, a key compared with a number, and all others."""

    __slots__ = ("numbers", "others", "texts")

    def __init__(self, rules: Sequence[Any], tests: Sequence[Closure]) -> None:
        self.texts: list[tuple[str, str, Closure]] = []
        self.numbers: list[tuple[str, Any, Any, Closure]] = []
        self.others: list[Closure] = []
        for rule, test in zip(rules, tests, strict=True):
            condition = _key_condition(rule)
            if condition is None or (type(condition[2]) is str and condition[0] not in _EQUALITIES):
                self.others.append(test)
                continue
            name, key, constant = condition
            exact = exact_comparison(name, constant)
            if type(constant) is str:
                self.texts.append((key, constant, exact))
            else:
                self.numbers.append((key, COMPARE[name], constant, exact))


def all_hold(rules: list[Any], tests: Sequence[Closure]) -> Closure:
    """Tell whether all conditions hold.

    Args:
        rules: The conditions.
        tests: Their closures, each of which gives a bool.

    Returns:
        The closure; it gives a bool.
    """
    if len(tests) >= _GROUPED_FROM:
        return _all_hold(_Groups(rules, tests), tuple(tests))
    held = tests[-1]
    for rule, test in zip(rules[-2::-1], tests[-2::-1], strict=True):
        text = _text_condition(rule)
        held = _and(test, held) if text is None else _text_and(*text, held)
    return held


def _and(first: Closure, rest: Closure) -> Closure:
    return lambda context, budget=None: first(context, budget) and rest(context, budget)


def _text_and(key: str, text: str, exact: Closure, rest: Closure) -> Closure:
    trusted: Any = dict

    def hold(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if type(context) is trusted:
            try:
                value = context[key]
            except KeyError:
                trusted = value = None
        else:
            value = context.get(key) if type(context) is dict else step(context, key)
        if type(value) is str:
            return value == text and rest(context, budget)
        return exact(value, text, budget) and rest(context, budget)

    return hold


def _all_hold(groups: _Groups, every: tuple[Closure, ...]) -> Closure:
    texts, numbers, others = groups.texts, groups.numbers, groups.others

    def hold(context: Any, budget: Budget | None = None) -> Any:
        if type(context) is not dict:
            return all(test(context, budget) for test in every)
        get = context.get
        for key, text, exact in texts:
            value = get(key)
            if not (value == text if type(value) is str else exact(value, text, budget)):
                return False
        for key, compare, number, exact in numbers:
            value = get(key)
            kind = type(value)
            if not (compare(value, number) if kind is int or kind is float else exact(value, number, budget)):
                return False
        for test in others:  # noqa: SIM110 - a generator would double the cost
            if not test(context, budget):
                return False
        return True

    return hold


def one_holds(rules: list[Any], tests: Sequence[Closure]) -> Closure:
    """Tell whether one condition holds; the arguments are those of :func:`all_hold`."""
    if len(tests) >= _GROUPED_FROM:
        return _one_holds(_Groups(rules, tests), tuple(tests))
    held = tests[-1]
    for rule, test in zip(rules[-2::-1], tests[-2::-1], strict=True):
        text = _text_condition(rule)
        held = _or(test, held) if text is None else _text_or(*text, held)
    return held


def _or(first: Closure, rest: Closure) -> Closure:
    return lambda context, budget=None: first(context, budget) or rest(context, budget)


def _text_or(key: str, text: str, exact: Closure, rest: Closure) -> Closure:
    trusted: Any = dict

    def hold(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if type(context) is trusted:
            try:
                value = context[key]
            except KeyError:
                trusted = value = None
        else:
            value = context.get(key) if type(context) is dict else step(context, key)
        if type(value) is str:
            return value == text or rest(context, budget)
        return exact(value, text, budget) or rest(context, budget)

    return hold


def _one_holds(groups: _Groups, every: tuple[Closure, ...]) -> Closure:
    texts, numbers, others = groups.texts, groups.numbers, groups.others

    def hold(context: Any, budget: Budget | None = None) -> Any:
        if type(context) is not dict:
            return any(test(context, budget) for test in every)
        get = context.get
        for key, text, exact in texts:
            value = get(key)
            if value == text if type(value) is str else exact(value, text, budget):
                return True
        for key, compare, number, exact in numbers:
            value = get(key)
            kind = type(value)
            if compare(value, number) if kind is int or kind is float else exact(value, number, budget):
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

    def choose(context: Any, budget: Budget | None = None) -> Any:
        for part in head:
            value = part(context, budget)
            if truthy(value) is stop:
                return value
        return last(context, budget)

    return choose
