"""A project with every app, over the database that AUTOMATE_TEST_DATABASE names: sqlite, postgres or mariadb."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from automate_core.testing.databases import (
    ALIASES,
    NAMES,
    chosen_database,
    created_databases,
    find_server,
    require_database,
)

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "packages" / "automate-llm" / "tests"))

from llm_server import LoopbackLLM, MockAI, require_mock_ai  # noqa: E402 - it belongs to the tests of automate-llm

_missing = find_server(chosen_database()).missing
os.environ["DJANGO_SETTINGS_MODULE"] = f"settings_{'sqlite' if _missing else chosen_database()}"

import django  # noqa: E402 - the settings come first

django.setup()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What no database has a part in is tested once, with SQLite."""
    if chosen_database() != "sqlite":
        unconcerned = [item for item in items if "databases" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=unconcerned)
        items[:] = [item for item in items if item not in unconcerned]


Configure = Callable[..., None]
Actions = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]


@pytest.fixture(scope="session")
def databases() -> Iterator[None]:
    if _missing:
        require_database(ALIASES[NAMES.index(chosen_database())])
    from django.core import mail

    mail.outbox = []  # as Django's test runner has it: migrations guard no audit log then, and tables can be emptied
    with created_databases():
        yield


@pytest.fixture
def db(databases: None) -> Iterator[None]:
    """The migrated database, empty again after the test."""
    from django.db import connection, transaction

    yield
    kept = {"django_content_type", "auth_permission"}
    # Far quicker than "flush", which makes the servers wait for their disks table by table.
    with connection.constraint_checks_disabled(), transaction.atomic(), connection.cursor() as cursor:
        for table in set(connection.introspection.django_table_names(only_existing=True)) - kept:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


@pytest.fixture
def configured() -> Iterator[Configure]:
    """Write ``DJANGO_AUTOMATE``: ``configured(EXECUTION={...})``. Calls add up, section by section."""
    from django.conf import settings
    from django.test.utils import override_settings

    active: list[override_settings] = []

    def apply(**sections: Any) -> None:
        merged: dict[str, Any] = dict(settings.DJANGO_AUTOMATE)
        for name, value in sections.items():
            merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
        override = override_settings(DJANGO_AUTOMATE=merged)
        override.enable()
        active.append(override)

    yield apply
    for override in reversed(active):
        override.disable()


@pytest.fixture
def actions() -> Iterator[Actions]:
    """Make functions actions of the prefix ``test`` for one test: ``@actions("name")``."""
    from automate import action
    from automate_core.registry import registry

    yield lambda name: action(f"test.{name}")
    registry.remove("connectors", "test")


@pytest.fixture
def worker() -> Iterator[Callable[..., None]]:
    """Run ``manage.py automate_worker`` in this process until nothing is due: ``worker()``."""
    import logging

    from django.core.management import call_command

    logger = logging.getLogger("automate")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    logged = (logger.handlers[:], logger.level, logger.propagate)

    def run(**options: Any) -> None:
        call_command("automate_worker", drain=True, verbosity=0, **options)

    yield run
    logger.handlers[:], logger.level, logger.propagate = logged
    for number, handler in handlers.items():
        signal.signal(number, handler)


# -- the outside world, on loopback -----------------------------------------------------------------------------------


class Shop:
    """An HTTP API that somebody might call: it answers with what ``answers`` has for a path."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.requests: list[dict[str, Any]] = []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = json.loads(text) if text else None
                shop.requests.append({"path": self.path, "headers": headers, "body": body})
                answer = json.dumps(shop.answers.get(self.path, {})).encode()
                self.send_response(200 if self.path in shop.answers else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.host = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Shop:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as server:
        yield server


@pytest.fixture(scope="session")
def mock_ai() -> Iterator[MockAI]:
    """The independent LLM server mock-ai-api; without it a visible skip, or a failure where CI=true."""
    with require_mock_ai() as server:
        yield server


@pytest.fixture
def llm_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that look like keys, and none of the vendors' own variables."""
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, f"test-{name.lower()}-0123456789")


@pytest.fixture
def loopback_llm(llm_keys: None, configured: Configure) -> Iterator[LoopbackLLM]:
    """A server that answers as both vendors do, and the settings that lead to it."""
    with LoopbackLLM() as server:
        configured(**server.settings())
        yield server
