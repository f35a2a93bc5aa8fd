"""Django with every database that is there, each as an alias, for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import django
import pytest
from automate_core.testing.databases import all_databases, created_databases
from django.conf import settings

settings.configure(
    DATABASES=all_databases(),
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["automate_rag"],
    SECRET_KEY="only-for-tests",
    USE_TZ=True,
)
django.setup()


@pytest.fixture(scope="session", autouse=True)
def databases() -> Iterator[None]:
    with created_databases():
        yield
