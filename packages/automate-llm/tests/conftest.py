"""Django with every database that is there, and the servers that stand in for the vendors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from automate_core import settings
from automate_core.testing.databases import all_databases, created_databases
from django.conf import settings as django_settings

sys.path.insert(0, str(Path(__file__).parent))

from llm_server import LoopbackLLM, MockAI, require_mock_ai

django_settings.configure(
    DATABASES=all_databases(),
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.admin", "automate_llm"],
    SECRET_KEY="only-for-tests",
    TIME_ZONE="Pacific/Kiritimati",
    USE_TZ=True,
)
django.setup()


@pytest.fixture(scope="session", autouse=True)
def databases() -> Iterator[None]:
    with created_databases():
        yield


@pytest.fixture(autouse=True)
def default_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin and end each test with the defaults, with keys that look like keys, and without the vendors' variables."""
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "test-openai-key-0123456789")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test-anthropic-key-0123456789")
    settings.configure(None)
    yield
    settings.configure(None)


@pytest.fixture(scope="session")
def mock_ai() -> Iterator[MockAI]:
    """The independent server mock-ai-api."""
    with require_mock_ai() as server:
        yield server


@pytest.fixture
def loopback() -> Iterator[LoopbackLLM]:
    """A server of our own that fails on demand."""
    with LoopbackLLM() as server:
        yield server
