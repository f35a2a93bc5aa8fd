"""Lint of a whole definition: the rule of its trigger, and the conditions of its steps."""

from __future__ import annotations

from typing import Any

import pytest
from automate_core.workflow import lint_definition, parse

SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "customer": {"$ref": "#/$defs/Customer"}},
    "required": ["amount", "customer"],
    "$defs": {"Customer": {"properties": {"country": {"enum": ["DE", "FR"]}}, "required": ["country"]}},
}


def definition(rule: Any = None, condition: Any = None, event: str = "order.paid") -> Any:
    trigger = {"type": "event", "event": event, **({"rule": rule} if rule else {})}
    step = {"id": "a", "action": "x.y", **({"if": condition} if condition else {})}
    return parse({"slug": "w", "trigger": trigger, "steps": [{"id": "first", "action": "x.y"}, step]})


def found(*arguments: Any, schema: Any = SCHEMA, **named: Any) -> list[tuple[str, str]]:
    return [(f.code, f.pointer) for f in lint_definition(definition(*arguments, **named), schema)]


def test_the_rule_of_the_trigger() -> None:
    assert found({">": [{"var": "amuont"}, 5]}) == [("unknown-variable", "/trigger/rule/>/0")]
    assert found({">": [{"var": "amount"}, 5]}) == []
    assert found() == []
    others = {"other": {">": [{"var": "amount"}, 5]}}
    (finding,) = lint_definition(definition({"<": [5, {"var": "amount"}]}), SCHEMA, others)
    assert (finding.code, finding.pointer) == ("duplicate-rule", "/trigger/rule")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"==": [{"var": "event.payload.customer.country"}, "DE"]}, []),
        ({"==": [{"var": "event.payload.customer.country"}, "IT"]}, [("impossible-value", "")]),
        ({">": [{"var": "event.payload.amuont"}, 5]}, [("unknown-variable", "/>/0")]),
        ({">": [{"var": "event.paylod.amount"}, 5]}, [("unknown-variable", "/>/0")]),
        ({"==": [{"var": "event.type"}, "order.paid"]}, []),  # null where the run was started directly
        ({"==": [{"var": "event.type"}, "order.payed"]}, [("impossible-value", "")]),
        ({"==": [{"var": "steps.first.output.done"}, True]}, []),
        ({"==": [{"var": "execution.workflow"}, "w"]}, []),
    ],
)
def test_the_conditions_of_steps(condition: Any, expected: list[tuple[str, str]]) -> None:
    assert found(None, condition) == [(code, f"/steps/1/if{pointer}") for code, pointer in expected]


def test_without_a_schema_the_envelope_of_the_event_is_known() -> None:
    assert found(None, {">": [{"var": "event.payload.anything"}, 5]}, schema=None) == []
    assert found(None, {"!": {"var": "event.paylod"}}, schema=None) == [("unknown-variable", "/steps/1/if/!")]
    assert found(None, {"==": [{"var": "event.type"}, "order.new"]}, schema=None, event="order.*") == []


def test_a_rule_that_does_not_compile_is_one_finding_among_others() -> None:
    given = definition({"and": [{"equals": []}]}, {"!": {"var": "event.paylod"}})
    assert [(f.code, f.severity, f.pointer) for f in lint_definition(given, SCHEMA)] == [
        ("unknown_operation", "error", "/trigger/rule/and/0"),
        ("unknown-variable", "error", "/steps/1/if/!"),
    ]
    assert found(None, {"and": [{"equals": []}]}) == [("unknown_operation", "/steps/1/if/and/0")]
    assert found({"!": {"var": "amuont"}}, {"equals": []}) == [
        ("unknown-variable", "/trigger/rule/!"),
        ("unknown_operation", "/steps/1/if"),
    ]


def test_another_rule_that_does_not_compile_is_left_out() -> None:
    rule = {">": [{"var": "amount"}, 5]}
    findings = lint_definition(definition(rule), SCHEMA, {"broken": {"equals": []}, "same": rule})
    assert [finding.code for finding in findings] == ["duplicate-rule"]
