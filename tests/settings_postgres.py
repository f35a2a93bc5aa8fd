"""The same settings over PostgreSQL."""

from __future__ import annotations

from automate_core.testing.databases import django_databases
from settings_sqlite import *  # noqa: F403 - everything but the database

DATABASES = django_databases("postgres")
