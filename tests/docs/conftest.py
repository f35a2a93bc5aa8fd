"""A Django project in a temporary folder, for the pages to work in: SQLite, all apps, and an empty app ``shop``."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PROJECT = Path(tempfile.mkdtemp(prefix="automate-docs-"))
atexit.register(shutil.rmtree, PROJECT, ignore_errors=True)

SETTINGS = """
from pathlib import Path

from settings_sqlite import *

BASE_DIR = Path(__file__).parent
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
    }
}
INSTALLED_APPS = [*INSTALLED_APPS, "shop"]
DJANGO_AUTOMATE = {"SECRETS": {"keys": {"k1": "$env:AUTOMATE_KEK_1", "k2": "$env:AUTOMATE_KEK_2"}}}
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = BASE_DIR / "outgoing"
"""
MANAGE = """
import sys
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""

(PROJECT / "shop").mkdir()
(PROJECT / "shop" / "__init__.py").touch()
(PROJECT / "project_settings.py").write_text(SETTINGS)
(PROJECT / "manage.py").write_text(MANAGE)
sys.path[:0] = [str(PROJECT), str(TESTS)]
sys.path.append(str(TESTS.parent / "packages" / "automate-llm" / "tests"))
os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
os.environ["DJANGO_SETTINGS_MODULE"] = "project_settings"

import django  # noqa: E402 - the settings come first

django.setup()

from automate_core import settings as core_settings  # noqa: E402 - likewise
from llm_server import LoopbackLLM  # noqa: E402 - it belongs to the tests of automate-llm


def manage(*arguments: str) -> str:
    """Run a management command of the project as a user does, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=PROJECT, text=True, capture_output=True, timeout=120
    )
    assert done.returncode == 0, f"manage.py {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def migrated() -> None:
    manage("migrate", "--verbosity", "0")


@pytest.fixture
def project(migrated: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project, as empty as at first, and the working directory."""
    from automate.audit import guard
    from django.core.management import call_command
    from django.db import connection, connections

    monkeypatch.chdir(PROJECT)
    yield PROJECT
    for written in (PROJECT / "shop").glob("*.py"):
        if written.name != "__init__.py":
            written.unlink()
    guard.remove(connection)
    call_command("flush", "--no-input", verbosity=0)
    guard.install(connection)
    connections.close_all()


@pytest.fixture(autouse=True)
def language_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server on loopback in the place of the vendors, found through the SDKs' own variables."""
    monkeypatch.setattr(core_settings, "_provider", core_settings._provider)  # pages configure settings, and reset them
    with LoopbackLLM() as server:
        server.replies["What is the capital of France?"] = "The capital of France is Paris."
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.address}/v1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.address)
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
            monkeypatch.setenv(name, f"test-{name.lower()}-0123456789")
        yield
