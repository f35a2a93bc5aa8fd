"""django-tasks-db: Django's own tasks in the database, one worker that looks every second."""

from __future__ import annotations

import os

os.environ.update(BENCH_APPS="django_tasks_db", DJANGO_SETTINGS_MODULE="project.settings")

import django
from django.core.management import call_command

django.setup()


def setup() -> None:
    """Make the tables."""
    call_command("migrate", verbosity=0)


def fill(count: int) -> None:
    """Put in jobs, one by one: it was given no other way."""
    for _ in range(count):
        put(-1)


def put(number: int) -> None:
    """Put in one job."""
    from project.tasks import noop

    noop.enqueue(number)


def work(index: str) -> None:
    """Work for ever."""
    call_command("db_worker", interval=1, startup_delay=False, reload=False, verbosity=0)
