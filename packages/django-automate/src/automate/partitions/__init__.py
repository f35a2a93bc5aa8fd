"""Events in a partition per month, on PostgreSQL.

An event's id begins with its time, so a month is a range of ids: the primary key, and all code, stay as they are.
``EVENTS.partition`` allows it and ``automate partition events`` does it. From then on retention makes the partitions of
the months to come, and drops those that are old as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from automate_core import settings
from automate_core.errors import ConfigurationError

__all__ = ["State", "convert", "examine", "is_partitioned"]


@dataclass(slots=True)
class State:
    """How the events of a database are partitioned.

    Args:
        partitioned: Whether they are.
        partitions: Name, first and last moment (ISO 8601; None for no bound), estimated rows and bytes of each.
        problems: What is wrong, and what to do about it.
    """

    partitioned: bool
    partitions: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def is_partitioned(using: str = "default") -> bool:
    """Return whether the events of a database are partitioned.

    Args:
        using: Alias of the database, of any kind.
    """
    from django.db import connections

    from automate.partitions.catalog import Catalog

    return connections[using].vendor == "postgresql" and Catalog(using).is_partitioned


def convert(
    say: Callable[[str], None],
    *,
    using: str = "default",
    now: datetime | None = None,
    begin: Callable[[], None] = lambda: None,
) -> None:
    """Partition the table of events by month, while emitters write to it; do nothing where it is.

    Args:
        say: Is told each step when it is done.
        using: Alias of the database.
        now: The time; None takes the present.
        begin: Is called last in the first transaction, to put on record that it begins; not where nothing is done.

    Raises:
        ConfigurationError: If the database is not PostgreSQL, ``EVENTS.partition`` is False, or something hangs on the
            table that a partitioned one cannot have.
        AutomateError: If the table could not be locked for a moment; ``retryable``, and goes on where it stood.
    """
    from django.db import connections
    from django.utils import timezone

    from automate.partitions.conversion import Conversion

    connection = connections[using]
    if connection.vendor != "postgresql":
        raise ConfigurationError(
            f"Events are partitioned on PostgreSQL alone, and database {using!r} is {connection.display_name}: set "
            "EVENTS.partition to False. Retention prunes events here in batches."
        )
    if not settings.current().events.partition:
        raise ConfigurationError("EVENTS.partition is False: set it to True, then partition the events.")
    if connection.in_atomic_block:
        raise ConfigurationError("Events cannot be partitioned within a transaction: call this outside of one.")
    if is_partitioned(using):
        say("the events are partitioned already")
        return
    Conversion(using, say, begin).run(now or timezone.now())


def examine(*, using: str = "default", now: datetime | None = None) -> State:
    """Look how the events are partitioned, and what is wrong with it.

    Args:
        using: Alias of the database.
        now: The time; None takes the present.

    Returns:
        What was found; a database that has no partitions has none, and no problem but a setting that wants them.
    """
    from django.utils import timezone

    from automate.partitions.catalog import Catalog, time_of
    from automate.partitions.upkeep import missing_months, unfinished

    wanted, now = settings.current().events.partition, now or timezone.now()
    if not is_partitioned(using):
        return State(False, problems=[*unfinished(using, now), *_not_partitioned(wanted)])
    catalog = Catalog(using)
    found = catalog.partitions()
    state = State(True)
    for part in found:
        lower, upper = (None if key is None else time_of(key).isoformat() for key in (part.lower, part.upper))
        state.partitions.append({"name": part.name, "from": lower, "to": upper, "rows": part.rows, "bytes": part.bytes})
    if strays := catalog.default_rows():
        state.problems.append(
            f"{strays} events (or more) are in {found[-1].name}: no month was there for their ids. A clock is wrong, "
            "or no worker made the partitions in time."
        )
    if missing := missing_months(found, now):
        names = ", ".join(f"{month:%Y-%m}" for month in missing)
        state.problems.append(f"no partition for {names}: run a worker, or 'automate retention', which makes them.")
    return state


def _not_partitioned(wanted: bool) -> list[str]:
    if not wanted:
        return []
    return ["EVENTS.partition is True, and the events are not partitioned: run 'automate partition events'."]
