"""Django settings with PostgreSQL as the default database."""

from __future__ import annotations

from databases import django_settings

globals().update(django_settings("postgres"))
