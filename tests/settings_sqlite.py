"""Django settings with SQLite as the default database. mypy's Django plugin reads these too."""

from __future__ import annotations

from databases import django_settings

globals().update(django_settings("sqlite"))
