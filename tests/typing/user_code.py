"""What a user writes, as mypy sees it. Nothing here is executed: `nox -s types` checks it.

A line with ``type: ignore`` must be refused. If it were accepted, the comment would be unused, and that is an
error.
"""

from __future__ import annotations

from typing import Any, assert_type

from automate import action, emit_event, run_workflow, workflow
from automate.rules import compile_rule, evaluate
from automate_core.connectors import ActionContext, ActionSpec, Connector
from automate_core.errors import AutomateError, ErrorCodes, TransientError
from automate_core.outbox.store import SkipLockedClaimOutboxStore
from automate_llm import chat, count_tokens
from automate_rag import query


@action("shop.thank", idempotent=True)
def thank(name: str, amount: float, context: ActionContext) -> dict[str, str]:
    return {"text": f"Thank you, {name}, for {amount:.2f} EUR, says {context.workflow}."}


def a_decorated_function_keeps_its_signature(context: ActionContext) -> None:
    assert_type(thank("Ada", 250.0, context), dict[str, str])
    thank("Ada", "250", context)  # type: ignore[arg-type]  # must be refused: the amount is text
    thank("Ada")  # type: ignore[call-arg]  # must be refused: two arguments are missing


def events_and_workflows() -> None:
    assert_type(emit_event("order.paid", {"amount": 250.0}, dedupe_key="order-1"), str)
    emit_event("order.paid", ["no object"])  # type: ignore[arg-type]  # must be refused: a payload is an object
    emit_event("order.paid", {}, "order-1", "shop")  # type: ignore[call-arg]  # must be refused: further ones have names
    assert_type(run_workflow("thank", {"name": "Ada"}), str)
    with workflow("thank", on="order.paid", when={">=": [{"var": "amount"}, 100]}) as w:
        step = w.step("thank", thank, name=w.event["customer"], amount=w.event["amount"])
        w.step("again", "log.write", message=step.output["text"], needs=[step])
        w.step("never")  # type: ignore[call-arg]  # must be refused: a step has an action
        w.returns(text=step.output["text"])
        step.result  # type: ignore[attr-defined]  # noqa: B018 - must be refused: a step has an output


def rules() -> None:
    assert_type(evaluate({"var": "paid"}, {"paid": True}), bool)
    assert_type(compile_rule({"var": "paid"}).evaluate({"paid": True}), bool)


class Greeter(Connector):
    """A connector as the specification writes it."""

    key = "greeter"

    @classmethod
    def actions(cls) -> list[ActionSpec]:
        return [ActionSpec(name="greet", input_schema={"type": "object"}, idempotent=True)]

    def execute_action(self, action: str, input_data: dict[str, Any]) -> dict[str, Any]:
        return {"text": f"Hello, {input_data['name']}!"}

    def normalize_error(self, exc: Exception) -> Exception:
        if isinstance(exc, TimeoutError):
            return TransientError("the greeter does not answer")
        return AutomateError(ErrorCodes.INTERNAL, str(exc))


class Refused(Connector):
    """A connector that does not keep to the base class."""

    def execute_action(self, action: str) -> dict[str, Any]:  # type: ignore[override]  # must be refused: no input
        return {}


def subsystems(store: SkipLockedClaimOutboxStore) -> None:
    assert_type(count_tokens("Hello, world!"), int)
    assert_type(chat([{"role": "user", "content": "Hello!"}]), str)
    results = query("support-docs", "How do I reset my password?", top_k=3, filters={"category": "auth"})
    assert_type([result["id"] for result in results], list[Any])
    for item in store.claim_batch("worker-1", limit=10):
        store.mark_success(item.id, "worker-1")
        store.mark_success("1", "worker-1")  # type: ignore[arg-type]  # must be refused: an id is a number
