"""What operators that compute may give: exactly for constants, else by their kind."""

from __future__ import annotations

from typing import Any

from automate_core.errors import RuleError
from automate_core.rules.limits import Budget
from automate_core.rules.lint.ranges import FILLED_TEXTS, NUMBERS
from automate_core.rules.lint.values import ANYTHING, Read, Values, constant
from automate_core.rules.operators import CLASSIC

__all__ = ["fold"]

_ANY_NUMBER = Values(number=NUMBERS, nan=True)
_ANY_TEXT = Values(("",), texts=Read(FILLED_TEXTS))
_BY_KIND = {
    **dict.fromkeys(("+", "-", "*", "/", "%", "max", "min"), _ANY_NUMBER),
    **dict.fromkeys(("cat", "substr"), _ANY_TEXT),
    "merge": Values(([],), lists=Read()),
}
_MAX_CONSTANT = 1_000


def fold(name: str, operands: list[Values]) -> Values:
    """Return what an operator may give.

    Args:
        name: The operator.
        operands: What its operands may be.
    """
    if name == "*" and len(operands) == 1:
        return operands[0]
    values = [operand.exact[0] for operand in operands if operand.is_exact and len(operand.exact) == 1]
    if name not in _BY_KIND:
        return ANYTHING
    if len(values) < len(operands) or any(isinstance(value, dict) for value in values):
        return _BY_KIND[name]
    function: Any = CLASSIC[name].function
    try:
        value = function(Budget(), *values)
    except RuleError:
        return ANYTHING
    is_short = not isinstance(value, str | list) or len(value) <= _MAX_CONSTANT
    return constant(value) if is_short else _BY_KIND[name]
