"""``dates``: points in time, compared, moved, subtracted and taken apart. There is no clock: a rule reads its data.

A point in time is text (ISO 8601, as RFC 3339 profiles it) or a number (seconds since 1970 in UTC). What the operators
give is always written alike, in UTC with six digits of a second: such texts are equal, and ordered, as the points in
time are, so ``==``, ``<``, ``max`` of dates, ``between`` and the rest need no twins. What is no date gives null.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from automate_core.rules.coercion import is_number, plain
from automate_core.rules.limits import Budget
from automate_core.rules.operators import OperandError, Operator

__all__ = ["OPERATORS"]

_DATE = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2})?)?", re.ASCII
)
_LONGEST_DATE = 40
_DURATION = re.compile(
    r"([+-])?P(?=\d|T\d)(?:(\d{1,9})Y)?(?:(\d{1,9})M)?(?:(\d{1,9})W)?(?:(\d{1,9})D)?"
    r"(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,12}(?:\.\d{1,9})?)S)?)?",
    re.ASCII,
)
_LONGEST_DURATION = 100
_LONGEST_ZONE = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_UNITS: Mapping[str, timedelta] = {
    "seconds": timedelta(seconds=1),
    "minutes": timedelta(minutes=1),
    "hours": timedelta(hours=1),
    "days": timedelta(days=1),
    "weeks": timedelta(weeks=1),
}
_PARTS: Mapping[str, Callable[[datetime], int]] = {
    "year": lambda at: at.year,
    "month": lambda at: at.month,
    "day": lambda at: at.day,
    "weekday": lambda at: at.isoweekday(),
    "week": lambda at: at.isocalendar().week,
    "hour": lambda at: at.hour,
    "minute": lambda at: at.minute,
    "second": lambda at: at.second,
}


def _read(value: Any, zone: tzinfo = UTC) -> datetime | None:
    """Read a point in time, in UTC; without an offset of its own it is one of the zone's clock."""
    value = plain(value)
    try:
        if is_number(value):
            return _EPOCH + timedelta(seconds=value)
        match = _DATE.fullmatch(value) if type(value) is str and len(value) <= _LONGEST_DATE else None
        if match is None:
            return None
        day, time, seconds, offset = match.groups(default="")
        at = datetime.fromisoformat(f"{day}T{time or '00:00'}{seconds or ':00'}{offset.replace('z', 'Z')}")
        return (at if offset else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _written(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _zone(value: Any) -> tzinfo | None:
    """Find a time zone by its IANA name; None where there is none."""
    value = plain(value)
    return _find_zone(value) if type(value) is str and 0 < len(value) <= _LONGEST_ZONE else None


@lru_cache(maxsize=256)
def _find_zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # no such file, one that is no zone, or a directory
        return None


def _duration(value: Any) -> tuple[int, timedelta] | None:
    """Read an ISO 8601 duration as months and the rest; None where it is none."""
    value = plain(value)
    match = _DURATION.fullmatch(value) if type(value) is str and len(value) <= _LONGEST_DURATION else None
    if match is None:
        return None
    sign = -1 if match[1] == "-" else 1
    years, months, weeks, days, hours, minutes = (int(digits or 0) for digits in match.groups()[1:7])
    try:
        rest = timedelta(
            weeks=weeks, days=days, hours=hours, minutes=minutes, microseconds=round(float(match[8] or 0) * 1_000_000)
        )
    except OverflowError:
        return None
    return sign * (12 * years + months), sign * rest


def _moved(at: datetime, months: int, rest: timedelta) -> datetime | None:
    """Move a point in time: by calendar months first, to the last day where a month is too short."""
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        return None
    moved = at.replace(year=year, month=month + 1, day=min(at.day, monthrange(year, month + 1)[1]))
    try:
        return moved + rest
    except OverflowError:
        return None


def _fixed(given: list[Any], position: int, read: Callable[[Any], Any], wanted: str) -> Callable[[Any], Any]:
    """Read a constant operand once; leave one that is computed to be read each time."""
    if type(given[position]) is dict:
        return read
    found = read(given[position])
    if found is None:
        raise OperandError(position, wanted)
    return lambda _value: found


def _zone_operand(given: list[Any], position: int) -> Callable[[Any], tzinfo | None]:
    if len(given) <= position:
        return lambda _value: UTC
    return _fixed(given, position, _zone, "there is no time zone of this name; one is 'Europe/Berlin'")


def _named(table: Mapping[str, Any]) -> Callable[[Any], Any]:
    return lambda value: table.get(name) if type(name := plain(value)) is str else None


def _date(given: list[Any]) -> Callable[..., Any]:
    zone_of = _zone_operand(given, 1)

    def function(budget: Budget | None, value: Any, name: Any = None) -> str | None:
        if budget is not None:
            budget.convert()
        zone = zone_of(name)
        return None if zone is None else _written(_read(value, zone))

    return function


def _date_add(given: list[Any]) -> Callable[..., Any]:
    read = _fixed(given, 1, _duration, "a duration is written as in ISO 8601: 'P3D', '-PT12H', 'P1M'")

    def function(budget: Budget | None, value: Any, duration: Any) -> str | None:
        if budget is not None:
            budget.convert()
        at, moved = _read(value), read(duration)
        return None if at is None or moved is None else _written(_moved(at, *moved))

    return function


def _date_diff(given: list[Any]) -> Callable[..., Any]:
    unit_of = _fixed(given, 2, _named(_UNITS), f"a unit is one of {', '.join(_UNITS)}")

    def function(budget: Budget | None, first: Any, second: Any, name: Any) -> float | None:
        if budget is not None:
            budget.convert()
        later, earlier, unit = _read(first), _read(second), unit_of(name)
        return None if later is None or earlier is None or unit is None else (later - earlier) / unit

    return function


def _date_part(given: list[Any]) -> Callable[..., Any]:
    part_of = _fixed(given, 1, _named(_PARTS), f"a part is one of {', '.join(_PARTS)}")
    zone_of = _zone_operand(given, 2)

    def function(budget: Budget | None, value: Any, name: Any, zone_name: Any = None) -> int | None:
        if budget is not None:
            budget.convert()
        part, zone = part_of(name), zone_of(zone_name)
        at = None if zone is None else _read(value, zone)
        if at is None or part is None or zone is None:
            return None
        try:
            return int(part(at.astimezone(zone)))
        except OverflowError:
            return None

    return function


OPERATORS = (
    Operator("date", 1, 2, trusted=True, fix=_date, says=("{0} as a date",)),
    Operator("date_add", 2, 2, trusted=True, fix=_date_add, says=("{0} plus {1}",)),
    Operator("date_diff", 3, 3, trusted=True, fix=_date_diff, says=("the time from {1} to {0} in {2}",)),
    Operator("date_part", 2, 3, trusted=True, fix=_date_part, says=("the {1} of {0}",)),
)
"""What the group adds."""
