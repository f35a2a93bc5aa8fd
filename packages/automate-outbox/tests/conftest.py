from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from automate_core.testing.databases import ALIASES, all_databases, created_databases, require_database
from django.conf import settings

sys.path.insert(0, str(Path(__file__).parent))  # wake_kit

settings.configure(
    DATABASES=all_databases(),
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "automate_outbox",
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
    SECRET_KEY="for tests alone",
    STATIC_URL="/static/",
    USE_TZ=True,
)
django.setup()


@pytest.fixture(scope="session", autouse=True)
def _databases() -> Iterator[None]:
    with created_databases():
        yield


@pytest.fixture(params=ALIASES)
def using(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each database in its turn, with an empty outbox."""
    from automate_outbox.models import OutboxJob

    alias = require_database(request.param)
    OutboxJob.objects.using(alias).all().delete()
    yield alias
    OutboxJob.objects.using(alias).all().delete()
