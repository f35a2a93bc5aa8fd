"""System checks: what would make leases wrong is refused before anything runs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

__all__ = ["check_databases", "check_listening", "check_time_zone"]

_SQLITE_MINIMUM = (3, 37, 0)


def check_time_zone(**kwargs: Any) -> list[CheckMessage]:
    """Refuse local times: leases are compared with the database's clock, in UTC.

    Args:
        **kwargs: What Django passes to a check.
    """
    if settings.USE_TZ:
        return []
    return [
        Error(
            "The outbox keeps its times in UTC, but USE_TZ is False.",
            hint="Set USE_TZ = True (Django's default).",
            id="automate_outbox.E001",
        )
    ]


def check_databases(**kwargs: Any) -> list[CheckMessage]:
    """Refuse databases that store local times, and an SQLite that is too old.

    Args:
        **kwargs: What Django passes to a check.
    """
    from datetime import UTC

    from django.db import connections

    problems: list[CheckMessage] = []
    for connection in connections.all():
        local = settings.USE_TZ and connection.vendor in {"sqlite", "mysql"} and connection.timezone is not UTC
        if local:
            problems.append(
                Error(
                    f"The outbox keeps its times in UTC, but DATABASES[{connection.alias!r}] has another TIME_ZONE.",
                    hint="Remove TIME_ZONE from this database.",
                    id="automate_outbox.E002",
                )
            )
        if connection.vendor == "sqlite":
            problems += _check_sqlite()
    return problems


def check_listening(**kwargs: Any) -> list[CheckMessage]:
    """Refuse an ``OUTBOX.listen_using`` on which nothing can be heard.

    Args:
        **kwargs: What Django passes to a check.
    """
    from automate_core.errors import ConfigurationError
    from automate_core.settings import current

    from automate_outbox.wake import listening_alias

    try:
        outbox = current().outbox
    except ConfigurationError:
        return []  # told by whoever reads the settings
    try:
        if outbox.listen_using:
            listening_alias()
    except ConfigurationError as error:
        return [Error(str(error), id="automate_outbox.E004")]
    return []


def _check_sqlite() -> list[CheckMessage]:
    import sqlite3

    if sqlite3.sqlite_version_info >= _SQLITE_MINIMUM:
        return []
    wanted = ".".join(map(str, _SQLITE_MINIMUM))
    return [
        Error(
            f"SQLite {sqlite3.sqlite_version} is too old for the outbox.",
            hint=f"Use a Python that brings SQLite {wanted} or newer.",
            id="automate_outbox.E003",
        )
    ]
