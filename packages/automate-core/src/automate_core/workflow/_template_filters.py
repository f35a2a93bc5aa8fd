"""The filters and tests that templates may use. Each pays for its work, by its arguments, before it does it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

from automate_core.errors import TemplateError, nearby
from automate_core.workflow._template_work import (
    Undefined,
    Work,
    dump,
    identity,
    is_number,
    lookup,
    to_text,
    type_name,
)

Filter = Callable[..., Any]

_MAX_PRECISION = 20
_MAX_TRIM = 100
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,300}\s*")
_FLOAT = re.compile(r"\s*[+-]?([0-9]{1,300}\.?[0-9]{0,300}|\.[0-9]{1,300})([eE][+-]?[0-9]{1,3})?\s*")
_WORD = re.compile(r"[^\s\-({\[<]+")


# -- arguments --------------------------------------------------------------------------------------------------------


def _text(work: Work, value: Any, name: str) -> str:
    if not isinstance(value, str) and not is_number(value):
        raise TemplateError(f"The filter {name!r} needs text, not {type_name(value)}.")
    text = to_text(work, value)
    work.charge_text(len(text))
    return text


def _count(value: Any, name: str, *, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise TemplateError(f"An argument of the filter {name!r} must be a whole number from {low} to {high}.")
    return value


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise TemplateError(f"An argument of the filter {name!r} must be true or false, not {type_name(value)}.")
    return value


def _items(work: Work, value: Any, name: str, attribute: Any = None) -> list[Any]:
    """Return the items of a list, or one attribute of each."""
    if not isinstance(value, list):
        raise TemplateError(f"The filter {name!r} needs a list, not {type_name(value)}.")
    work.charge(len(value))
    if attribute is None:
        return value
    steps: list[Any] = [attribute] if isinstance(attribute, int) else _text(work, attribute, name).split(".")
    work.charge(len(value) * len(steps))
    found = []
    for index, item in enumerate(value):
        for step in steps:
            item = lookup(item, step, f"{attribute} of item {index}")
        found.append(item)
    return found


# -- any value --------------------------------------------------------------------------------------------------------


def _default(work: Work, value: Any, default_value: Any = "", boolean: Any = False) -> Any:
    if isinstance(value, Undefined):
        return default_value
    return default_value if _flag(boolean, "default") and not value else value


def _string(work: Work, value: Any) -> str:
    return to_text(work, value)


def _tojson(work: Work, value: Any) -> str:
    return dump(work, value)


def _length(work: Work, value: Any) -> int:
    if not isinstance(value, (str, list, dict)):
        raise TemplateError(f"The filter 'length' needs text, a list or an object, not {type_name(value)}.")
    return len(value)


# -- text -------------------------------------------------------------------------------------------------------------


def _upper(work: Work, value: Any) -> str:
    return _text(work, value, "upper").upper()


def _lower(work: Work, value: Any) -> str:
    return _text(work, value, "lower").lower()


def _capitalize(work: Work, value: Any) -> str:
    return _text(work, value, "capitalize").capitalize()


def _title(work: Work, value: Any) -> str:
    text = _text(work, value, "title")
    work.charge(len(text))
    return _WORD.sub(lambda word: word[0][0].upper() + word[0][1:].lower(), text)


def _trim(work: Work, value: Any, chars: Any = None) -> str:
    text = _text(work, value, "trim")
    if chars is None:
        return text.strip()
    unwanted = _text(work, chars, "trim")
    if len(unwanted) > _MAX_TRIM:
        raise TemplateError(f"The filter 'trim' takes {_MAX_TRIM} characters at most.")
    work.charge(len(text))
    return text.strip(unwanted)


def _replace(work: Work, value: Any, old: Any, new: Any, count: Any = None) -> str:
    text, before, after = (_text(work, given, "replace") for given in (value, old, new))
    limit = -1 if count is None else _count(count, "replace", low=0, high=2**31)
    found = text.count(before)
    times = found if limit < 0 else min(found, limit)
    work.charge(times)
    work.charge_text(len(text) + times * max(0, len(after) - len(before)))
    return text.replace(before, after, limit)


def _truncate(
    work: Work, value: Any, length: Any = 255, killwords: Any = False, end: Any = "...", leeway: Any = 5
) -> str:
    text, ending = _text(work, value, "truncate"), _text(work, end, "truncate")
    slack = _count(leeway, "truncate", low=0, high=2**31)
    longest = _count(length, "truncate", low=len(ending), high=2**31)
    if len(text) <= longest + slack:
        return text
    kept = text[: longest - len(ending)]
    return (kept if _flag(killwords, "truncate") else kept.rsplit(" ", 1)[0]) + ending


# -- numbers ----------------------------------------------------------------------------------------------------------


_ROUNDING: dict[Any, Callable[[Any, int], float]] = {
    "common": round,
    "ceil": lambda value, digits: math.ceil(value * 10.0**digits) / 10.0**digits,
    "floor": lambda value, digits: math.floor(value * 10.0**digits) / 10.0**digits,
}


def _round(work: Work, value: Any, precision: Any = 0, method: Any = "common") -> float:
    if not is_number(value):
        raise TemplateError(f"The filter 'round' needs a number, not {type_name(value)}.")
    digits = _count(precision, "round", low=-_MAX_PRECISION, high=_MAX_PRECISION)
    if method not in _ROUNDING:
        raise TemplateError("The method of the filter 'round' is 'common', 'ceil' or 'floor'.")
    try:
        return float(_ROUNDING[method](value, digits))
    except OverflowError:
        raise TemplateError("The filter 'round' cannot round so large a number.") from None


_MISSING = object()


def _int(work: Work, value: Any, default: Any = _MISSING) -> Any:
    number = _number(work, value, whole=True)
    return _or_default(int(number) if number is not None else None, value, default, "int")


def _float(work: Work, value: Any, default: Any = _MISSING) -> Any:
    number = _number(work, value, whole=False)
    try:
        return _or_default(float(number) if number is not None else None, value, default, "float")
    except OverflowError:
        raise TemplateError("The filter 'float' cannot hold so large an integer.") from None


def _number(work: Work, value: Any, *, whole: bool) -> int | float | None:
    if is_number(value):
        return value  # type: ignore[no-any-return] # is_number tells so
    if not isinstance(value, str):
        return None
    work.charge_text(len(value))
    if whole and _INTEGER.fullmatch(value):
        return int(value)
    number = float(value) if _FLOAT.fullmatch(value) else math.inf
    return number if math.isfinite(number) else None


def _or_default(number: Any, value: Any, default: Any, name: str) -> Any:
    if number is not None:
        return number
    if default is _MISSING:
        raise TemplateError(f"The filter {name!r} finds no number in {type_name(value)}: give it a default.")
    return default


# -- lists ------------------------------------------------------------------------------------------------------------


def _first(work: Work, value: Any) -> Any:
    return lookup(_ordered(value, "first"), 0, "the first item of an empty list")


def _last(work: Work, value: Any) -> Any:
    return lookup(_ordered(value, "last"), -1, "the last item of an empty list")


def _ordered(value: Any, name: str) -> list[Any]:
    if isinstance(value, str):
        return [value[0], value[-1]] if value else []
    if not isinstance(value, list):
        raise TemplateError(f"The filter {name!r} needs a list or text, not {type_name(value)}.")
    return value


def _list(work: Work, value: Any) -> list[Any]:
    items = list(value) if isinstance(value, dict) else _items(work, value, "list")
    work.charge(len(items))
    return items


def _join(work: Work, value: Any, d: Any = "", attribute: Any = None) -> str:
    separator = _text(work, d, "join")
    parts = [to_text(work, item) for item in _items(work, value, "join", attribute)]
    work.charge_text(sum(map(len, parts)) + len(separator) * max(0, len(parts) - 1))
    return separator.join(parts)


def _sort(
    work: Work, value: Any, reverse: Any = False, case_sensitive: Any = False, attribute: Any = None
) -> list[Any]:
    items = _items(work, value, "sort")
    keys = _items(work, value, "sort", attribute)
    if not all(map(is_number, keys)) and not all(isinstance(key, str) for key in keys):
        raise TemplateError("The filter 'sort' needs a list of numbers, or one of texts.")
    keys = _folded(work, keys, _flag(case_sensitive, "sort"))
    work.charge(4 * len(items) * max(1, len(items).bit_length()))
    order = sorted(range(len(items)), key=keys.__getitem__, reverse=_flag(reverse, "sort"))
    return [items[index] for index in order]


def _unique(work: Work, value: Any, case_sensitive: Any = False, attribute: Any = None) -> list[Any]:
    items = _items(work, value, "unique")
    keys = _folded(work, _items(work, value, "unique", attribute), _flag(case_sensitive, "unique"))
    first: dict[Any, Any] = {}
    for key, item in zip(keys, items, strict=True):
        work.weigh(key)
        first.setdefault(identity(key), item)
    return list(first.values())


def _folded(work: Work, keys: list[Any], case_sensitive: bool) -> list[Any]:
    for key in keys:
        work.charge_text(len(key) if isinstance(key, str) else 0)
    return keys if case_sensitive else [key.lower() if isinstance(key, str) else key for key in keys]


FILTERS: dict[str, Filter] = {
    "capitalize": _capitalize,
    "count": _length,
    "d": _default,
    "default": _default,
    "first": _first,
    "float": _float,
    "int": _int,
    "join": _join,
    "last": _last,
    "length": _length,
    "list": _list,
    "lower": _lower,
    "replace": _replace,
    "round": _round,
    "sort": _sort,
    "string": _string,
    "title": _title,
    "tojson": _tojson,
    "trim": _trim,
    "truncate": _truncate,
    "unique": _unique,
    "upper": _upper,
}

TESTS: dict[str, Callable[[Any], bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "defined": lambda value: not isinstance(value, Undefined),
    "mapping": lambda value: isinstance(value, dict),
    "none": lambda value: value is None,
    "number": is_number,
    "sequence": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "undefined": lambda value: isinstance(value, Undefined),
}


def find_filter(name: str, positional: int, named: list[str]) -> Filter:
    """Return a filter, and refuse arguments that it does not take.

    Args:
        name: Its name.
        positional: How many arguments it is given by position.
        named: Names of the others.
    """
    if name not in FILTERS:
        raise TemplateError(f"There is no filter {name!r}.{nearby(name, FILTERS)}")
    found = FILTERS[name]
    try:
        inspect.signature(found).bind(None, None, *[None] * positional, **dict.fromkeys(named))
    except TypeError as error:
        raise TemplateError(f"The filter {name!r} does not take these arguments: {error}.") from None
    return found


def find_test(name: str) -> Callable[[Any], bool]:
    """Return a test.

    Args:
        name: Its name.
    """
    if name not in TESTS:
        raise TemplateError(f"There is no test {name!r}.{nearby(name, TESTS)}")
    return TESTS[name]
