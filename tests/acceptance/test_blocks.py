"""Every block of Python of the specification works as it is written, in the order in which it stands."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import io
import sys
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from llm_server import LoopbackLLM

from acceptance import documents

EXECUTED = {
    "Runtime Module": 2,
    "Events Module": 2,
    "Rules Module": 2,
    "Secrets Module": 2,
    "Connectors Module": 2,
    "LLM Module": 3,
    "RAG Module": 2,
    "Outbox Module": 2,
    "Async Support": 1,
}
"""How many blocks each test below executes."""

UNCHANGED = {
    documents.API: "3941a01ac56a1c80fa562e34d4d46aa20f01db40dce130523ee100c821e11a11",
    documents.CONFIGURATION: "0b6fee4779453096c5a788a4b96a999df61e4566430722507b2b0e24b724954a",
}
"""SHA-256 of the documents as they were given: neither a formatter nor a friendly hand may touch them."""

ASSUMED = {
    "Runtime Module": {"automation"},
    "Rules Module": {"students"},
    "Connectors Module": {"AutomateError", "ErrorCodes", "context"},
    "Outbox Module": {"process", "next_attempt", "TransientError", "PermanentError"},
}
"""The names that the documents use without saying where they come from."""


@dataclass
class Played:
    """What came of the blocks of one section.

    Args:
        names: What they bound, together with what they assume.
        printed: What each printed, line by line.
    """

    names: dict[str, Any]
    printed: list[list[str]] = field(default_factory=list)


def play(section: str, **assumed: Any) -> Played:
    """Execute the blocks of a section in one namespace."""
    assert set(assumed) == ASSUMED.get(section, set())
    played = Played({"__name__": "specification", **assumed})
    blocks = [block for block in documents.blocks() if block.section == section]
    assert len(blocks) == EXECUTED[section]
    for block in blocks:
        played.printed.append(execute(block, played.names))
    return played


def execute(block: documents.Block, names: dict[str, Any]) -> list[str]:
    """Execute one block, hold it to what its comments promise, and return what it printed."""
    # Line numbers in a traceback are those of the document.
    source = "\n" * (block.line - 1) + block.source
    code = compile(source, documents.API.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = eval(code, names)
        if code.co_flags & inspect.CO_COROUTINE:
            wait_for(result)
    lines = printed.getvalue().splitlines()
    if block.promises:
        assert len(lines) == len(block.promises)
        assert [line for line, promise in zip(lines, block.promises, strict=True) if not keeps(line, promise)] == []
    return lines


@async_to_sync
async def wait_for(result: Coroutine[Any, Any, None]) -> None:
    await result


def keeps(line: str, promise: str) -> bool:
    """Whether a line is what a comment such as ``SUCCESS or FAILED`` promises, maybe behind a label."""
    allowed = [alternative.strip('"') for alternative in promise.split(" or ")]
    return line in allowed or line.partition(": ")[2] in allowed


# -- nothing is left out ----------------------------------------------------------------------------------------------


def test_the_documents_are_those_that_were_given() -> None:
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in UNCHANGED} == UNCHANGED


def test_every_block_is_executed_or_compared() -> None:
    blocks = documents.blocks()
    assert len(blocks) == documents.API.read_text().count("```python") == 19
    assert Counter(block.section for block in blocks if not block.is_stub) == EXECUTED
    # The one that declares functions without a body is compared with them in test_signatures.
    assert [block.section for block in blocks if block.is_stub] == ["Type Annotations"]
    assert sum(len(block.promises) for block in blocks) == 4
    assert documents.CONFIGURATION.read_text().count("```") == 0


def test_the_blocks_assume_no_other_names() -> None:
    found: dict[str, set[str]] = {}
    bound: dict[str, set[str]] = {}
    for block in documents.blocks():
        known = bound.setdefault(block.section, set())
        if names := block.unbound(known):
            found.setdefault(block.section, set()).update(names)
        known.update(node.name for node in block.tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    assert found == ASSUMED


@pytest.mark.parametrize(
    ("line", "promise", "kept"),
    [
        ("True", "True", True),
        ("False", "True", False),
        ("Status: FAILED", "SUCCESS or FAILED", True),
        ("Status: RUNNING", "SUCCESS or FAILED", False),
        ("Paris.", '"Paris."', True),
        ("In Paris.", '"Paris."', False),
    ],
)
def test_a_promise_is_more_than_any_output(line: str, promise: str, kept: bool) -> None:
    assert keeps(line, promise) is kept


# -- the sections -----------------------------------------------------------------------------------------------------

NEVER = {"==": [1, 2]}
LOG = {"id": "note", "action": "flow.log", "params": {"message": "Done."}}


@pytest.mark.usefixtures("db")
def test_runtime() -> None:
    from automate.models import Automation, Execution, ExecutionRun
    from automate.publish import publish

    version, _ = publish({"slug": "orders", "trigger": {"type": "manual"}, "steps": [LOG]})
    automation = Automation.objects.get(slug="orders")
    documented = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")
    Execution.objects.create(id=documented, version=version, context={})

    played = play("Runtime Module", automation=automation)

    assert played.printed == [[], ["Status: SUCCESS"]]
    made = played.names["execution"]
    assert (made.version, made.context) == (version, {"order_id": "ORD-123"})
    assert set(Execution.objects.values_list("id", "status")) == {(documented, "SUCCESS"), (made.id, "SUCCESS")}
    assert set(ExecutionRun.objects.values_list("status", flat=True)) == {"SUCCESS"}


@pytest.mark.usefixtures("db")
def test_events(worker: Callable[..., None]) -> None:
    from automate.models import Decision, Event, Execution, StepRun
    from automate.publish import publish

    trigger = {"type": "event", "event": "user.created", "rule": NEVER}
    publish({"slug": "send-welcome-email", "trigger": trigger, "steps": [LOG]})

    first, second = play("Events Module"), play("Events Module")

    created, received = Event.objects.filter(type="order.created"), Event.objects.get(type="payment.received")
    order = {"order_id": "ORD-123", "amount": 99.99, "customer_email": "john@example.com"}
    assert [event.payload for event in created] == [order, order]
    # "Won't create duplicate if called again"
    assert first.names["event_id"] == second.names["event_id"] == str(received.id)
    assert {line for played in (first, second) for line in played.printed[0]} == {
        f"Event {event.id} queued for processing" for event in created
    }
    assert first.printed[1] == [f"Started execution: {uuid.UUID(first.names['execution_id'])}"]

    worker()

    assert Decision.objects.count() == 0
    for execution in Execution.objects.all():
        assert (execution.status, execution.context["user_id"]) == ("SUCCESS", "USR-123")
    assert StepRun.objects.count() == 2


def test_rules() -> None:
    students = [SimpleNamespace(name="Ada", score=80), SimpleNamespace(name="Bob", score=79.5)]
    played = play("Rules Module", students=students)
    assert played.printed == [["True", "True"], ["Ada passed!"]]


def test_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    from automate.secrets import SecretRef
    from automate_core import redaction
    from pydantic.warnings import PydanticDeprecatedSince20

    value = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
    stripe = ModuleType("stripe")
    monkeypatch.setitem(sys.modules, "stripe", stripe)
    monkeypatch.setenv("AUTOMATE_STRIPE_API_KEY", value)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            names = play("Secrets Module").names
    finally:
        redaction.forget(value)

    assert vars(stripe)["api_key"] == value
    assert names["MyConfig"].api_key == SecretRef("$secret:API_KEY")
    config = names["ConnectorConfig"](api_key="$secret:API_KEY")
    assert config == names["ConnectorConfig"](api_key=SecretRef("$secret:API_KEY"))
    assert config.model_dump(mode="json") == {"api_key": "$secret:API_KEY"}
    # The document writes pydantic's old form, "class Config": pydantic says so, and nobody else says anything.
    assert [warning.category for warning in caught] == [PydanticDeprecatedSince20]


def test_connectors() -> None:
    from automate.errors import AutomateError, ErrorCodes
    from automate_connectors import registry
    from automate_core.connectors import ActionContext

    context = ActionContext(run_id="a run")
    try:
        played = play("Connectors Module", AutomateError=AutomateError, ErrorCodes=ErrorCodes, context=context)
        mine = played.names["MyConnector"]
        assert registry.get_connector("my_connector") is mine
        assert "my_connector" in registry.list_connectors()
        assert registry.get_action("my_connector.send_message")[1].idempotent
    finally:
        registry.remove("connectors", "my_connector")
    assert {"flow", "http", "llm", "log", "rag", "slack"} <= set(played.printed[1])
    assert played.names["connector"].ctx is context
    assert type(played.names["connector"]) is registry.get_connector("slack")
    # The documented class has no _send_message: what it raises is normalised as it says.
    connector = mine(ctx=context)
    error = connector.normalize_error(AttributeError("_send_message"))
    assert isinstance(error, AutomateError)
    assert (error.code, error.message) == (ErrorCodes.INTERNAL, "_send_message")
    with pytest.raises(ValueError, match="Unknown action: x"):
        connector.execute_action("x", {})


@pytest.mark.usefixtures("db")
def test_llm(loopback_llm: LoopbackLLM) -> None:
    from automate_llm.models import LLMCall

    loopback_llm.replies["What is the capital of France?"] = "The capital of France is Paris."
    played = play("LLM Module")
    first, second, third = (request["body"] for request in loopback_llm.requests)
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert (second["model"], second["temperature"]) == ("gpt-4", 0.9)
    assert 100 in (second.get("max_tokens"), second.get("max_completion_tokens"))
    assert third["messages"] == [{"role": "user", "content": "Hello!"}]
    assert played.names["response"] == "Hello!"
    assert played.names["tokens"] in range(1, 14)
    assert played.printed[1] == [f"Text uses approximately {played.names['tokens']} tokens"]
    assert [call.status for call in LLMCall.objects.all()] == ["SUCCESS"] * 3


@pytest.mark.usefixtures("db")
def test_rag() -> None:
    from rag import index_documents, query

    other = {"id": "doc-000", "content": "Reset your password, they said.", "metadata": {"category": "jokes"}}
    index_documents("support-docs", [{**other, "id": "doc-a", "metadata": {"category": "authentication"}}, other])
    played = play("RAG Module")
    assert [document["id"] for document in played.names["results"]] == ["doc-a"]
    score, content = played.printed[0]
    assert 0 < float(score.removeprefix("Score: ")) <= 1
    assert content == "Content: Reset your password, they said...."
    assert (played.names["count"], played.printed[1]) == (2, ["Indexed 2 documents"])
    found = query("support-docs", "two-factor authentication")
    assert (found[0]["id"], found[0]["metadata"]) == ("doc-002", {"category": "security"})


@pytest.mark.usefixtures("db")
def test_outbox() -> None:
    from automate.errors import PermanentError, TransientError
    from automate_core.outbox import NewJob, OutboxItem
    from automate_core.outbox.store import SkipLockedClaimOutboxStore
    from automate_outbox.models import OutboxJob
    from django.utils import timezone

    def process(item: OutboxItem) -> None:
        error = {"transient": TransientError, "permanent": PermanentError}.get(item.kind)
        if error is not None:
            raise error(f"{item.kind} failure")

    ids = SkipLockedClaimOutboxStore().add([NewJob(kind) for kind in ("fine", "transient", "permanent")])
    (stuck,) = SkipLockedClaimOutboxStore().add([NewJob("stuck", due=timedelta(hours=1))])
    long_ago = timezone.now() - timedelta(seconds=601)
    OutboxJob.objects.filter(pk=stuck).update(status="CLAIMED", lease_owner="dead", lease_expires_at=long_ago)
    next_attempt = timezone.now() + timedelta(minutes=5)

    names = {"TransientError": TransientError, "PermanentError": PermanentError, "next_attempt": next_attempt}
    played = play("Outbox Module", process=process, **names)

    assert [item.id for item in played.names["items"]] == ids
    assert played.printed[1] == ["Recovered 1 stuck items"]
    fine, transient, permanent, stuck_row = OutboxJob.objects.order_by("id")
    assert (fine.status, fine.last_error) == ("COMPLETED", "")
    assert (transient.status, transient.last_error) == ("RETRY", "transient failure")
    assert transient.next_attempt_at == next_attempt
    assert (permanent.status, permanent.last_error) == ("FAILED", "permanent failure")
    assert (stuck_row.status, stuck_row.lease_owner) == ("RETRY", "")
    assert [job.attempts for job in (fine, transient, permanent)] == [1, 1, 1]


@pytest.mark.usefixtures("db")
def test_async_support(loopback_llm: LoopbackLLM) -> None:
    assert play("Async Support").names["response"] == "Hello!"
    assert len(loopback_llm.requests) == 1
