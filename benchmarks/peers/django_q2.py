"""django-q2: the ORM broker, two workers, 50 at a time."""

from __future__ import annotations

import os

os.environ.update(BENCH_APPS="django_q", DJANGO_SETTINGS_MODULE="project.settings")

import django
from django.core.management import call_command

django.setup()


def setup() -> None:
    """Make the tables."""
    call_command("migrate", verbosity=0)


def fill(count: int) -> None:
    """Put in jobs, one by one: it has no other way."""
    for _ in range(count):
        put(-1)


def put(number: int) -> None:
    """Put in one job."""
    from django_q.tasks import async_task

    async_task("probe.hit", number)


def work(index: str) -> None:
    """Work for ever."""
    call_command("qcluster")
