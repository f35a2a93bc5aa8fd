"""``ranges``: whether a value lies between two others, and how long something is."""

from __future__ import annotations

from typing import Any

from automate_core.rules.coercion import plain
from automate_core.rules.comparisons import at_most
from automate_core.rules.limits import Budget
from automate_core.rules.operators import Form, Operator

__all__ = ["OPERATORS"]

_ORDERED = frozenset({int, float, str})


def _between(budget: Budget | None, value: Any, low: Any, high: Any) -> bool:
    """Compare as ``<=`` does, ends included; unlike there, what is missing is not 0."""
    if not all(type(plain(item)) in _ORDERED for item in (value, low, high)):
        return False
    return at_most(low, value, budget) and at_most(value, high, budget)


def _length(_budget: Budget | None, value: Any) -> int | None:
    value = plain(value)
    if value is None:
        return 0
    return len(value) if isinstance(value, str | list | dict) else None


OPERATORS = (
    Operator(
        "between",
        3,
        3,
        None,
        Form.TEST,
        _between,
        boolean=True,
        budgeted=True,
        trusted=True,
        says=("is at least {1} and at most {2}", "be at least {1} and at most {2}"),
    ),
    Operator("length", 1, 1, function=_length, trusted=True, says=("the length of {0}",)),
)
"""What the group adds."""
