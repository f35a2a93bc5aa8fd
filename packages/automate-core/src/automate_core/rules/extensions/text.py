"""``text``: case, space around, beginnings and ends.

Numbers count as their text. Everything else that is no text gives null, or false where the operator is a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automate_core.rules.coercion import is_number, number_text, plain
from automate_core.rules.limits import Budget
from automate_core.rules.operators import Form, Operator

__all__ = ["OPERATORS", "text_of"]


def text_of(value: Any) -> str | None:
    """Read a value as a text.

    Args:
        value: Any value.

    Returns:
        A text unchanged, a number as its text; None for everything else.
    """
    value = plain(value)
    if type(value) is str:
        return value
    return number_text(value) if is_number(value) else None


def _changed(change: Callable[[str], str]) -> Callable[..., Any]:
    def function(budget: Budget | None, value: Any) -> Any:
        text = text_of(value)
        if text is None:
            return None
        if budget is not None:
            budget.read_text(len(text))
        made = change(text)
        if budget is not None:
            budget.produce(len(made))
        return made

    return function


def _compared(compare: Callable[[str, str], bool]) -> Callable[..., Any]:
    def function(budget: Budget | None, value: Any, piece: Any) -> Any:
        text, wanted = text_of(value), text_of(piece)
        if budget is not None:
            budget.read_text(0 if wanted is None else len(wanted))
        return text is not None and wanted is not None and compare(text, wanted)

    return function


def _value(name: str, change: Callable[[str], str], phrase: str) -> Operator:
    return Operator(name, 1, 1, function=_changed(change), budgeted=True, trusted=True, says=(phrase,))


def _test(name: str, compare: Callable[[str, str], bool], verb: str) -> Operator:
    says = (f"{verb}s with {{1}}", f"{verb} with {{1}}")
    return Operator(
        name, 2, 2, None, Form.TEST, _compared(compare), boolean=True, budgeted=True, trusted=True, says=says
    )


OPERATORS = (
    _value("lower", str.lower, "{0} in lower case"),
    _value("upper", str.upper, "{0} in upper case"),
    _value("trim", str.strip, "{0} without space around it"),
    _test("starts_with", str.startswith, "start"),
    _test("ends_with", str.endswith, "end"),
)
"""What the group adds."""
