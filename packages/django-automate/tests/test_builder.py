"""The Python form of a workflow yields the definition that one would write as JSON."""

# The fixture that decorates is Any, and a JSON column that may be null is known to be filled where it is read.
# mypy: disable-error-code="untyped-decorator, index"

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from automate import workflow
from automate.actions import action_name
from automate.builder import definitions
from automate.errors import ConfigurationError, DuplicateKeyError, InvalidDefinitionError
from automate.models import AuditLogEntry, Workflow, WorkflowVersion
from automate_core.connectors import ActionContext
from automate_core.registry import registry
from automate_core.workflow.definition import parse
from django.core.management import CommandError, call_command
from pydantic import BaseModel


class Invoice(BaseModel):
    text: str
    total: int


@pytest.mark.usefixtures("fresh_definitions")
def test_both_forms_have_one_hash(actions: Any) -> None:
    @actions("make_invoice", idempotent=True)
    def make_invoice(order: str) -> Invoice:
        """Make an invoice."""
        return Invoice(text=f"Invoice for {order}", total=3)

    assert make_invoice("7").total == 3  # it stays a function
    rule = {">=": [{"var": "amount"}, 100]}
    with workflow("thank-big-spender", on="order.paid", when=rule, name="Thank", retry={"max": 60}) as w:
        invoice = w.step("invoice", make_invoice, order=w.event["order_id"], retry={"max_attempts": 5}, timeout=30)
        w.step("mail", "flow.log", message=f"To {w.event['e-mail'][0]}: {invoice.output['text']}", on_error="continue")
        w.step("extra", "flow.log", {"message": "x"}, needs=[invoice], when={"!": [{"var": "event.payload.quiet"}]})
        w.returns(invoice=invoice.output)
    written = {
        "slug": "thank-big-spender",
        "trigger": {"type": "event", "event": "order.paid", "rule": rule},
        "steps": [
            {
                "id": "invoice",
                "action": "test.make_invoice",
                "params": {"order": "{{ event.payload.order_id }}"},
                "retry": {"max_attempts": 5},
                "timeout": 30,
            },
            {
                "id": "mail",
                "action": "flow.log",
                "params": {"message": "To {{ event.payload['e-mail'][0] }}: {{ steps.invoice.output.text }}"},
                "on_error": "continue",
            },
            {
                "id": "extra",
                "action": "flow.log",
                "params": {"message": "x"},
                "needs": ["invoice"],
                "if": {"!": [{"var": "event.payload.quiet"}]},
            },
        ],
        "output": {"invoice": "{{ steps.invoice.output }}"},
        "retry": {"max": 60},
    }
    (builder,) = definitions.all()
    assert builder.definition().to_json() == parse(written).to_json()
    assert builder.definition().hash() == parse(written).hash()
    assert registry.get_action("test.make_invoice")[1].title == "Make an invoice."


@pytest.mark.usefixtures("fresh_definitions")
def test_an_error_in_the_block_defines_nothing_and_a_slug_belongs_to_one_place() -> None:
    with pytest.raises(ZeroDivisionError), workflow("broken"):
        _ = 1 / 0
    assert definitions.all() == []
    with workflow("one") as w:
        w.step("a", "flow.log", message="x")
    with pytest.raises(ConfigurationError, match="defined twice"), workflow("one") as w:
        w.step("a", "flow.log", message="x")
    with pytest.raises(TypeError):
        list(w.event)  # type: ignore[call-overload]  # which is the point


@pytest.mark.usefixtures("db", "fresh_definitions")
def test_sync_publishes_what_changed_and_nothing_when_one_is_wrong() -> None:
    def define(message: str, *, action: str = "flow.log") -> None:
        definitions.clear()
        with workflow("w", name="People's name") as w:
            w.step("a", action, message=message)

    def sync(**options: Any) -> Any:
        out = io.StringIO()
        call_command("automate_sync", stdout=out, json=True, **options)
        return json.loads(out.getvalue())

    define("one")
    with pytest.raises(CommandError, match="not published"):
        sync(check=True)
    assert sync() == [{"workflow": "w", "version": 1, "shadow": False, "changed": True}]
    assert sync() == [{"workflow": "w", "version": 1, "shadow": False, "changed": False}]
    assert sync(check=True) == [{"workflow": "w", "version": 1, "shadow": False, "changed": False}]
    define("two")
    assert sync() == [{"workflow": "w", "version": 2, "shadow": False, "changed": True}]
    define("three", action="flow.lgo")
    with pytest.raises(CommandError, match=r"(?s)test_builder.*Did you mean 'log'"):
        sync()
    assert Workflow.objects.get().name == "People's name"
    assert list(WorkflowVersion.objects.filter(live=True).values_list("version_num", flat=True)) == [2]
    assert AuditLogEntry.objects.filter(action="workflow.published", actor="automate_sync").count() == 2


class TestActions:
    @pytest.mark.parametrize("name", ["plain", "Upper.case", "a.b-c", "a."])
    def test_names(self, name: str) -> None:
        from automate import action

        with pytest.raises(ConfigurationError, match=r"prefix\.name"):
            action(name)
        with pytest.raises(ConfigurationError, match=r"prefix\.name"):
            action(one)  # type: ignore[arg-type]  # the decorator without its parentheses

    def test_taken_names(self, actions: Any) -> None:
        from automate import action

        actions("twice")(one)
        actions("twice")(one)  # the same function again, as after a reload
        with pytest.raises(DuplicateKeyError, match="defined twice"):
            actions("twice")(two)
        with pytest.raises(DuplicateKeyError, match="belongs to the connector"):
            action("flow.mine")(one)

    def test_parameters(self, actions: Any) -> None:
        with pytest.raises(ConfigurationError, match="'args'"):
            actions("args")(lambda *args: None)
        with pytest.raises(ConfigurationError, match="cannot be described"):
            actions("odd")(odd)
        actions("free")(free)
        connector, _ = registry.get_action("test.free")
        assert connector(ctx=ActionContext(attempt=4)).call("free", {"a": "1", "b": 2}) == (1, 4, {"b": 2})

    def test_a_function_that_is_no_action(self) -> None:
        with pytest.raises(ConfigurationError, match="decorate it"):
            action_name(len)
        assert action_name("http.request") == "http.request"


def one() -> None: ...


def two() -> None: ...


def odd(value: io.StringIO) -> None: ...


def free(a: int, context: ActionContext, **rest: Any) -> Any:
    return a, context.attempt, rest


def test_a_definition_of_another_form_says_where() -> None:
    with workflow("form") as w:
        w.step("A B", "flow.log")
    with pytest.raises(InvalidDefinitionError) as caught:
        w.definition()
    assert caught.value.context["problems"][0]["pointer"] == "/steps/0/id"
    del definitions._builders["form"]


def test_a_reference_in_a_rule_is_refused_as_it_would_be_compared_as_text() -> None:
    builder = workflow("rules", on="a.b")
    with pytest.raises(ConfigurationError, match="JSONLogic"):
        builder.step("s", "flow.log", message="x", when={"==": [builder.event["x"], 1]})
    with pytest.raises(ConfigurationError, match="JSONLogic"):
        workflow("rules", on="a.b", when={"==": [builder.event["x"], 1]})


def test_a_reference_has_no_value_that_python_could_ask_for() -> None:
    reference = workflow("asks", on="a.b").event["amount"]
    questions: list[Callable[[Any], Any]] = [
        bool, len, lambda r: r == 1, lambda r: r != 1, lambda r: r > 1, lambda r: r <= 1, lambda r: 1 in r,
    ]  # fmt: skip
    for ask in questions:
        with pytest.raises(ConfigurationError, match=r"'var': 'event\.payload\.amount'"):
            ask(reference)
    for ask in (iter, hash):
        with pytest.raises(TypeError):
            ask(reference)


@pytest.mark.parametrize(
    "name", ["json", "schema", "copy", "self", "model_config", "model_dump", "_private", "field_0"]
)
def test_a_parameter_may_have_any_name(actions: Any, name: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"def call({name}: int, other: str = 'x'): return [{name}, other]", scope)
    actions("call")(scope["call"])
    connector, spec = registry.get_action("test.call")
    assert sorted(spec.input_json_schema()["properties"]) == sorted([name, "other"])
    assert connector(config={}).call("call", {name: "3"}) == [3, "x"]
