"""How two values are compared: loosely, strictly, by order, and by membership.

Every function takes any two values, and always gives true or false.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from automate_core.rules.coercion import JSON_TYPES, is_number, plain, to_number, to_text
from automate_core.rules.limits import MAX_PRODUCED, Budget

__all__ = [
    "PAIRS",
    "at_least",
    "at_most",
    "comparable",
    "contains",
    "greater",
    "less",
    "loose_equal",
    "not_equal",
    "not_identical",
    "strict_equal",
]


def loose_equal(first: Any, second: Any, budget: Budget | None = None) -> bool:
    """Compare as ``first == second`` does.

    Args:
        first: Any value.
        second: Any value.
        budget: Pays for long lists and texts.

    Returns:
        Whether they are equal after coercion; lists and objects equal only themselves.
    """
    if first is None or second is None:
        return first is second
    kind, other = type(first), type(second)
    if kind not in _SCALARS or other not in _SCALARS:
        first, second = plain(first), plain(second)
        kind, other = type(first), type(second)
    if kind in _SCALARS and other in _SCALARS:
        if kind is not other:
            return to_number(first, budget) == to_number(second, budget)
        if kind is str and budget is not None:
            budget.read_text(len(first))
        return bool(first == second)
    if kind not in _SCALARS and other not in _SCALARS:
        return first is second
    if kind is str or other is str:
        text, composite = (first, second) if kind is str else (second, first)
        return bool(text == to_text(composite, budget, len(text) + 1))
    return to_number(first, budget) == to_number(second, budget)


_SCALARS = frozenset({bool, int, float, str})


def strict_equal(first: Any, second: Any, budget: Budget | None = None) -> bool:
    """Compare as ``first === second`` does.

    Args:
        first: Any value.
        second: Any value.
        budget: Unused; every comparison takes one.

    Returns:
        Whether type and value are equal; lists and objects equal only themselves.
    """
    first, second = plain(first), plain(second)
    kind, other = type(first), type(second)
    if kind is other:
        return bool(first == second) if kind in _SCALARS else first is second
    return first == second if is_number(first) and is_number(second) else False


def comparable(first: Any, second: Any, budget: Budget | None = None) -> tuple[Any, Any]:
    """Coerce two values as ``<`` and ``>`` do.

    Args:
        first: Any value.
        second: Any value.
        budget: Pays for long lists and texts.

    Returns:
        Two texts where both values read as text, otherwise two numbers.
    """
    first, second = plain(first), plain(second)
    if type(first) in _NUMERIC or type(second) in _NUMERIC:
        return to_number(first, budget), to_number(second, budget)
    # Where texts differ in length, the order is clear one character after the shorter one's end.
    limit = min(len(value) + 1 if type(value) is str else MAX_PRODUCED for value in (first, second))
    if budget is not None:
        budget.read_text(limit)
    return to_text(first, budget, limit), to_text(second, budget, limit)


_NUMERIC = frozenset({bool, int, float, type(None)})


def not_equal(first: Any, second: Any, budget: Budget | None = None) -> bool:
    """Compare as ``first != second`` does."""
    return not loose_equal(first, second, budget)


def not_identical(first: Any, second: Any, budget: Budget | None = None) -> bool:
    """Compare as ``first !== second`` does."""
    return not strict_equal(first, second, budget)


def greater(first: Any, second: Any, budget: Budget | None = None) -> bool:
    """Compare as ``first > second`` does."""
    left, right = comparable(first, second, budget)
    return bool(left > right)


def at_least(first: Any, second: Any, budget: Budget | None = None) -> bool:
    """Compare as ``first >= second`` does."""
    left, right = comparable(first, second, budget)
    return bool(left >= right)


def less(first: Any, second: Any, budget: Budget | None = None) -> bool:
    """Compare as ``first < second`` does."""
    left, right = comparable(first, second, budget)
    return bool(left < right)


def at_most(first: Any, second: Any, budget: Budget | None = None) -> bool:
    """Compare as ``first <= second`` does."""
    left, right = comparable(first, second, budget)
    return bool(left <= right)


_ADAPTED_PER_VISIT = 2


def contains(budget: Budget | None, needle: Any, haystack: Any) -> bool:
    """Look for a text in a text, or strictly for a value in a list."""
    haystack = plain(haystack)
    if isinstance(haystack, str):
        return bool(haystack) and _text_contains(budget, haystack, needle)
    if not isinstance(haystack, list):
        return False
    if budget is not None:
        budget.read_items(len(haystack))
    needle = plain(needle)
    if type(needle) not in JSON_TYPES or isinstance(needle, list | dict):
        # Equal to nothing but itself. Python would compare lists item by item, however deep.
        return any(item is needle for item in haystack)
    if JSON_TYPES.issuperset(map(type, haystack)):
        # Python's equality is wider than the strict one, but only where it takes true for 1.
        return needle in haystack and (not isinstance(needle, int | float) or _holds_number(haystack, needle))
    if budget is not None:
        budget.visit(len(haystack) // _ADAPTED_PER_VISIT)
    return any(strict_equal(item, needle) for item in haystack)


def _holds_number(haystack: list[Any], needle: Any) -> bool:
    if type(needle) is bool:
        return any(item is needle for item in haystack)
    return any(item == needle for item in haystack if type(item) is not bool)


def _text_contains(budget: Budget | None, haystack: str, needle: Any) -> bool:
    if budget is not None:
        budget.scan_text(len(haystack))
    return to_text(needle, budget, len(haystack) + 1) in haystack


PAIRS: Mapping[str, Callable[..., bool]] = MappingProxyType(
    {
        "==": loose_equal,
        "===": strict_equal,
        "!=": not_equal,
        "!==": not_identical,
        ">": greater,
        ">=": at_least,
        "<": less,
        "<=": at_most,
    }
)
"""The comparisons of two values; each takes both and the budget."""
