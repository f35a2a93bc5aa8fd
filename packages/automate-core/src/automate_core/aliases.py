"""What commands say to a ``--database`` that the settings do not have. Django itself is not imported."""

from __future__ import annotations

from collections.abc import Iterable

from automate_core.errors import ConfigurationError

__all__ = ["ensure_alias"]


def ensure_alias(alias: str, known: Iterable[str]) -> None:
    """Refuse a database that the settings do not have.

    Args:
        alias: The alias that was given.
        known: Those there are, such as ``django.db.connections``.

    Raises:
        ConfigurationError: If it is none of them; it names them.
    """
    there = list(known)
    if alias not in there:
        raise ConfigurationError(f"There is no database {alias!r}. DATABASES of the settings has: {', '.join(there)}.")
