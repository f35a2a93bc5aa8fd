"""Reads ``DJANGO_AUTOMATE``. Nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from automate_core import settings as core_settings
from automate_core.errors import ConfigurationError
from automate_core.settings import Settings
from django.conf import settings as django_settings

__all__ = ["get_settings", "install"]


@cache
def get_settings() -> Settings:
    """Return the settings in force, read from ``DJANGO_AUTOMATE`` at the first call.

    Raises:
        ConfigurationError: If a name is unknown, a value is wrong or two contradict each other.
    """
    raw = getattr(django_settings, "DJANGO_AUTOMATE", {})
    if not isinstance(raw, Mapping):
        raise ConfigurationError(f"DJANGO_AUTOMATE must be a dictionary, not {type(raw).__name__}.")
    return core_settings.parse(raw)


def install() -> None:
    """Make these the settings of every package, and follow Django's ``override_settings``."""
    from django.core.signals import setting_changed

    core_settings.configure(get_settings)
    setting_changed.connect(_reload, dispatch_uid="automate.conf")


def _reload(*, setting: str, **_: Any) -> None:
    if setting == "DJANGO_AUTOMATE":
        get_settings.cache_clear()
