"""The operators: what each takes, and the exact function behind it.

The compiler replaces the hot shapes by closures of their own; whatever those do not expect, and every explanation,
comes here. A function takes the budget of the evaluation (or None) and the values of the operands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from automate_core.errors import ConfigurationError, RuleEvaluationError
from automate_core.rules.coercion import (
    INFINITY,
    JSON_TYPES,
    MAX_EXACT,
    NAN,
    Number,
    comparable,
    is_number,
    loose_equal,
    parse_number,
    plain,
    strict_equal,
    to_double,
    to_number,
    to_text,
)
from automate_core.rules.limits import Budget, Where, pointer

__all__ = ["CLASSIC", "PAIRS", "Form", "Operator", "custom_operator"]


class Form(StrEnum):
    """How an operator is compiled and explained."""

    EAGER = "eager"
    COMPARISON = "comparison"
    NEGATION = "negation"
    AND = "and"
    OR = "or"
    IF = "if"
    VAR = "var"
    MISSING = "missing"
    MISSING_SOME = "missing_some"
    LOG = "log"
    MAP = "map"
    FILTER = "filter"
    REDUCE = "reduce"
    ALL = "all"
    SOME = "some"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a rule.

    Args:
        name: As it is written in rules.
        minimum: Operands that it needs.
        maximum: Operands that it may be given; None for any number.
        used: Operands that it looks at; what a rule gives beyond is ignored, as JavaScript does. None for all.
        form: How it is compiled and explained.
        function: What computes it from the values of its operands; None where the form says it all.
        boolean: Whether its value is always true or false.
        budgeted: Whether it multiplies work or produces texts and lists.
        trusted: Whether its function takes any value without raising; what another one raises becomes a
            :class:`~automate_core.errors.RuleEvaluationError`.
    """

    name: str
    minimum: int = 0
    maximum: int | None = None
    used: int | None = None
    form: Form = Form.EAGER
    function: Callable[..., Any] | None = None
    boolean: bool = False
    budgeted: bool = False
    trusted: bool = False

    def exact(self, where: Where) -> Callable[..., Any]:
        """Return the function, guarded where it is not one of ours.

        Args:
            where: The place of the operation, for errors.

        Returns:
            Takes the budget and the values of the operands.
        """
        function = self.function
        if function is None:
            raise ConfigurationError(f"The operator {self.name!r} has neither a function nor a form of its own.")
        return function if self.trusted else _guarded(self.name, function, where)


def _guarded(name: str, function: Callable[..., Any], where: Where) -> Callable[..., Any]:
    def call(budget: Budget | None, *values: Any) -> Any:
        try:
            return function(budget, *values)
        except Exception as error:
            at = pointer(where)
            raise RuleEvaluationError(
                f"The operator {name!r} failed at {at or 'the root of the rule'!r}: {type(error).__name__}: {error}",
                context={"pointer": at},
            ) from error

    return call


def custom_operator(
    name: str, function: Callable[..., Any], *, minimum: int = 1, maximum: int | None = None
) -> Operator:
    """Make an operator from a Python function, for an :class:`~automate_core.rules.Engine` of your own.

    Args:
        name: As rules will write it.
        function: Takes the values of the operands, returns a JSON value. It must be deterministic and thread-safe.
        minimum: Operands that it needs.
        maximum: Operands that it may be given; None for any number.

    Returns:
        The operator.
    """

    def call(_budget: Budget | None, *values: Any) -> Any:
        return function(*values)

    return Operator(name, minimum, maximum, function=call)


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


def _pair(compare: Callable[..., bool]) -> Callable[..., bool]:
    def function(budget: Budget | None, first: Any, second: Any) -> bool:
        return compare(first, second, budget)

    return function


def _between(compare: Callable[..., bool]) -> Callable[..., bool]:
    def function(budget: Budget | None, first: Any, second: Any, *third: Any) -> bool:
        return compare(first, second, budget) and (not third or compare(second, third[0], budget))

    return function


def _settle(number: Number) -> Number:
    """Keep integers only as far as JavaScript knows them."""
    return to_double(number) if type(number) is int else number


def add(budget: Budget | None, *values: Any) -> Number:
    """Add the numbers at the beginning of the texts of the values."""
    total: Number = 0
    for value in values:
        total = _settle(total + parse_number(value, budget))
    return total


def multiply(budget: Budget | None, *values: Any) -> Any:
    """Multiply as ``*`` of json-logic-js: one value comes back unchanged; none gives null."""
    if len(values) < 2:
        return values[0] if values else None
    product = parse_number(values[0], budget)
    for value in values[1:]:
        factor = parse_number(value, budget)
        # Only floats have the negative zero that JavaScript gives here.
        product = _settle(product * factor) if product and factor else float(product) * float(factor)
    return product


def subtract(budget: Budget | None, first: Any, *second: Any) -> Number:
    """Subtract, or negate a single value."""
    left = to_double(to_number(first, budget))
    if not second:
        return -left if left else -float(left)
    return _settle(left - to_double(to_number(second[0], budget)))


def divide(budget: Budget | None, first: Any, *second: Any) -> Number:
    """Divide; by zero gives an infinity or NaN, a single value gives NaN."""
    if not second:
        return NAN
    left, right = to_double(to_number(first, budget)), to_double(to_number(second[0], budget))
    if right == 0:
        if left == 0 or left != left:
            return NAN
        return math.copysign(INFINITY, left) * math.copysign(1, right)
    quotient = left / right
    exact = quotient.is_integer() and quotient != 0 and -MAX_EXACT <= quotient <= MAX_EXACT
    return int(quotient) if exact else quotient


def modulo(budget: Budget | None, first: Any, second: Any) -> Number:
    """Give the remainder with the sign of the dividend."""
    left, right = to_double(to_number(first, budget)), to_double(to_number(second, budget))
    if right == 0 or left != left or left in (INFINITY, -INFINITY):
        return NAN
    remainder = math.fmod(left, right)
    exact = remainder.is_integer() and remainder != 0 and -MAX_EXACT <= remainder <= MAX_EXACT
    return int(remainder) if exact else remainder


def largest(budget: Budget | None, *values: Any) -> Number:
    """Give the largest number; NaN as soon as one value is none."""
    numbers = [to_number(value, budget) for value in values]
    return NAN if any(number != number for number in numbers) else max(numbers, default=-INFINITY)


def smallest(budget: Budget | None, *values: Any) -> Number:
    """Give the smallest number; NaN as soon as one value is none."""
    numbers = [to_number(value, budget) for value in values]
    return NAN if any(number != number for number in numbers) else min(numbers, default=INFINITY)


def concatenate(budget: Budget | None, *values: Any) -> str:
    """Join the texts of the values; null is empty."""
    parts: list[str] = []
    for value in values:
        limit = None if budget is None else budget.produced + 1
        part = "" if value is None else to_text(value, budget, limit)
        if budget is not None:
            budget.produce(len(part))
        parts.append(part)
    return "".join(parts)


def merge(budget: Budget | None, *values: Any) -> list[Any]:
    """Join lists; what is not a list counts as a list of one."""
    merged: list[Any] = []
    for value in values:
        items = plain(value)
        items = items if isinstance(items, list) else [items]
        if budget is not None:
            budget.produce(len(items))
            budget.read_items(len(items))
        merged.extend(items)
    return merged


_ADAPTED_PER_VISIT = 8


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


def substring(budget: Budget | None, source: Any, start: Any, *length: Any) -> str:
    """Cut a piece out of a text; a negative length leaves that many characters out at the end."""
    limit = None if budget is None else budget.produced + 1
    text = to_text(source, budget, limit)
    begin = _position(to_number(start, budget), len(text))
    piece = text[max(len(text) + begin, 0) if begin < 0 else begin :]
    if length:
        piece = _shorten(budget, piece, length[0])
    if budget is not None:
        budget.produce(len(piece))
    return piece


def _shorten(budget: Budget | None, piece: str, length: Any) -> str:
    if not less(length, 0, budget):
        return piece[: max(_position(to_number(length, budget), len(piece)), 0)]
    if not is_number(length):
        # JavaScript joins the two texts here and gets a length that is not a number.
        return ""
    return piece[: max(_position(len(piece) + length, len(piece)), 0)]


def _position(number: Number, bound: int) -> int:
    if number != number:
        return 0
    return int(max(-bound, min(number, bound)))


def _classic(
    name: str,
    minimum: int = 0,
    maximum: int | None = None,
    used: int | None = None,
    form: Form = Form.EAGER,
    function: Callable[..., Any] | None = None,
    boolean: bool = False,
    budgeted: bool = False,
) -> Operator:
    return Operator(name, minimum, maximum, used, form, function, boolean, budgeted, trusted=True)


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


def _comparison(name: str, used: int = 2) -> Operator:
    function = _pair(PAIRS[name]) if used == 2 else _between(PAIRS[name])
    return _classic(name, 2, None, used, Form.COMPARISON, function, boolean=True)


def _array(name: str, form: Form, maximum: int = 2, boolean: bool = False) -> Operator:
    return _classic(name, 2, maximum, maximum, form, boolean=boolean, budgeted=True)


CLASSIC: Mapping[str, Operator] = MappingProxyType(
    {
        operator.name: operator
        for operator in (
            _comparison("=="),
            _comparison("==="),
            _comparison("!="),
            _comparison("!=="),
            _comparison(">"),
            _comparison(">="),
            _comparison("<", used=3),
            _comparison("<=", used=3),
            _classic("in", 2, None, 2, Form.COMPARISON, contains, boolean=True),
            _classic("!", 0, None, 1, Form.NEGATION, boolean=True),
            _classic("!!", 0, None, 1, Form.NEGATION, boolean=True),
            _classic("and", form=Form.AND),
            _classic("or", form=Form.OR),
            _classic("if", form=Form.IF),
            _classic("?:", form=Form.IF),
            _classic("var", 0, 2, 2, Form.VAR),
            _classic("missing", form=Form.MISSING, budgeted=True),
            _classic("missing_some", 2, 2, 2, Form.MISSING_SOME, budgeted=True),
            _classic("log", 0, None, 1, Form.LOG),
            _classic("+", function=add),
            _classic("*", function=multiply),
            _classic("-", 1, None, 2, function=subtract),
            _classic("/", 1, None, 2, function=divide),
            _classic("%", 2, None, 2, function=modulo),
            _classic("max", function=largest),
            _classic("min", function=smallest),
            _classic("cat", function=concatenate, budgeted=True),
            _classic("substr", 2, 3, 3, function=substring, budgeted=True),
            _classic("merge", function=merge, budgeted=True),
            _array("map", Form.MAP),
            _array("filter", Form.FILTER),
            _array("reduce", Form.REDUCE, maximum=3),
            _array("all", Form.ALL, boolean=True),
            _array("some", Form.SOME, boolean=True),
            _array("none", Form.NONE, boolean=True),
        )
    }
)
"""The 35 operators of JSONLogic."""
