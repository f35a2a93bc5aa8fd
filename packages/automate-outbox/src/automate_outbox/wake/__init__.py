"""Waking workers: what tells a worker to look at the outbox now rather than at its next poll.

A wake-up is a doorbell, never the truth: it may be lost, doubled or ring for nothing, and a worker looks at its outbox
now and then whatever it hears. PostgreSQL notifies; on SQLite the commits of other connections are seen; everywhere
:func:`ring` wakes the workers of the same process.

::

    awake = threading.Event()
    waker = waker_for("default", on_wake=awake.set)
    waker.start()
    while not stopping:
        awake.clear()
        worked = look_at_the_outbox()
        awake.wait(waker.next_poll(seconds_since_the_last_work))
    waker.stop()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automate_outbox.wake.base import CHANNEL, Mode, Waker
from automate_outbox.wake.local import ring

__all__ = ["CHANNEL", "Mode", "Waker", "diagnose", "listening_alias", "ring", "waker_for"]

_VERDICT_SECONDS = 15.0


def waker_for(using: str = "default", *, on_wake: Callable[[], object]) -> Waker:
    """Return the waker that fits a database; it is not started yet.

    Args:
        using: Alias of the database that the outbox is in.
        on_wake: Says "look now". It is called from any thread, often and for nothing; it must not raise, block, or use
            a database. ``threading.Event.set`` is one.

    Raises:
        ConfigurationError: If ``OUTBOX.listen_using`` names what is not an alias of a PostgreSQL database.
    """
    from django.db import connections

    connection: Any = connections[using]  # of a class that has more than Django's common one
    if connection.vendor == "postgresql":
        return _notified(using, on_wake)
    if connection.vendor != "sqlite":
        # Its name for people would be asked of the server, and a worker may well begin while that is away.
        return Waker(using, on_wake, reason=f"{connection.vendor} has no notifications")
    if connection.is_in_memory_db():
        return Waker(using, on_wake, mode="local")
    from automate_outbox.wake.sqlite import SQLiteWaker

    return SQLiteWaker(using, on_wake)


def _notified(using: str, on_wake: Callable[[], object]) -> Waker:
    listen_using = listening_alias(using)
    try:
        from automate_outbox.wake.postgres import NotifyWaker
    except ImportError as error:
        return Waker(using, on_wake, reason=f"psycopg 3 is missing ({error}): pip install 'automate-outbox[postgres]'")
    return NotifyWaker(using, on_wake, listen_using=listen_using)


def listening_alias(using: str = "default") -> str:
    """Return the alias by which notifications of a PostgreSQL database are heard: ``OUTBOX.listen_using``, or the same.

    Args:
        using: Alias of the database that the outbox is in.

    Raises:
        ConfigurationError: If the setting names what is not an alias of a PostgreSQL database.
    """
    from automate_core import settings
    from automate_core.errors import ConfigurationError, nearby
    from django.db import connections

    alias = settings.current().outbox.listen_using or using
    if alias not in connections.settings:
        raise ConfigurationError(
            f"OUTBOX.listen_using: {alias!r} is not an alias of DATABASES.{nearby(alias, connections.settings)}"
        )
    if connections[alias].vendor != "postgresql":
        raise ConfigurationError(
            f"OUTBOX.listen_using: {alias!r} is {connections[alias].display_name}, and only PostgreSQL notifies. Name "
            f"an alias that connects directly to the database of {using!r}, or leave it empty."
        )
    return alias


def diagnose(using: str = "default", *, timeout: float = _VERDICT_SECONDS) -> tuple[Mode, str]:
    """Try how a worker of a database would be woken, now.

    Args:
        using: Alias of the database.
        timeout: Seconds that this may take at the most.

    Returns:
        The mode, and why it is not the best one; empty where it is.

    Raises:
        ConfigurationError: As in :func:`waker_for`.
    """
    waker = waker_for(using, on_wake=lambda: None)
    waker.start()
    try:
        waker.wait_for_verdict(timeout)
        return waker.mode, waker.reason
    finally:
        waker.stop()
