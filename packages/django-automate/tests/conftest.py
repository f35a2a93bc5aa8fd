"""Tests of django-automate, over the database that AUTOMATE_TEST_DATABASE names: sqlite, postgres or mariadb."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from automate_core.testing.databases import (
    ALIASES,
    NAMES,
    chosen_database,
    created_databases,
    django_databases,
    find_server,
)
from django.conf import settings

sys.path.insert(0, str(Path(__file__).parent))  # project_urls, crash_app

_missing = find_server(chosen_database()).missing

settings.configure(
    SECRET_KEY="a key for tests alone",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES=django_databases("sqlite" if _missing else chosen_database()),
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "automate_outbox",
        "automate_secrets",
        "automate_llm",
        "automate_rag",
        "automate",
        "crash_app",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    ROOT_URLCONF="project_urls",
    STATIC_URL="/static/",
    DJANGO_AUTOMATE={"EXECUTION": {"retry_initial_seconds": 0.05, "retry_max_seconds": 0.2}},
)
django.setup()


@pytest.fixture(scope="session")
def databases() -> Iterator[None]:
    if _missing:
        from automate_core.testing.databases import require_database

        require_database(ALIASES[NAMES.index(chosen_database())])
    from django.core import mail

    mail.outbox = []  # as Django's test runner has it: migrations guard no audit log then, and tables can be emptied
    with created_databases():
        yield


@pytest.fixture
def db(databases: None) -> Iterator[None]:
    """The migrated database, empty again after the test."""
    yield
    from automate import _late_entries
    from automate_core.secrets import invalidate
    from django.apps import apps
    from django.db import connection, transaction

    _late_entries._waiting.clear()
    invalidate()
    # Far cheaper than the flush command, which truncates every table of every app.
    kept = ("contenttypes", "auth")
    tables = [m._meta.db_table for m in apps.get_models() if m._meta.app_label not in kept]
    with connection.constraint_checks_disabled(), transaction.atomic(), connection.cursor() as cursor:
        for table in [*tables, "auth_user_user_permissions", "auth_user"]:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


@pytest.fixture
def configured() -> Iterator[Any]:
    """Override DJANGO_AUTOMATE: ``configured(EXECUTION={...})``."""
    from django.test.utils import override_settings

    active: list[override_settings] = []

    def apply(**sections: Any) -> None:
        merged = {**settings.DJANGO_AUTOMATE, **sections}
        override = override_settings(DJANGO_AUTOMATE=merged)
        override.enable()
        active.append(override)

    yield apply
    for override in reversed(active):
        override.disable()


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Take back what a worker that runs in this process does to its logger and to its streams."""
    import logging
    import sys

    logger, streams = logging.getLogger("automate"), (sys.stdout, sys.stderr, sys.excepthook)
    before = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.level, logger.propagate, logger.handlers = before
    sys.stdout, sys.stderr, sys.excepthook = streams
    logging.captureWarnings(False)


@pytest.fixture
def actions() -> Iterator[Any]:
    """Register functions as actions of the prefix ``test`` for one test: ``@actions("name")``."""
    from automate import action
    from automate_core.registry import registry

    yield lambda name, **options: action(f"test.{name}", **options)
    registry.remove("connectors", "test")


@pytest.fixture
def fresh_definitions() -> Iterator[None]:
    """No workflow that Python defines, neither from before nor left behind."""
    from automate.builder import definitions

    known = dict(definitions._builders)
    definitions.clear()
    yield
    definitions.clear()
    definitions._builders.update(known)


@pytest.fixture
def work() -> Any:
    """Run a worker in this thread until nothing is due: ``work()``."""

    def run(*, settle: bool = True, **options: Any) -> int:
        import time

        from automate.worker.loop import Worker, WorkerOptions
        from automate_outbox.models import OutboxJob

        handled = Worker(WorkerOptions.from_settings(inline=True, **options)).run(drain=True)
        deadline = time.monotonic() + 10
        while settle and OutboxJob.objects.filter(status__in=("PENDING", "RETRY")).exists():
            assert time.monotonic() < deadline, "the outbox does not come to rest"
            time.sleep(0.02)
            handled += Worker(WorkerOptions.from_settings(inline=True, **options)).run(drain=True)
        return handled

    return run
