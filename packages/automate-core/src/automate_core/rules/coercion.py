"""How JavaScript turns values into numbers, texts and truth.

Every function takes any value and always gives one: data never raises. A value that is not JSON but common in Python
is read as what its JSON form would be: a tuple as a list, a :class:`~decimal.Decimal` as a number, a date, a time or a
UUID as text. Any other object is opaque: it is truthy, equals only itself and is never looked into.

Four things differ from JavaScript, on purpose: texts are counted and ordered by code points, so that no character is
cut in half; integers that were not computed keep every digit; a list nested deeper than 100 levels reads as empty; and
no number is longer than 65,536 characters, so that reading one takes no time that matters, whatever the text.
"""

from __future__ import annotations

import datetime
import math
import re
import uuid
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

from automate_core.rules.limits import Budget

__all__ = [
    "EXACT_DIGITS",
    "INFINITY",
    "JSON_TYPES",
    "MAX_EXACT",
    "NAN",
    "NUMBER_STARTS",
    "Number",
    "coerced_number",
    "is_number",
    "json_number",
    "list_items",
    "number_text",
    "parse_number",
    "plain",
    "to_double",
    "to_number",
    "to_text",
    "truthy",
    "verdict",
    "whole",
]

Number = int | float

NAN = float("nan")
INFINITY = float("inf")
MAX_EXACT = 2**53
"""The largest magnitude up to which JavaScript knows every integer."""

_OPAQUE = "[object Object]"
_NUMBER_TYPES = (int, float)
_MAX_NESTING = 100
_STEPS_PER_LIST = 4
_STEPS_PER_VISIT = 8
JSON_TYPES = frozenset({bool, int, float, str, list, dict, type(None)})
"""The Python types of JSON values."""

_SPACE = (
    " \t\n\r\v\f\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
NUMBER_STARTS = frozenset("0123456789+-.I" + _SPACE)
"""What a text begins with that is a number to JavaScript; an empty text is one too."""
_DECIMAL = r"[+-]?(?:Infinity|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
_WHOLE_NUMBER = re.compile(rf"[{_SPACE}]*+(?:({_DECIMAL})|0([xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+))?[{_SPACE}]*+")
_LEADING_NUMBER = re.compile(rf"[{_SPACE}]*+({_DECIMAL})")
_BASES = {"x": 16, "o": 8, "b": 2}
EXACT_DIGITS = 15
"""The most digits of a whole number of which JavaScript loses none, whatever they are."""
_MAX_JSON_BITS = 1_024
_LONGEST_NUMBER = 65_536
_FLOAT_AS_TEXT = 3


def plain(value: Any) -> Any:
    """Read a Python value as JSON.

    Args:
        value: Any value.

    Returns:
        Its JSON form, one level deep; an opaque object unchanged.
    """
    return value if type(value) in JSON_TYPES else _adapt(value)


def _adapt(value: Any) -> Any:
    for base, convert in _ADAPTERS:
        if isinstance(value, base):
            return convert(value)
    return value


def _decimal_number(value: Decimal) -> float:
    return NAN if value.is_nan() else float(value)


def _unchanged(value: Any) -> Any:
    return value


_ADAPTERS: tuple[tuple[Any, Any], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    ((list, dict), _unchanged),
    (tuple, list),
    (Decimal, _decimal_number),
    ((datetime.date, datetime.time), lambda value: value.isoformat()),
    (uuid.UUID, str),
)


def is_number(value: Any) -> bool:
    """Tell whether a value is a JSON number."""
    return isinstance(value, _NUMBER_TYPES) and not isinstance(value, bool)


def list_items(value: Any) -> list[Any]:
    """Return the items of a list; every other value has none."""
    value = plain(value)
    return value if isinstance(value, list) else []


def truthy(value: Any) -> bool:
    """Tell whether JSONLogic takes a value for true.

    Args:
        value: Any value.

    Returns:
        False for null, false, 0, NaN, an empty text and an empty list; true for everything else, ``{}`` included.
    """
    kind = type(value)
    if kind is bool or kind is int or kind is str or kind is list or value is None:
        return bool(value)
    if kind is float:
        return bool(value == value and value != 0)
    adapted = plain(value)
    if type(adapted) in JSON_TYPES and not isinstance(adapted, dict):
        return truthy(adapted)
    return bool(adapted) if isinstance(adapted, list) else True


def verdict(value: Any) -> bool:
    """Tell whether the value of a whole rule means that it matches.

    Args:
        value: The value.

    Returns:
        As :func:`truthy`, but false for the infinities, which JSON writes as null.
    """
    return value not in (INFINITY, -INFINITY) if type(value) is float and truthy(value) else truthy(value)


def to_double(value: Number) -> Number:
    """Bring a number into the range that JavaScript computes with.

    Args:
        value: The number.

    Returns:
        The number; an integer beyond 2**53 as a float, infinite where a float cannot hold it.
    """
    if type(value) is float or -MAX_EXACT <= value <= MAX_EXACT:
        return value
    try:
        return float(value)
    except OverflowError:
        return INFINITY if value > 0 else -INFINITY


def json_number(value: Number) -> Number | None:
    """Give what JSON can say of a number.

    Args:
        value: The number.

    Returns:
        The number; None for NaN, the infinities, and integers beyond the range of floats.
    """
    if type(value) is int:
        return value if value.bit_length() <= _MAX_JSON_BITS else None
    return value if value - value == 0 else None


def to_number(value: Any, budget: Budget | None = None) -> Number:
    """Coerce as ``Number(value)`` does.

    Args:
        value: Any value.
        budget: Pays for long texts.

    Returns:
        The number; NaN where there is none.
    """
    kind = type(value)
    return value if kind is int or kind is float else coerced_number(value, budget)


def coerced_number(value: Any, budget: Budget | None = None) -> Number:
    """Coerce what is no number as :func:`to_number` does; the arguments are the same."""
    kind = type(value)
    if kind is list:
        if len(value) == 1 and type(item := value[0]) is int and -(10**9) < item < 10**9:
            return item
        return _list_number(value, budget)
    if kind is str:
        if value and value[0] not in NUMBER_STARTS:
            return NAN
        if len(value) <= EXACT_DIGITS and value.isdigit() and value.isascii():
            return int(value)
        return _text_number(value, budget)
    if value is None:
        return 0
    if kind is dict:
        return NAN
    if kind is bool:
        return int(value)
    value = plain(value)
    if isinstance(value, list):
        return _list_number(value, budget)
    return to_number(value, budget) if type(value) in JSON_TYPES and not isinstance(value, dict) else NAN


def _list_number(items: list[Any], budget: Budget | None) -> Number:
    """Read a list as the number that its text is: that of its only leaf, if there is one."""
    if len(items) != 1:
        return NAN if items else 0
    if budget is not None:
        budget.convert()
    found = list(islice(_leaves(items, budget), 2))
    return _text_number(_leaf_text(found[0]), budget) if len(found) == 1 else NAN


def _text_number(text: str, budget: Budget | None) -> Number:
    if len(text) > _LONGEST_NUMBER:
        return NAN
    if budget is not None:
        budget.convert(len(text))
    match = _WHOLE_NUMBER.fullmatch(text)
    if match is None:
        return NAN
    if match[1] is not None:
        return _digits_number(match[1])
    if match[2] is not None:
        return to_double(int(match[2][1:], _BASES[match[2][0].lower()]))
    return 0


def _digits_number(digits: str) -> Number:
    if len(digits) <= EXACT_DIGITS and digits.isdecimal():
        return int(digits)
    return whole(float(digits))


def whole(number: float) -> Number:
    """Return a number as an integer where it is one that JavaScript knows; only floats have its negative zero."""
    if not number.is_integer() or not -MAX_EXACT <= number <= MAX_EXACT:
        return number
    return int(number) if number or math.copysign(1, number) > 0 else number


def parse_number(value: Any, budget: Budget | None = None) -> Number:
    """Read the number at the beginning of a text, as ``parseFloat(value)`` does.

    Args:
        value: Any value; what is not a text is read as its text.
        budget: Pays for long texts.

    Returns:
        The number, within the range of :func:`to_double`; NaN where the text begins otherwise. A number that is
        negative zero gives 0, as its text is ``"0"``.
    """
    kind = type(value)
    if kind is int or kind is float:
        return to_double(value) if value else 0
    value = plain(value)
    if isinstance(value, list):
        value = _leaf_text(next(_leaves(value, budget)))
    if type(value) is str:
        if budget is not None:
            budget.convert(min(len(value), _LONGEST_NUMBER))
        match = _LEADING_NUMBER.match(value, 0, _LONGEST_NUMBER)
        return NAN if match is None else _digits_number(match[1])
    return (to_double(value) if value else 0) if is_number(value) else NAN


def number_text(value: Number) -> str:
    """Write a number as ``String(value)`` does.

    Args:
        value: The number.

    Returns:
        The shortest digits that read back as the number, with an exponent only from 1e21 and below 1e-6.
    """
    if isinstance(value, int):
        if -(10**21) < value < 10**21:
            return str(int(value))
        value = float(to_double(value))
    if value != value:
        return "NaN"
    if value in (INFINITY, -INFINITY):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    return sign + _place_point(digits.rstrip("0"), point)


def _place_point(digits: str, point: int) -> str:
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    exponent = point - 1
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{'+' if exponent > 0 else '-'}{abs(exponent)}"


def to_text(value: Any, budget: Budget | None = None, limit: int | None = None) -> str:
    """Coerce as ``String(value)`` does.

    Args:
        value: Any value.
        budget: Pays for long lists.
        limit: Characters after which the text of a list may end; None writes all of it.

    Returns:
        The text: lists are joined with commas, null inside a list is empty.
    """
    if type(value) is str:
        return value
    value = plain(value)
    if budget is not None and type(value) is not int:
        budget.convert(count=_FLOAT_AS_TEXT)
    if isinstance(value, list):
        return _list_text(value, budget, limit)
    return "null" if value is None else _leaf_text(value)


def _list_text(value: list[Any], budget: Budget | None, limit: int | None) -> str:
    parts: list[str] = []
    length = -1
    for leaf in _leaves(value, budget):
        if type(leaf) is float and budget is not None:
            budget.convert(count=_FLOAT_AS_TEXT)
        text = _leaf_text(leaf)
        parts.append(text)
        length += len(text) + 1
        if limit is not None and length >= limit:
            break
    return ",".join(parts)


def _leaf_text(leaf: Any) -> str:
    kind = type(leaf)
    if kind is str:
        return leaf  # type: ignore[no-any-return] # the type was just checked
    if leaf is None:
        return ""
    if kind is bool:
        return "true" if leaf else "false"
    return number_text(leaf) if kind is int or kind is float else _OPAQUE


def _leaves(value: list[Any], budget: Budget | None) -> Iterator[Any]:
    """Yield what the text of a list joins; an empty list, and one that holds itself, gives one empty leaf."""
    if not value:
        yield None
        return
    inside = {id(value)}
    stack = [(iter(value), id(value))]
    steps = 0
    while stack:
        for item in stack[-1][0]:
            steps += 1
            if budget is not None and steps >= _STEPS_PER_VISIT:
                budget.visit(steps // _STEPS_PER_VISIT)
                steps = 0
            leaf = plain(item)
            if not isinstance(leaf, list):
                yield leaf
            elif not leaf or id(leaf) in inside or len(stack) == _MAX_NESTING:
                yield None
            else:
                steps += _STEPS_PER_LIST
                inside.add(id(leaf))
                stack.append((iter(leaf), id(leaf)))
                break
        else:
            inside.discard(stack.pop()[1])
