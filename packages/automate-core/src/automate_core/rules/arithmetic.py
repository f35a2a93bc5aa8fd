"""The operators that compute with numbers, as JavaScript does: no number is NaN, and nothing raises."""

from __future__ import annotations

import math
from typing import Any

from automate_core.rules.coercion import INFINITY, NAN, Number, parse_number, to_double, to_number, whole
from automate_core.rules.limits import Budget

__all__ = [
    "add",
    "divide",
    "highest",
    "largest",
    "lowest",
    "modulo",
    "multiply",
    "settle",
    "smallest",
    "subtract",
]


def settle(number: Number) -> Number:
    """Keep integers only as far as JavaScript knows them."""
    return to_double(number) if type(number) is int else number


def add(budget: Budget | None, *values: Any) -> Number:
    """Add the numbers at the beginning of the texts of the values."""
    total: Number = 0
    for value in values:
        total = settle(total + parse_number(value, budget))
    return total


def multiply(budget: Budget | None, *values: Any) -> Any:
    """Multiply as ``*`` of json-logic-js: one value comes back unchanged; none gives null."""
    if len(values) < 2:
        return values[0] if values else None
    product = parse_number(values[0], budget)
    for value in values[1:]:
        factor = parse_number(value, budget)
        product = settle(product * factor) if product and factor else _nothing(product, factor)
    return product


def _nothing(product: Number, factor: Number) -> Number:
    """Multiply where one of two numbers is zero, which may give the negative zero of JavaScript."""
    zero = float(product) * float(factor)
    return whole(zero) if type(product) is type(factor) is int else zero


def subtract(budget: Budget | None, first: Any, *second: Any) -> Number:
    """Subtract, or negate a single value."""
    left = to_double(to_number(first, budget))
    if not second:
        return -left if left else -float(left)
    return settle(left - to_double(to_number(second[0], budget)))


def divide(budget: Budget | None, first: Any, *second: Any) -> Number:
    """Divide; by zero gives an infinity or NaN, a single value gives NaN."""
    if not second:
        return NAN
    left, right = to_double(to_number(first, budget)), to_double(to_number(second[0], budget))
    if right == 0:
        if left == 0 or left != left:
            return NAN
        return math.copysign(INFINITY, left) * math.copysign(1, right)
    return whole(left / right)


def modulo(budget: Budget | None, first: Any, second: Any) -> Number:
    """Give the remainder with the sign of the dividend."""
    left, right = to_double(to_number(first, budget)), to_double(to_number(second, budget))
    if right == 0 or left != left or left in (INFINITY, -INFINITY):
        return NAN
    return whole(math.fmod(left, right))


def largest(budget: Budget | None, *values: Any) -> Number:
    """Give the largest number; NaN as soon as one value is none."""
    return highest([to_number(value, budget) for value in values])


def highest(numbers: list[Number]) -> Number:
    """Find the largest of some numbers: 0 is larger than negative zero."""
    if any(number != number for number in numbers):
        return NAN
    found = max(numbers, default=-INFINITY)
    return found or max((number for number in numbers if not number), key=_sign)


def lowest(numbers: list[Number]) -> Number:
    """Find the smallest of some numbers: negative zero is smaller than 0."""
    if any(number != number for number in numbers):
        return NAN
    found = min(numbers, default=INFINITY)
    return found or min((number for number in numbers if not number), key=_sign)


def _sign(number: Number) -> float:
    return math.copysign(1, number)


def smallest(budget: Budget | None, *values: Any) -> Number:
    """Give the smallest number; NaN as soon as one value is none."""
    return lowest([to_number(value, budget) for value in values])
