"""What the specification says in prose: returns, raises, statuses, tables."""

from __future__ import annotations

import ast
import importlib
import inspect
import uuid
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from automate.errors import (
    DuplicateEventError,
    DuplicateKeyError,
    EndpointNotFound,
    NotRegisteredError,
    SecretAccessDenied,
    SecretBackendUnavailable,
    SecretNotFoundError,
    TransientError,
)
from automate_core import redaction
from llm_server import LoopbackLLM

from acceptance import documents
from acceptance.conftest import Actions, Configure

# -- runtime ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("db")
class TestRuntime:
    def publish(self, *steps: dict[str, Any]) -> Any:
        from automate.publish import publish

        return publish({"slug": "w", "trigger": {"type": "manual"}, "steps": list(steps)})[0].workflow

    @pytest.mark.parametrize("execution_id", [str(uuid.uuid4()), uuid.uuid4(), "no id at all"])
    def test_an_execution_that_does_not_exist(self, execution_id: Any) -> None:
        from automate.models import Execution
        from automate.runtime import Runtime

        with pytest.raises(Execution.DoesNotExist):
            Runtime().run_execution(execution_id)

    @pytest.mark.parametrize(("outcome", "status"), [("fine", "SUCCESS"), ("broken", "FAILED")])
    def test_status_goes_from_running_to_success_or_failed(self, outcome: str, status: str, actions: Actions) -> None:
        from automate.events import run_workflow
        from automate.models import Execution, ExecutionRun
        from automate.runtime import Runtime

        seen = []

        @actions("look")
        def look(outcome: str) -> str:
            seen.append((Execution.objects.get().status, ExecutionRun.objects.get().status))
            if outcome == "broken":
                raise ValueError("broken")
            return outcome

        self.publish({"id": "look", "action": "test.look", "params": {"outcome": "{{ event.payload.outcome }}"}})
        execution_id = run_workflow("w", {"outcome": outcome})
        assert Execution.objects.get().status == "QUEUED"
        Runtime().run_execution(execution_id)
        assert seen == [("RUNNING", "RUNNING")]
        assert (Execution.objects.get().status, ExecutionRun.objects.get().status) == (status, status)
        Runtime().run_execution(execution_id)
        assert len(seen) == 1

    def test_each_step_of_the_graph_is_executed_after_what_it_needs(self, actions: Actions) -> None:
        from automate.models import Execution
        from automate.runtime import Runtime

        order = []

        @actions("note")
        def note(name: str) -> None:
            order.append(name)

        def step(name: str, *needs: str) -> dict[str, Any]:
            return {"id": name, "action": "test.note", "params": {"name": name}, "needs": list(needs)}

        workflow = self.publish(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"), step("alone"))
        execution = Execution.objects.create(version=workflow.live_version)
        Runtime().run_execution(execution.id)
        assert sorted(order) == ["a", "alone", "b", "c", "d"]
        assert [name for name in order if name in "ad"] == ["a", "d"]
        assert order.index("a") < min(order.index("b"), order.index("c"))
        assert order.index("d") > max(order.index("b"), order.index("c"))

    def test_retries_back_off_exponentially(self, actions: Actions, configured: Configure) -> None:
        from automate.models import Execution, StepRun
        from automate.runtime import Runtime

        @actions("unlucky")
        def unlucky() -> None:
            raise TransientError("not now")

        configured(EXECUTION={"max_retries": 3, "retry_initial_seconds": 0.02, "retry_jitter": False})
        workflow = self.publish({"id": "only", "action": "test.unlucky"})
        Runtime().run_execution(Execution.objects.create(version=workflow.live_version).id)
        rows = list(StepRun.objects.order_by("attempt"))
        assert [row.status for row in rows] == ["RETRY", "RETRY", "RETRY", "FAILED"]
        times = [(row.retry_at, row.finished_at) for row in rows[:3]]
        waits = [(due - ended).total_seconds() for due, ended in times if due and ended]
        # From below alone: how late a machine is with the rest says nothing.
        assert [wait >= least for wait, least in zip(waits, (0.02, 0.04, 0.08), strict=True)] == [True] * 3


# -- events -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("db")
class TestEvents:
    def test_an_event_goes_into_the_outbox_with_the_callers_transaction(self) -> None:
        from automate.events import emit_event
        from automate.models import Event
        from automate_outbox.models import OutboxJob
        from django.db import transaction

        event_id = emit_event("order.created", {"a": 1})
        assert type(event_id) is str
        assert Event.objects.get().id == uuid.UUID(event_id)
        assert OutboxJob.objects.get().status == "PENDING"
        with transaction.atomic():
            emit_event("order.created", {"a": 2}, "key")
            transaction.set_rollback(True)
        assert (Event.objects.count(), OutboxJob.objects.count()) == (1, 1)
        assert emit_event("order.created", {"a": 3}, "key") == str(Event.objects.latest("created_at").id)

    def test_a_deduplication_key_holds_for_its_payload(self) -> None:
        from automate.events import emit_event
        from automate.models import Event

        first = emit_event("payment.received", {"payment_id": "PAY-456"}, dedupe_key="k")
        assert emit_event("payment.received", {"payment_id": "PAY-456"}, dedupe_key="k") == first
        with pytest.raises(DuplicateEventError, match=first):
            emit_event("payment.received", {"payment_id": "PAY-457"}, dedupe_key="k")
        assert Event.objects.count() == 1


# -- rules ------------------------------------------------------------------------------------------------------------

VAR = {"var": "a"}
OPERATIONS: dict[str, tuple[Any, Any, Any]] = {
    "==": ({"==": [VAR, 1]}, {"a": 1}, {"a": 2}),
    "!=": ({"!=": [VAR, 1]}, {"a": 2}, {"a": 1}),
    ">": ({">": [VAR, 10]}, {"a": 11}, {"a": 10}),
    ">=": ({">=": [VAR, 10]}, {"a": 10}, {"a": 9}),
    "<": ({"<": [VAR, 10]}, {"a": 9}, {"a": 10}),
    "<=": ({"<=": [VAR, 10]}, {"a": 10}, {"a": 11}),
    "and": ({"and": [VAR, {"var": "b"}]}, {"a": 1, "b": 1}, {"a": 1, "b": 0}),
    "or": ({"or": [VAR, {"var": "b"}]}, {"a": 0, "b": 1}, {"a": 0, "b": 0}),
    "!": ({"!": VAR}, {"a": False}, {"a": True}),
    "in": ({"in": ["a", {"var": "list"}]}, {"list": ["a"]}, {"list": ["b"]}),
    "var": ({"var": "path.to.value"}, {"path": {"to": {"value": "yes"}}}, {"path": {}}),
    "if": ({"if": [VAR, True, False]}, {"a": 1}, {"a": 0}),
}
"""A rule, a context that it holds for, and one that it does not."""


class TestRules:
    def test_no_operation_is_lost(self) -> None:
        rows = documents.table("Rules Module", "Supported Operations")
        assert {name.strip("` ") for row in rows for name in row[0].split(",")} == OPERATIONS.keys()

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_an_operation(self, operation: str) -> None:
        from automate.rules import compile_rule, evaluate, explain

        rule, holding, failing = OPERATIONS[operation]
        for context, expected in ((holding, True), (failing, False)):
            assert evaluate(rule, context) is expected
            assert compile_rule(rule).evaluate(context) is expected
            assert bool(explain(rule, context)["value"]) is expected

    def test_every_complete_example_of_the_table_is_a_rule(self) -> None:
        from automate.rules import compile_rule

        complete = []
        for row in documents.table("Rules Module", "Supported Operations"):
            example = row[1].strip("`")
            if "..." not in example and "cond" not in example:
                complete.append(ast.literal_eval(example))
        for example in complete:
            compile_rule(example)
        assert len(complete) == 5

    def test_the_explanation_shows_which_conditions_passed_and_failed(self) -> None:
        from automate.rules import explain

        conditions = [{"==": [{"var": "status"}, "active"]}, {">": [{"var": "amount"}, 1000]}]
        tree = explain({"and": conditions}, {"status": "active", "amount": 500})
        assert (tree["operator"], tree["result"]) == ("and", False)
        assert [(node["operator"], node["result"]) for node in tree["children"]] == [("==", True), (">", False)]


# -- secrets ----------------------------------------------------------------------------------------------------------


class TestSecrets:
    def test_no_format_is_lost(self) -> None:
        rows = documents.table("Secrets Module", "Secret Reference Formats")
        assert [row[1].strip("`") for row in rows] == ["$secret:API_KEY", "$env:DATABASE_URL", "$vault:secret/api"]

    def test_a_secret_that_does_not_exist(self) -> None:
        from automate.secrets import resolve

        with pytest.raises(SecretNotFoundError, match=r"\$secret:NOWHERE.*AUTOMATE_NOWHERE"):
            resolve("$secret:NOWHERE")

    def test_a_secret_that_may_not_be_had(self, configured: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
        from automate.secrets import resolve

        monkeypatch.setenv("AUTOMATE_STRIPE_API_KEY", "not-to-be-had")
        configured(SECRETS={"allow": ["$secret:OTHER_*"]})
        with pytest.raises(SecretAccessDenied, match=r"SECRETS\.allow"):
            resolve("$secret:STRIPE_API_KEY")

    def test_an_environment_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from automate.secrets import resolve

        monkeypatch.setenv("DATABASE_URL", "sqlite:////nowhere/else.db")
        try:
            assert resolve("$env:DATABASE_URL") == "sqlite:////nowhere/else.db"
        finally:
            redaction.forget("sqlite:////nowhere/else.db")

    def test_vault_says_what_to_do_until_it_is_there(self) -> None:
        from automate.secrets import SecretRef, resolve

        assert SecretRef("$vault:secret/api").scheme == "vault"
        with pytest.raises(SecretBackendUnavailable, match=r"SECRETS\.vault\.address") as caught:
            resolve("$vault:secret/api")
        assert not caught.value.retryable

    def test_redaction_is_recursive_and_leaves_the_original_alone(self) -> None:
        from automate.secrets import redact

        data = {"user": "ada", "login": {"password": "p", "tries": [{"api_key": "k", "at": 1}]}}
        assert redact(data) == {
            "user": "ada",
            "login": {"password": "[REDACTED]", "tries": [{"api_key": "[REDACTED]", "at": 1}]},
        }
        assert data["login"]["password"] == "p"  # type: ignore[index]  # a mapping, as written above


# -- connectors -------------------------------------------------------------------------------------------------------


class TestConnectors:
    def test_an_unknown_connector_names_what_is_nearby(self) -> None:
        from automate_connectors import registry

        with pytest.raises(NotRegisteredError, match="Did you mean 'slack'"):
            registry.get_connector("slak")

    def test_a_key_is_registered_once(self) -> None:
        from automate_connectors import Connector, registry

        with pytest.raises(DuplicateKeyError, match=r"connectors\.slack"):
            registry.register("slack", Connector)

    def test_every_listed_connector_can_be_had(self) -> None:
        from automate_connectors import Connector, registry

        for key in registry.list_connectors():
            connector = registry.get_connector(key)
            assert issubclass(connector, Connector)
            assert connector.key == key
            assert connector.display_name
            assert connector.actions()


# -- llm --------------------------------------------------------------------------------------------------------------


class TestLLM:
    @pytest.mark.parametrize("model", [None, "gpt-4", "claude-sonnet-4-5", "unheard-of"])
    def test_count_tokens(self, model: str | None) -> None:
        from automate_llm import count_tokens

        assert count_tokens("", model) == 0
        counts = [count_tokens(text, model) for text in ("Hello", "Hello, world!", "Hello, world! " * 50)]
        assert counts == sorted(counts)
        assert 0 < counts[0] < counts[2]
        assert all(type(count) is int for count in counts)

    @pytest.mark.usefixtures("db")
    @pytest.mark.parametrize(("name", "path"), [("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages")])
    def test_get_provider(self, name: str, path: str, loopback_llm: LoopbackLLM) -> None:
        from automate_llm import chat, get_provider

        question = [{"role": "user", "content": "Hello!"}]
        assert get_provider(name).chat(question) == "Hello!"
        assert chat(question, provider=name) == "Hello!"
        assert [request["path"] for request in loopback_llm.requests] == [path, path]

    def test_an_unknown_provider_names_those_that_exist(self) -> None:
        from automate_llm import get_provider

        with pytest.raises(NotRegisteredError, match="Did you mean 'openai'"):
            get_provider("openia")


# -- rag --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("db")
class TestRag:
    def test_an_endpoint_without_documents_names_what_is_nearby(self) -> None:
        from rag import index_documents, query

        index_documents("support-docs", [{"id": "a", "content": "A text."}])
        with pytest.raises(EndpointNotFound, match="Did you mean 'support-docs'"):
            query("suport-docs", "text")

    def test_five_results_by_default_best_first(self) -> None:
        from rag import index_documents, query

        documents = [{"id": f"d{n}", "content": "password " + "word " * n} for n in range(9)]
        assert index_documents("docs", documents) == 9
        found = query("docs", "password")
        assert len(found) == 5
        scores = [document["score"] for document in found]
        assert scores == sorted(scores, reverse=True)
        assert len(query("docs", "password", top_k=7)) == 7

    def test_filters_and_replacement(self) -> None:
        from rag import index_documents, query

        index_documents("docs", [{"id": n, "content": "a word", "metadata": {"c": n}} for n in ("x", "y")])
        assert [document["id"] for document in query("docs", "word", filters={"c": "y"})] == ["y"]
        assert index_documents("docs", [{"id": "y", "content": "another word", "metadata": {"c": "z"}}]) == 1
        assert query("docs", "word", filters={"c": "y"}) == []
        assert [document["content"] for document in query("docs", "word", filters={"c": "z"})] == ["another word"]


# -- asynchronous code ------------------------------------------------------------------------------------------------

TWINS = [
    ("automate.events", "emit_event"),
    ("automate.events", "run_workflow"),
    ("automate.runtime", "emit_event"),
    ("automate.runtime", "run_workflow"),
    ("automate.secrets", "resolve"),
    ("automate_llm", "chat"),
    ("rag", "query"),
    ("rag", "index_documents"),
]


@pytest.mark.parametrize(("module", "name"), TWINS)
def test_what_waits_has_an_asynchronous_twin(module: str, name: str) -> None:
    found = importlib.import_module(module)
    one, twin = getattr(found, name), getattr(found, f"a{name}")
    assert inspect.iscoroutinefunction(twin)
    assert inspect.signature(twin) == inspect.signature(one)


@pytest.mark.usefixtures("db")
def test_the_asynchronous_twins_do_the_same() -> None:
    from automate.events import aemit_event, arun_workflow
    from automate.models import Event, Execution
    from automate.publish import publish
    from rag import aindex_documents, aquery

    log = {"id": "note", "action": "flow.log", "params": {"message": "x"}}
    publish({"slug": "w", "trigger": {"type": "manual"}, "steps": [log]})

    async def everything() -> tuple[str, str, int, list[dict[str, Any]]]:
        return (
            await aemit_event("a.b", {"x": 1}),
            await arun_workflow("w", {"x": 1}),
            await aindex_documents("docs", [{"id": "a", "content": "a word"}]),
            await aquery("docs", "word"),
        )

    event_id, execution_id, count, found = async_to_sync(everything)()
    assert (str(Event.objects.get().id), str(Execution.objects.get().id)) == (event_id, execution_id)
    assert (count, [document["id"] for document in found]) == (1, ["a"])
