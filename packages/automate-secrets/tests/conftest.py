"""Django for the tests of this package: SQLite, or the database that AUTOMATE_TEST_DATABASE names."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import django
import pytest
from automate_core import redaction
from automate_core.settings import SecretSettings
from automate_core.testing.databases import chosen_database, created_databases, django_databases
from django.conf import settings

sys.path.insert(0, str(Path(__file__).parent))  # vault_server

if chosen_database() != "sqlite":  # what knows nothing of a database is tested once
    collect_ignore = ["test_secret_aws.py", "test_secret_env.py", "test_secret_envelope.py", "test_secret_keys.py"]
    collect_ignore += ["test_secret_keys_elsewhere.py", "test_secret_vault.py", "test_vault_login.py"]
    collect_ignore += ["test_vault_server.py"]

KEY = base64.b64encode(bytes(range(32))).decode()

if not settings.configured:
    settings.configure(
        SECRET_KEY="a key for tests alone",
        DATABASES=django_databases(chosen_database()),
        USE_TZ=True,
        ROOT_URLCONF="automate_secrets_test_urls",
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "automate_secrets",
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
    )
    django.setup()

    from django.contrib import admin
    from django.urls import path

    urls = ModuleType("automate_secrets_test_urls")
    urls.urlpatterns = [path("admin/", admin.site.urls)]  # type: ignore[attr-defined]  # a module made by hand
    sys.modules[urls.__name__] = urls


@pytest.fixture(scope="session")
def _databases() -> Iterator[None]:
    with created_databases():
        yield


@pytest.fixture
def database(_databases: None) -> Iterator[None]:
    """The test database, emptied afterwards."""
    from automate_secrets.models import Secret
    from django.db import connections

    yield
    Secret.objects.all().delete()
    connections.close_all()


@pytest.fixture
def config() -> Iterator[SecretSettings]:
    """Settings of the backend ``db`` with one key."""
    yield SecretSettings(backend="db", keys={"k1": KEY})
    redaction.forget(KEY)
