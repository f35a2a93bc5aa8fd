"""The exact functions of the dialect: as in JavaScript, but for a number that is none, which is an error."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from automate_core.rules.arithmetic import highest, lowest, settle
from automate_core.rules.coercion import Number, is_number, plain, to_double, to_number, whole
from automate_core.rules.comparisons import not_identical, strict_equal
from automate_core.rules.failures import INVALID_ARGUMENTS, NOT_A_NUMBER, Failure
from automate_core.rules.limits import Budget

__all__ = ["COMPARISONS", "add", "divide", "largest", "modulo", "multiply", "smallest", "subtract", "throw"]


def _number(value: Any, budget: Budget | None) -> Number:
    value = plain(value)
    if isinstance(value, list):
        raise Failure(NOT_A_NUMBER, NOT_A_NUMBER)
    return _known(to_number(value, budget))


def _known(number: Number) -> Number:
    if number != number:
        raise Failure(NOT_A_NUMBER, NOT_A_NUMBER)
    return number


def _operands(budget: Budget | None, values: tuple[Any, ...], minimum: int = 0) -> list[Number]:
    if len(values) < minimum:
        raise Failure(INVALID_ARGUMENTS, INVALID_ARGUMENTS)
    return [to_double(_number(value, budget)) for value in values]


def add(budget: Budget | None, *values: Any) -> Number:
    """Add up; nothing gives 0."""
    total: Number = 0
    for number in _operands(budget, values):
        total = _known(settle(total + number))
    return total


def multiply(budget: Budget | None, *values: Any) -> Number:
    """Multiply; nothing gives 1."""
    product: Number = 1
    for number in _operands(budget, values):
        product = _known(settle(product * number))
    return product


def subtract(budget: Budget | None, *values: Any) -> Number:
    """Subtract all further numbers from the first; negate a single one."""
    first, *rest = _operands(budget, values, 1)
    if not rest:
        return -first
    for number in rest:
        first = _known(settle(first - number))
    return first


def divide(budget: Budget | None, *values: Any) -> Number:
    """Divide the first number by all further ones; a single one divides 1."""
    first, *rest = _operands(budget, values, 1)
    if not rest:
        first, rest = 1, [first]
    for number in rest:
        if number == 0:
            raise Failure(NOT_A_NUMBER, NOT_A_NUMBER)
        first = whole(_known(first / number))
    return first


def modulo(budget: Budget | None, *values: Any) -> Number:
    """Give the remainder, with the sign of the dividend, of the first number by all further ones in turn."""
    first, *rest = _operands(budget, values, 2)
    for number in rest:
        if number == 0 or math.isinf(first):
            raise Failure(NOT_A_NUMBER, NOT_A_NUMBER)
        first = whole(math.fmod(first, number))
    return first


def largest(budget: Budget | None, *values: Any) -> Number:
    """Give the largest number of one or more."""
    return highest(_operands(budget, values, 1))


def smallest(budget: Budget | None, *values: Any) -> Number:
    """Give the smallest number of one or more."""
    return lowest(_operands(budget, values, 1))


def throw(given: list[Any]) -> Callable[..., Any]:
    """Prepare what fails with a value; only what is written in the rule is named in messages."""
    what = given[0] if isinstance(given[0], str) else None

    def function(_budget: Budget | None, value: Any) -> Any:
        raise Failure(plain(value), what)

    return function


def _loose(compare: Callable[[Any, Any], Any]) -> Callable[..., bool]:
    """Compare two texts as texts, and everything else as numbers."""

    def function(first: Any, second: Any, budget: Budget | None) -> bool:
        first, second = plain(first), plain(second)
        if isinstance(first, str) and isinstance(second, str):
            if budget is not None:
                budget.read_text(min(len(first), len(second)))
            return bool(compare(first, second))
        if is_number(first) and is_number(second):
            return bool(compare(_known(first), _known(second)))
        return bool(compare(_number(first, budget), _number(second, budget)))

    return function


COMPARISONS: Mapping[str, Callable[..., bool]] = {
    "==": _loose(operator.eq),
    "!=": _loose(operator.ne),
    "===": strict_equal,
    "!==": not_identical,
    ">": _loose(operator.gt),
    ">=": _loose(operator.ge),
    "<": _loose(operator.lt),
    "<=": _loose(operator.le),
}
"""The comparisons of two values; each takes both and the budget."""
