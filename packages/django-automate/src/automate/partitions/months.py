"""Months as ranges of event ids: a UUID of version 7 begins with its time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from automate_core.ids import uuid7_floor

__all__ = ["bounds", "month_of", "months", "name_of", "next_month"]


def month_of(moment: datetime) -> datetime:
    """Return the beginning of the month of a moment, in UTC.

    Args:
        moment: An aware datetime.
    """
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """Return the beginning of the month after one.

    Args:
        month: The beginning of a month.
    """
    year, index = divmod(month.year * 12 + month.month, 12)
    return month.replace(year=year, month=index + 1)


def months(first: datetime, count: int) -> Iterator[datetime]:
    """Yield months.

    Args:
        first: The beginning of the first one.
        count: How many.
    """
    for _ in range(count):
        yield first
        first = next_month(first)


def bounds(month: datetime) -> tuple[UUID, UUID]:
    """Return the smallest id of a month and that of the next one.

    Args:
        month: The beginning of the month.
    """
    return uuid7_floor(month), uuid7_floor(next_month(month))


def name_of(month: datetime) -> str:
    """Return the name of the partition of a month.

    Args:
        month: The beginning of the month.
    """
    return f"automate_event_p{month:%Y%m}"
