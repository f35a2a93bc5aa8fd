from __future__ import annotations

from typing import Any

import pytest
from automate_core.connectors import ActionSpec, Connector
from automate_core.errors import InvalidDefinitionError
from automate_core.registry import Registry
from automate_core.rules import engine_for
from automate_core.workflow import RegistryCatalogue, check_definition, compile_workflow, ensure_publishable, parse
from pydantic import BaseModel


class Mail(BaseModel, extra="forbid"):
    to: str
    copies: int = 1
    options: dict[str, bool] = {}


class Opaque(BaseModel, arbitrary_types_allowed=True):
    thing: Connector | None = None


class Shop(Connector):
    key = "shop"

    @classmethod
    def actions(cls) -> Any:
        return [
            ActionSpec("anything"),
            ActionSpec(
                "pay",
                input_schema={
                    "type": "object",
                    "required": ["amount"],
                    "properties": {
                        "amount": {"type": "integer", "minimum": 1},
                        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
                    },
                    "additionalProperties": False,
                },
            ),
            ActionSpec("mail", input_schema=Mail),
            ActionSpec("broken", input_schema={"type": "object", "properties": {...}}),
            ActionSpec("opaque", input_schema=Opaque),
        ]


@pytest.fixture(name="catalogue")
def make_catalogue() -> Any:
    registry = Registry(load_entry_points=False, blocked=(), prefer={})
    registry.register("shop", Shop)
    return RegistryCatalogue(registry)


def define(*steps: Any, **rest: Any) -> Any:
    filled = [{"id": f"s{index}", "action": "shop.anything", **step} for index, step in enumerate(steps)]
    return parse({"slug": "w", "steps": filled or [{"id": "s0", "action": "shop.anything"}], **rest})


def problems_of(definition: Any, catalogue: Any) -> Any:
    return [(problem.pointer, problem.message) for problem in check_definition(definition, catalogue)]


def test_a_good_definition_has_no_problems(catalogue: Any) -> None:
    definition = define(
        {"action": "shop.pay", "params": {"amount": "{{ event.payload.amount }}", "tags": ["a", "{{ event.x }}"]}},
        {"needs": [], "params": {"key": "$secret:API_KEY", "text": "costs $5: {{ execution.id }}"}},
        {
            "needs": ["s0", "s1"],
            "if": {"and": [{"var": "steps.s0.output.ok"}, {"some": [{"var": "event.payload.l"}, {"var": "steps.q"}]}]},
        },
        {"action": "shop.mail", "params": {"to": "{{ steps.s1.output }}", "options": {"x": True}}},
        {"action": "shop.opaque", "params": {"thing": 1}},
        {"needs": [], "params": {"a": "Bearer $secret:KEY", "b": "{{ event.x }} $env:A, $vault:b#c; $secret: names"}},
        trigger={"type": "event", "event": "order.*", "rule": {">": [{"var": "amount"}, 1]}},
        output={"a": "{{ steps.s3.output }}", "b": "{{ steps.s0.status }}"},
    )
    assert check_definition(definition, catalogue) == []
    ensure_publishable(definition, catalogue)
    compiled = compile_workflow(definition)
    assert compiled.wants("order.paid")
    assert not compiled.wants("user.created")
    assert compiled.rule is not None
    assert compiled.rule.evaluate({"amount": 2})
    assert compiled.ancestors("s3") == {"s0", "s1", "s2"}


@pytest.mark.parametrize(
    ("steps", "pointer", "says"),
    [
        ([{"id": "a"}, {"id": "a"}], "/steps/1/id", "'a' is the id of an earlier step too"),
        ([{}, {"needs": ["s9"]}], "/steps/1/needs/0", "there is no step 's9'. Did you mean 's1' or 's0'?"),
        ([{}, {"needs": ["s0", "s0"]}], "/steps/1/needs/1", "'s0' is named twice"),
        ([{"needs": ["s0"]}], "/steps/0/needs/0", "cycle"),
        ([{"needs": ["s2"]}, {}, {}], "/steps/0/needs/0", "cycle"),
        ([{"needs": ["s1"]}, {"needs": []}], "/steps/0/needs/0", "'s1' comes later"),
        ([{"action": "shop.pya"}], "/steps/0/action", "Did you mean 'pay'"),
        ([{"action": "shp.pay"}], "/steps/0/action", "Did you mean 'shop'"),
        ([{"action": "shop.pay"}], "/steps/0/params", "lacks 'amount'"),
        ([{"action": "shop.pay", "params": {"amount": 0}}], "/steps/0/params/amount", "1 at least"),
        ([{"action": "shop.pay", "params": {"amount": 1, "tag": 1}}], "/steps/0/params/tag", "Did you mean 'tags'"),
        (
            [{"action": "shop.pay", "params": {"amount": "{{ event.x }}", "tags": ["{{ event.x }}", "c"]}}],
            "/steps/0/params/tags/1",
            'one of ["a", "b"]',
        ),
        ([{"action": "shop.mail", "params": {"to": "x", "copies": "many"}}], "/steps/0/params/copies", "integer"),
        ([{"action": "shop.mail", "params": {"to": "x", "cc": "y"}}], "/steps/0/params/cc", "is not a property"),
        ([{"action": "shop.broken"}], "/steps/0/action", "input schema is wrong"),
        ([{"params": {"a": ["{{ x() }}"]}}], "/steps/0/params/a/0", "no calls"),
        ([{"params": {"a": "{{ open"}}], "/steps/0/params/a", "cannot be parsed"),
        ([{"params": {"a": "{{ evnt.x }}"}}], "/steps/0/params/a", "'evnt' is not known here. Did you mean 'event'?"),
        ([{"params": {"a": "{{ item.x }}"}}], "/steps/0/params/a", "'foreach' only"),
        ([{"params": {"a": "{{ steps.s0.output }}"}}], "/steps/0/params/a", "need not have run by then"),
        ([{}, {"needs": [], "params": {"a": "{{ steps.s0.output }}"}}], "/steps/1/params/a", "name it in 'needs'"),
        ([{}, {"params": {"a": "{{ steps.s0.outputs }}"}}], "/steps/1/params/a", "Did you mean 'output'?"),
        ([{}, {"params": {"a": "{{ steps['so'].output }}"}}], "/steps/1/params/a", "there is no step 'so'"),
        ([{"if": {"foo": []}}], "/steps/0/if", "unknown operator 'foo'"),
        ([{"if": {"and": [{"==": [{"bar": 1}, 1]}]}}], "/steps/0/if/and/0/==/0", "unknown operator 'bar'"),
        ([{}, {"needs": [], "if": {"var": "steps.s0.output"}}], "/steps/1/if/var", "name it in 'needs'"),
        ([{"if": {"!": [{"var": ["payload.x", 1]}]}}], "/steps/0/if/!/0/var", "'payload' is not known here"),
        ([{"params": {"a": "$secret:"}}], "/steps/0/params/a", "$secret:"),
        ([{"params": {"a": "$env:not a name"}}], "/steps/0/params/a", "$env:"),
        ([{"params": {"a": "Bearer $secret:a//b"}}], "/steps/0/params/a", "What follows $secret:"),
        ([{"params": {"a": "Bearer $secret:ä"}}], "/steps/0/params/a", "What follows $secret:"),
        ([{"params": {"a": "{{ event.x }} $secret:a/../b"}}], "/steps/0/params/a", "What follows $secret:"),
        ([{"params": {"a": "$secret:{{ event.x }}"}}], "/steps/0/params/a", "without a template"),
        ([{"params": {"a": "$secret:KEY_{{ event.x }}"}}], "/steps/0/params/a", "without a template"),
        ([{"params": {"a": "Bearer $secret:{{ event.x }}"}}], "/steps/0/params/a", "without a template"),
        ([{"params": {"a": "Bearer $secret:KEY{{ event.x }}"}}], "/steps/0/params/a", "without a template"),
        ([{"params": {"a": "Bearer $secret:KEY {{- event.x }}"}}], "/steps/0/params/a", "without a template"),
        ([{"params": {"a": "$env:A and {{ '$secret:B' }}"}}], "/steps/0/params/a", "not within a template"),
    ],
)
def test_each_problem_is_found_where_it_is(catalogue: Any, steps: Any, pointer: Any, says: Any) -> None:
    found = problems_of(define(*steps), catalogue)
    assert [place for place, _ in found] == [pointer]
    assert says in found[0][1]


@pytest.mark.parametrize(
    ("rest", "pointer", "says"),
    [
        ({"trigger": {"type": "event", "event": "*.paid"}}, "/trigger/event", "pattern"),
        ({"trigger": {"type": "event", "event": "a", "rule": {"foo": []}}}, "/trigger/rule", "unknown operator"),
        ({"output": {"a": "{{ steps.s1.output }}"}}, "/output/a", "there is no step 's1'"),
        ({"output": {"a": "$secret:KEY"}}, "/output/a", "cannot hold a secret"),
        ({"output": {"a": "the $secret:KEY"}}, "/output/a", "cannot hold a secret"),
        ({"output": {"a": "{{ event.x }} $secret:KEY"}}, "/output/a", "cannot hold a secret"),
        ({"concurrency": {"key": "{{ event.x"}}, "/concurrency/key", "cannot be parsed"),
        ({"concurrency": {"key": "{{ steps.s0.output }}"}}, "/concurrency/key", "'event' alone"),
        ({"concurrency": {"key": "{{ execution.id }}"}}, "/concurrency/key", "'event' alone"),
        ({"concurrency": {"key": "$secret:KEY"}}, "/concurrency/key", "cannot hold a secret"),
        ({"concurrency": {"key": "x", "mode": "queue", "limit": 2}}, "/concurrency/limit", "not with 'queue'"),
        ({"concurrency": {"key": "x", "burst": 2}}, "/concurrency/burst", "'per_second'"),
    ],
)
def test_problems_beside_the_steps(catalogue: Any, rest: Any, pointer: Any, says: Any) -> None:
    found = problems_of(define(**rest), catalogue)
    assert [place for place, _ in found] == [pointer]
    assert says in found[0][1]


@pytest.mark.parametrize(
    ("definition", "pointer", "names"),
    [
        (define({"foreach": [1]}), "/steps/0/foreach", "'foreach'"),
        (define({"concurrency": 2}), "/steps/0/concurrency", "'concurrency'"),
        (define({"connection": "billing"}), "/steps/0/connection", "'connection'"),
        (define({}, {"compensates": "s0"}), "/steps/1/compensates", "'compensates'"),
        (define({"on_error": "compensate"}), "/steps/0/on_error", "'compensate'"),
        (define({"action": "flow.sleep"}), "/steps/0/action", "'flow.sleep'"),
        (define({"action": "flow.approve"}), "/steps/0/action", "'flow.approve'"),
        (define({"action": "flow.wait_for_event"}), "/steps/0/action", "'flow.wait_for_event'"),
        (define({"action": "flow.run_workflow"}), "/steps/0/action", "'flow.run_workflow'"),
        (define(trigger={"type": "webhook", "source": "gh"}), "/trigger/type", "'webhook'"),
        (define(trigger={"type": "schedule", "cron": "* * * * *"}), "/trigger/type", "'schedule'"),
        (define(trigger={"type": "model", "model": "auth.User"}), "/trigger/type", "'model'"),
    ],
)
def test_what_does_not_run_yet_is_refused_by_name(catalogue: Any, definition: Any, pointer: Any, names: Any) -> None:
    ((place, message),) = problems_of(definition, catalogue)
    assert place == pointer
    assert names in message
    assert "is not supported yet" in message


def test_all_problems_are_reported_at_once(catalogue: Any) -> None:
    definition = define({"action": "shop.pay"}, {"foreach": [1]}, output={"a": "{{ x }}"})
    with pytest.raises(InvalidDefinitionError) as caught:
        ensure_publishable(definition, catalogue)
    pointers = [problem["pointer"] for problem in caught.value.context["problems"]]
    assert pointers == ["/steps/0/params", "/steps/1/foreach", "/output/a"]
    assert all(pointer in str(caught.value) for pointer in pointers)


@pytest.mark.parametrize("wrong", [define({"if": {"foo": 1}}), define({"needs": ["s1"]}, {}), define({"needs": ["x"]})])
def test_what_cannot_be_published_cannot_be_compiled(wrong: Any) -> None:
    with pytest.raises(InvalidDefinitionError):
        compile_workflow(wrong)


def test_rules_are_those_of_the_engine_that_is_given(catalogue: Any) -> None:
    engine = engine_for("community", ["text"])
    rule = {"starts_with": [{"val": ["name"]}, "Dr"]}
    definition = define(
        {},
        {"if": {"and": [{"val": ["steps", "s0", "output", 0]}, {"preserve": {"var": "nowhere"}}, {"val": [[1], "x"]}]}},
        trigger={"type": "event", "event": "a.b", "rule": rule},
    )
    assert check_definition(definition, catalogue, engine) == []
    ensure_publishable(definition, catalogue, engine)
    compiled = compile_workflow(definition, engine)
    assert compiled.rule is not None
    assert compiled.rule.evaluate({"name": "Dr Who"}) is True
    assert compiled.conditions["s1"].evaluate({"steps": {"s0": {"output": [1]}}}) is False
    assert [pointer for pointer, _ in problems_of(definition, catalogue)] == ["/trigger/rule", "/steps/1/if/and/2"]
    with pytest.raises(InvalidDefinitionError):
        compile_workflow(definition)
    unknown = define({"if": {"or": [{"val": ["step", "s0"]}, {"val": "payload"}]}})
    found = check_definition(unknown, catalogue, engine)
    assert [problem.pointer for problem in found] == ["/steps/0/if/or/0/val", "/steps/0/if/or/1/val"]
