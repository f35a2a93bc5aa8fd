"""Every setting of this package does what it says, and what cannot be meant is refused."""

# The fixture that decorates is Any, and a JSON column that may be null is known to be filled where it is read.
# mypy: disable-error-code="untyped-decorator, index"

from __future__ import annotations

import io
import json
import logging
from datetime import timedelta
from typing import Any, Literal

import pytest
from automate.conf import get_settings
from automate.errors import ConfigurationError, InvalidPayloadError, TransientError
from automate.events import emit_event, run_workflow
from automate.models import Decision, DedupeKey, ExecutionRun
from automate.publish import publish
from automate.runtime import Runtime
from automate.worker.loop import Worker, WorkerOptions
from automate_core.connectors import ActionContext
from automate_outbox.models import OutboxJob
from automate_outbox.store import get_store
from django.core.checks import run_checks
from django.test import Client

LOG = {"id": "f", "action": "flow.log", "params": {"message": "x"}}


def run_step(**step: Any) -> ExecutionRun:
    publish({"slug": "one", "trigger": {"type": "manual"}, "steps": [{"id": "f", **step}]})
    execution_id = run_workflow("one", {})
    Runtime().run_execution(execution_id)
    return ExecutionRun.objects.get(execution_id=execution_id)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"ENABLE": True}, "Did you mean 'ENABLED'"),
        ({"EXECUTION": {"timeout": 3}}, "EXECUTION.timeout"),
        ({"EXECUTION.timeout_seconds": 3}, "Write it nested"),
        ({"EXECUTION": {"timeout_seconds": 0}}, "EXECUTION.timeout_seconds"),
        ({"WORKER_MODE": "threads"}, "WORKER_MODE"),
        ({"EXECUTION": {"retry_initial_seconds": 9, "retry_max_seconds": 1}}, "more than"),
        ({"EXECUTION": {"batch_size": 500}}, "more than OUTBOX.max_batch_size"),
        ({"DECISIONS": {"sample_rate": 0.5}}, "'all': it counts with 'sampled' alone"),
        ({"DECISIONS": {"non_matches": "sampled", "sample_rate": 1.5}}, "DECISIONS.sample_rate"),
        ({"SECRETS": {"active_key": "k9"}}, "SECRETS.active_key"),
        ({"LLM": {"providers": {"openai": {"api_key": "sk-clear"}}}}, "secret reference"),
        ([], "must be a dictionary"),
    ],
)
def test_unknown_and_contradictory_settings_are_refused_by_a_check(settings_of: Any, raw: Any, text: str) -> None:
    settings_of(raw)
    with pytest.raises(ConfigurationError) as caught:
        get_settings()
    assert text in str(caught.value)
    found = [message for message in run_checks() if message.id == "automate.E001"]
    assert text in found[0].msg
    assert "sk-clear" not in str(caught.value) + found[0].msg


@pytest.fixture
def settings_of() -> Any:
    from django.test.utils import override_settings

    active = []

    def apply(raw: Any) -> None:
        override = override_settings(DJANGO_AUTOMATE=raw)
        override.enable()
        active.append(override)

    yield apply
    for override in active:
        override.disable()


@pytest.mark.usefixtures("db")
class TestEffects:
    def test_execution_timeout_seconds(self, configured: Any, actions: Any) -> None:
        configured(EXECUTION={"timeout_seconds": 7})

        @actions("context")
        def context(ctx: ActionContext) -> float:
            return ctx.timeout

        assert run_step(action="test.context").steps.get().output == 7
        assert run_step(action="test.context", timeout=3).steps.get().output == 3

    def test_execution_max_retries_and_backoff(self, configured: Any, actions: Any) -> None:
        configured(
            EXECUTION={
                "max_retries": 2,
                "retry_initial_seconds": 0.1,
                "retry_factor": 1000,
                "retry_max_seconds": 0.2,
                "retry_jitter": False,
            }
        )

        @actions("fails")
        def fails() -> None:
            raise TransientError("no")

        steps = list(run_step(action="test.fails").steps.all())
        assert [s.status for s in steps] == ["RETRY", "RETRY", "FAILED"]
        first, second = (
            (s.retry_at - s.finished_at).total_seconds() for s in steps[:2] if s.retry_at and s.finished_at
        )
        assert first >= 0.1
        assert 0.2 <= second < 50  # a thousand times the first, were it not for the longest wait

    def test_execution_max_output_bytes(self, configured: Any, actions: Any) -> None:
        @actions("large")
        def large() -> str:
            return "x" * 100

        assert run_step(action="test.large").status == "SUCCESS"
        configured(EXECUTION={"max_output_bytes": 50})
        assert run_step(action="test.large").error["code"] == "invalid_payload"

    def test_batch_size_is_where_the_claim_starts_and_max_batch_size_bounds_it(
        self, configured: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configured(EXECUTION={"batch_size": 2}, OUTBOX={"max_batch_size": 3})
        for _ in range(12):
            emit_event("nobody.listens", {})
        worker = Worker(WorkerOptions.from_settings(concurrency=50))
        limits = []
        claim = worker._store.claim_batch

        def spy(worker_id: str, limit: int, **more: Any) -> Any:
            limits.append(limit)
            return claim(worker_id, limit, **more)

        monkeypatch.setattr(worker._store, "claim_batch", spy)
        worker.run(drain=True)
        assert limits[:4] == [2, 3, 3, 3]

    def test_worker_and_outbox_defaults(self, configured: Any) -> None:
        configured(
            WORKER={"concurrency": 3, "poll_seconds": 0.5, "grace_seconds": 4, "silence_seconds": 7},
            OUTBOX={"lease_seconds": 9, "max_crashes": 5, "reaper_interval_seconds": 2},
        )
        options = WorkerOptions.from_settings()
        assert (options.concurrency, options.poll, options.grace, options.lease) == (3, 0.5, 4, 9)
        assert get_store().lease_seconds == 9
        assert Worker(options)._reaper.max_crashes == 5

    def test_events_max_payload_bytes(self, configured: Any) -> None:
        configured(EVENTS={"max_payload_bytes": 20})
        emit_event("a.b", {"x": "y"})
        with pytest.raises(InvalidPayloadError, match="20"):
            emit_event("a.b", {"x": "y" * 20})

    def test_events_dedupe_window_days(self, configured: Any) -> None:
        configured(EVENTS={"dedupe_window_days": 2})
        emit_event("a.b", {}, "k")
        from django.utils import timezone

        left = DedupeKey.objects.get().expires_at - timezone.now()
        assert timedelta(days=1, hours=23) < left <= timedelta(days=2)

    def test_decisions_non_matches(self, configured: Any, work: Any) -> None:
        trigger = {"type": "event", "event": "a.b", "rule": {"==": [{"var": "x"}, 1]}}
        publish({"slug": "w", "trigger": trigger, "steps": [LOG]})
        emit_event("a.b", {"x": 2})
        work()
        configured(DECISIONS={"non_matches": "none"})
        emit_event("a.b", {"x": 2})
        emit_event("a.b", {"x": 1})
        work()
        assert sorted(Decision.objects.values_list("matched", flat=True)) == [False, True]

    def test_rules_extensions(self, configured: Any, work: Any) -> None:
        from automate.errors import InvalidDefinitionError
        from automate.rules import compile_rule, evaluate, explain

        rule = {"starts_with": [{"var": "name"}, "Dr"]}
        definition = {
            "slug": "w",
            "trigger": {"type": "event", "event": "a.b", "rule": rule},
            "steps": [LOG | {"if": {"ends_with": [{"var": "event.payload.name"}, "Who"]}}],
        }
        with pytest.raises(InvalidDefinitionError) as caught:
            publish(definition)
        assert [problem["pointer"] for problem in caught.value.context["problems"]] == ["/trigger/rule", "/steps/0/if"]
        configured(RULES={"extensions": ["text"]})
        publish(definition)
        for name in ("Mr Who", "Dr Who", "Dr No"):
            emit_event("a.b", {"name": name})
            work()
        decisions = list(Decision.objects.order_by("pk").values_list("matched", flat=True))
        assert sorted(decisions) == [False, True, True]
        outcomes = [run.steps.get().status for run in ExecutionRun.objects.all()]
        assert sorted(outcomes) == ["SKIPPED", "SUCCESS"]
        assert evaluate(rule, {"name": "Dr Who"}) is compile_rule(rule).evaluate({"name": "Dr Who"}) is True
        assert explain(rule, {"name": "Mr"})["reason"] == 'name is "Mr", needs to start with "Dr"'
        # Without them the version is broken, which its decisions tell; it does not match.
        configured(RULES={})
        emit_event("a.b", {"name": "Dr Who"})
        work()
        assert "starts_with" in Decision.objects.exclude(error="").get().error

    def test_rules_dialect(self, configured: Any, work: Any) -> None:
        rule = {"if": [{"==": [{"val": "x"}, 0]}, True, {"throw": "not zero"}]}
        configured(RULES={"dialect": "community"})
        publish({"slug": "w", "trigger": {"type": "event", "event": "a.b", "rule": rule}, "steps": [LOG]})
        emit_event("a.b", {})  # what is missing is 0 in this dialect
        work()
        assert Decision.objects.get().matched is True
        emit_event("a.b", {"x": 1})
        work()
        failed = Decision.objects.get(matched=False)
        assert "not zero" in failed.error
        assert "/if/2" in failed.error

    def test_rules_extension_that_is_not_installed(self, configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        configured(RULES={"extensions": ["regex"]})
        monkeypatch.setattr("automate.checks._importable", lambda module: True)
        assert [message for message in run_checks() if message.id == "automate.E006"] == []
        monkeypatch.setattr("automate.checks._importable", lambda module: module != "re2")
        (found,) = [message for message in run_checks() if message.id == "automate.E006"]
        assert found.hint == "pip install 'automate-core[regex]'"

    def test_metrics_export(self, configured: Any) -> None:
        assert Client().get("/automate/metrics").status_code == 404
        configured(METRICS_EXPORT=True, OUTBOX={"metrics_cache_seconds": 0})
        emit_event("a.b", {})
        text = Client().get("/automate/metrics").content.decode()
        assert 'automate_outbox_items{queue="default",state="due"} 1.0' in text
        assert "automate_outbox_oldest_seconds" in text

    def test_outbox_metrics_cache_seconds(self, configured: Any) -> None:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        def statements() -> int:
            with CaptureQueriesContext(connection) as queries:
                assert Client().get("/automate/metrics").status_code == 200
            return len(queries)

        configured(METRICS_EXPORT=True, OUTBOX={"metrics_cache_seconds": 0})
        assert [statements(), statements()] == [3, 3]
        configured(METRICS_EXPORT=True, OUTBOX={"metrics_cache_seconds": 60})
        assert [statements(), statements()] == [3, 0]

    def test_redact_keys(self, configured: Any, actions: Any) -> None:
        @actions("echo")
        def echo() -> dict[str, str]:
            return {"favourite_colour": "blue", "other": "green"}

        configured(REDACT_KEYS=["favourite_colour"])
        assert run_step(action="test.echo").steps.get().output == {"favourite_colour": "[REDACTED]", "other": "green"}

    @pytest.mark.parametrize("mode", ["thread", "synchronous"])
    def test_worker_mode(self, configured: Any, mode: str, actions: Any) -> None:
        import threading

        from django.core.management import call_command

        threads = []

        @actions("where")
        def where() -> None:
            threads.append(threading.current_thread())

        configured(WORKER_MODE=mode)
        publish({"slug": "one", "trigger": {"type": "manual"}, "steps": [{"id": "f", "action": "test.where"}]})
        run_workflow("one", {})
        call_command("automate_worker", drain=True, stdout=io.StringIO())
        assert (threads[0] is threading.current_thread()) is (mode == "synchronous")
        assert not OutboxJob.objects.exclude(status="COMPLETED").exists()


def test_logging_schema(capsys: pytest.CaptureFixture[str]) -> None:
    from automate import logs

    logger = logging.getLogger("automate")
    schemas: tuple[Literal["ecs"], Literal["simple"]] = ("ecs", "simple")
    for schema in schemas:
        logger.handlers.clear()
        logs.configure(schema, verbosity=2)
        logging.getLogger("automate.worker").info("hello %s", "you", extra={"password": "hunter2"})
    logger.handlers.clear()
    logger.propagate = True
    ecs, simple = capsys.readouterr().err.strip().splitlines()
    line = json.loads(ecs)
    assert (line["message"], line["log.level"], line["labels"]) == ("hello you", "info", {"password": "[REDACTED]"})
    assert "hello you" in simple
    assert not simple.startswith("{")


def test_plugins_blocked(configured: Any) -> None:
    from automate_core.registry import Registry

    configured(PLUGINS={"blocked": ["django"]})
    states = {info.name: info.state for info in Registry().plugins()}
    assert (states["django"], states["core"]) == ("blocked", "loaded")
