"""What options of several subcommands understand."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta

__all__ = ["WHEN", "count", "moment"]

WHEN = "an ISO 8601 time, or an age such as 30m, 2h or 7d"
"""What :func:`moment` understands, for the help."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def count(text: str) -> int:
    """Read a number that is at least 1.

    Args:
        text: The argument.

    Raises:
        argparse.ArgumentTypeError: If it is less.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


count.__name__ = "number"  # what argparse calls it in its error


def moment(text: str) -> datetime:
    """Read a time or an age.

    Args:
        text: The argument; a time without a zone is one of UTC.

    Raises:
        argparse.ArgumentTypeError: If it is an age from before the calendar.
    """
    age = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if age is not None:
        try:
            return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
        except OverflowError:
            raise argparse.ArgumentTypeError(f"{text} ago is before the year 1") from None
    given = datetime.fromisoformat(text)
    return given.replace(tzinfo=UTC) if given.tzinfo is None else given


moment.__name__ = "time"
