"""Every documented setting has its name, type and default, and does what its row says."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from automate.errors import BudgetExceeded, ConfigurationError, PolicyError, TransientError
from automate.models import Event, ExecutionRun
from automate_core import redaction
from automate_core.secrets import SecretBackend
from automate_core.settings import Settings, parse
from automate_outbox.models import OutboxJob
from django.test import Client
from llm_server import LoopbackLLM

from acceptance import documents
from acceptance.conftest import Actions, Configure, Shop
from acceptance.documents import Setting

ROWS = documents.settings()
IN_PYTHON = {"bool": bool, "int": int, "float": Decimal, "list": tuple, "str": str}
"""How the documented types are held: amounts of money exactly, lists unchangeably."""

WRONG = {"bool": "perhaps", "int": 1.5, "float": "much", "list": 7, "str": 7}


def held(settings: Settings, row: Setting) -> Any:
    section, _, key = row.name.lower().rpartition(".")
    return getattr(getattr(settings, section) if section else settings, key)


# -- the rows ---------------------------------------------------------------------------------------------------------


def test_no_row_is_lost() -> None:
    text = documents.CONFIGURATION.read_text().partition("1. Configuration")[2].partition("2. Python API")[0]
    assert len(ROWS) == len(re.findall(r"^[A-Z_]{3,}[.\w]* \w+ ", text, re.MULTILINE)) == 12


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
class TestRows:
    def test_type_and_default(self, row: Setting) -> None:
        value = held(parse({}), row)
        assert type(value) is IN_PYTHON[row.type]
        assert (list(value) if isinstance(value, tuple) else value) == row.default

    def test_it_is_written_as_documented(self, row: Setting) -> None:
        assert parse(row.write(row.default)) == parse({})

    def test_another_type_is_refused(self, row: Setting) -> None:
        with pytest.raises(ConfigurationError, match=re.escape(row.name)):
            parse(row.write(WRONG[row.type]))

    def test_the_values_that_its_description_names(self, row: Setting) -> None:
        for value in re.findall(r'"(\w+)"', row.description):
            assert held(parse(row.write(value)), row) == value


@pytest.mark.parametrize("name", ["WORKER_MODE", "LOGGING_SCHEMA"])
def test_other_values_of_a_choice_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        parse({name: "other"})


# -- what they do -----------------------------------------------------------------------------------------------------


class TableBackend(SecretBackend):
    """A custom backend, as a project would write it."""

    key = "table"

    def get(self, path: str, **_: Any) -> str:
        return f"the table's {path}"


@pytest.fixture
def no_secrets_remembered() -> Iterator[None]:
    yield
    for value in ("the table's KEY", "the variable's KEY", "the row's KEY"):
        redaction.forget(value)


def run(action: str, **params: Any) -> ExecutionRun:
    """Publish a workflow of one step, run it, and return its run."""
    from automate.events import run_workflow
    from automate.publish import publish
    from automate.runtime import Runtime

    step = {"id": "only", "action": action, "params": params}
    publish({"slug": "one-step", "trigger": {"type": "manual"}, "steps": [step]})
    execution_id = run_workflow("one-step", {})
    Runtime().run_execution(execution_id)
    return ExecutionRun.objects.get(execution_id=execution_id)


def code(made: ExecutionRun) -> str:
    return "" if made.error is None else str(made.error["code"])


@pytest.fixture
def database_of_children(databases: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that the test starts use the test's database."""
    from django.db import connection

    found = {key: str(value) for key, value in connection.settings_dict.items()}
    url = "://{USER}:{PASSWORD}@localhost:{PORT}/{NAME}?host={HOST}".format(**found)
    monkeypatch.setenv("AUTOMATE_TEST_SQLITE", found["NAME"])
    monkeypatch.setenv("AUTOMATE_TEST_POSTGRES", f"postgres{url}")
    monkeypatch.setenv("AUTOMATE_TEST_MYSQL", f"mysql{url}")
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(os.path.dirname(__file__)))


@pytest.mark.usefixtures("db")
class TestEffects:
    def test_enabled(self, configured: Configure, worker: Callable[..., None]) -> None:
        from automate.events import emit_event, run_workflow
        from automate.publish import publish
        from automate.runtime import Runtime

        log = {"id": "only", "action": "flow.log", "params": {"message": "x"}}
        publish({"slug": "one-step", "trigger": {"type": "manual"}, "steps": [log]})
        configured(ENABLED=False)
        emit_event("a.b", {})
        with pytest.raises(PolicyError, match="ENABLED"):
            Runtime().run_execution(run_workflow("one-step", {}))
        worker()
        assert Event.objects.count() == 1
        assert set(OutboxJob.objects.values_list("status", flat=True)) == {"PENDING"}
        configured(ENABLED=True)
        worker()
        assert set(OutboxJob.objects.values_list("status", flat=True)) == {"COMPLETED"}

    @pytest.mark.parametrize("mode", ["thread", "process", "synchronous"])
    @pytest.mark.usefixtures("database_of_children")
    def test_worker_mode(self, mode: str, configured: Configure, worker: Callable[..., None]) -> None:
        from automate.events import run_workflow
        from automate.publish import publish
        from automate.signals import workflow_completed

        threads = []

        def receive(**_: Any) -> None:
            threads.append("mine" if threading.current_thread() is threading.main_thread() else "another")

        log = {"id": "only", "action": "flow.log", "params": {"message": "x"}}
        publish({"slug": "one-step", "trigger": {"type": "manual"}, "steps": [log]})
        run_workflow("one-step", {})
        configured(WORKER_MODE=mode, WORKER={"concurrency": 1})
        workflow_completed.connect(receive)
        try:
            worker()
        finally:
            workflow_completed.disconnect(receive)
        assert ExecutionRun.objects.get().status == "SUCCESS"
        assert threads == {"thread": ["another"], "process": [], "synchronous": ["mine"]}[mode]

    def test_execution_timeout_seconds(self, configured: Configure, actions: Actions) -> None:
        configured(EXECUTION={"timeout_seconds": 1, "max_retries": 0})

        @actions("endless")
        async def endless() -> None:
            await asyncio.Event().wait()

        made = run("test.endless")
        assert (made.status, code(made)) == ("FAILED", "step_timeout")

    def test_execution_max_retries(self, configured: Configure, actions: Actions) -> None:
        calls = []

        @actions("unlucky")
        def unlucky() -> None:
            calls.append(1)
            raise TransientError("not now")

        for retries in (0, 2):
            configured(EXECUTION={"max_retries": retries, "retry_initial_seconds": 0.01})
            calls.clear()
            assert run("test.unlucky").status == "FAILED"
            assert len(calls) == 1 + retries

    def test_execution_batch_size(self, configured: Configure) -> None:
        from automate.events import emit_event
        from automate.worker.loop import Worker, WorkerOptions

        for size in (2, 5):
            configured(EXECUTION={"batch_size": size})
            for _ in range(7):
                emit_event("a.b", {})
            assert Worker(WorkerOptions.from_settings(concurrency=50)).run(once=True) == size

    def test_policy_allow_ssrf(self, configured: Configure, shop: Shop) -> None:
        shop.answers["/"] = {}
        assert code(run("http.request", url=f"http://{shop.host}/")) == "ssrf_blocked"
        assert code(run("http.request", url="http://10.0.0.1/")) == "ssrf_blocked"
        assert shop.requests == []
        configured(POLICY={"allow_ssrf": True})
        assert run("http.request", url=f"http://{shop.host}/").status == "SUCCESS"
        assert len(shop.requests) == 1

    def test_policy_connector_allowlist(self, configured: Configure) -> None:
        configured(POLICY={"connector_allowlist": ["http"]})
        assert code(run("flow.log", message="x")) == "connector_not_allowed"
        configured(POLICY={"connector_allowlist": ["http", "flow"]})
        assert run("flow.log", message="x").status == "SUCCESS"

    def test_policy_llm_budget_daily(self, configured: Configure, loopback_llm: LoopbackLLM) -> None:
        from automate_llm import chat

        question = [{"role": "user", "content": "Hello!"}]
        configured(POLICY={"llm_budget_daily": 0.000001})
        with pytest.raises(BudgetExceeded):
            chat(question)
        assert loopback_llm.requests == []
        configured(POLICY={"llm_budget_daily": 0.5})
        assert chat(question) == "Hello!"

    @pytest.mark.usefixtures("no_secrets_remembered")
    def test_secrets_backend(self, configured: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
        from automate.secrets import resolve
        from automate_secrets.db import DbBackend

        monkeypatch.setenv("AUTOMATE_KEY", "the variable's KEY")
        keys = {"k1": base64.b64encode(os.urandom(32)).decode()}
        configured(SECRETS={"backend": "db", "keys": keys})
        DbBackend().set("KEY", "the row's KEY")
        assert resolve("$secret:KEY") == "the row's KEY"
        configured(SECRETS={"backend": "env"})
        assert resolve("$secret:KEY") == "the variable's KEY"
        configured(SECRETS={"backend": f"{TableBackend.__module__}.{TableBackend.__qualname__}"})
        assert resolve("$secret:KEY") == "the table's KEY"

    @pytest.mark.usefixtures("no_secrets_remembered")
    def test_secrets_prefix(self, configured: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
        from automate.secrets import resolve

        monkeypatch.setenv("SHOP_KEY", "the variable's KEY")
        configured(SECRETS={"prefix": "SHOP_"})
        assert resolve("$secret:KEY") == "the variable's KEY"

    @pytest.mark.parametrize("schema", ["ecs", "simple"])
    def test_logging_schema(
        self, schema: str, configured: Configure, worker: Callable[..., None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        from automate.events import emit_event

        emit_event("a.b", {})
        Event.objects.all()._raw_delete("default")  # so that there is something to complain about
        configured(LOGGING_SCHEMA=schema)
        worker()
        lines = capsys.readouterr().err.splitlines()
        assert "EventNotFound" in lines[0]
        if schema == "ecs":
            record = json.loads(lines[0])
            assert {"@timestamp", "ecs.version", "message"} <= record.keys()
            assert (record["log.level"], len(lines)) == ("error", 1)
        else:
            assert " ERROR automate.worker " in lines[0]

    def test_metrics_export(self, configured: Configure) -> None:
        assert Client().get("/automate/metrics").status_code == 404
        configured(METRICS_EXPORT=True)
        answer = Client().get("/automate/metrics")
        assert answer["Content-Type"].startswith("text/plain")
        assert b"automate_outbox_items" in answer.content


def test_every_row_has_an_effect() -> None:
    wanted = {f"test_{row.name.lower().replace('.', '_')}" for row in ROWS}
    assert wanted == {name for name in vars(TestEffects) if name.startswith("test_")}
