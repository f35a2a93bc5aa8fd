from __future__ import annotations

import importlib.resources
import json
from typing import Any

import jsonschema  # type: ignore[import-untyped] # has no types, and the stubs would be one more pin
import pytest
from automate_core.errors import InvalidDefinitionError
from automate_core.retry import RetryPolicy
from automate_core.workflow import StepDefinition, WorkflowDefinition, parse
from hypothesis import given
from hypothesis import strategies as st

MINIMAL: dict[str, Any] = {"slug": "a", "trigger": {"type": "manual"}, "steps": [{"id": "one", "action": "log.write"}]}
FULL = {
    "slug": "thank-big-spender",
    "trigger": {"type": "event", "event": "order.paid", "rule": {">=": [{"var": "amount"}, 100]}},
    "steps": [
        {
            "id": "invoice",
            "action": "http.request",
            "connection": "billing",
            "params": {"method": "POST", "url": "/invoices", "json": {"order": "{{ event.payload.order_id }}"}},
            "retry": {"max_attempts": 5, "initial": 1.0, "factor": 2.0, "max": 300.0, "jitter": True},
            "timeout": 30.0,
        },
        {
            "id": "lines",
            "action": "slack.post_message",
            "foreach": "{{ steps.invoice.output.lines }}",
            "concurrency": 4,
            "params": {"channel": "#sales", "text": "{{ item.name }}"},
            "on_error": "continue",
        },
        {
            "id": "check",
            "action": "flow.approve",
            "needs": ["invoice"],
            "if": {">": [{"var": "event.payload.amount"}, 5000]},
            "params": {"group": "finance", "expires": "P2D"},
        },
        {"id": "void", "action": "http.request", "compensates": "invoice", "params": {"method": "DELETE"}},
    ],
    "output": {"invoice": "{{ steps.invoice.output.id }}"},
    "concurrency": {"key": "{{ event.payload.customer }}", "mode": "queue"},
}


def problems_of(data: Any) -> Any:
    with pytest.raises(InvalidDefinitionError) as caught:
        parse(data)
    return {problem["pointer"]: problem["message"] for problem in caught.value.context["problems"]}


@pytest.mark.parametrize("data", [MINIMAL, FULL])
def test_the_canonical_form_is_the_format_itself(data: Any) -> None:
    definition = parse(data)
    assert definition.to_json() == data
    assert parse(definition.to_json()).hash() == definition.hash()


def test_what_means_the_same_has_the_same_hash() -> None:
    steps = [
        {"id": "a", "action": "log.write"},
        {"id": "b", "action": "log.write", "needs": []},
        {"id": "c", "action": "log.write", "needs": ["a", "b"]},
        {"id": "d", "action": "log.write", "timeout": 3},
    ]
    spelt_out = [
        {"id": "a", "action": "log.write", "needs": [], "params": {}, "on_error": "fail", "if": None, "retry": None},
        {"id": "b", "action": "log.write", "needs": ()},
        {"id": "c", "action": "log.write", "needs": ["b", "a"]},
        {"id": "d", "action": "log.write", "timeout": 3.0, "needs": ["c"]},
    ]
    short = parse({"slug": "x", "steps": steps})
    long = parse({"output": {}, "steps": spelt_out, "trigger": {"type": "manual"}, "slug": "x"})
    assert short.hash() == long.hash()
    assert short.to_json() == long.to_json()
    assert short.needs == {"a": (), "b": (), "c": ("a", "b"), "d": ("c",)}


@pytest.mark.parametrize(
    "change",
    [
        {"slug": "other"},
        {"trigger": {"type": "event", "event": "x"}},
        {"output": {"a": 1}},
        {"steps": [{"id": "one", "action": "log.write", "params": {"a": None}}]},
        {"steps": [{"id": "one", "action": "log.write", "on_error": "continue"}]},
    ],
)
def test_what_means_something_else_has_another_hash(change: Any) -> None:
    assert parse({**MINIMAL, **change}).hash() != parse(MINIMAL).hash()


def test_every_problem_of_the_form_has_a_pointer() -> None:
    data = {
        "slug": "A b",
        "trigger": {"type": "event", "event": 1, "x": 1},
        "steps": [
            {
                "id": "a-b",
                "action": "http",
                "timeout": "3",
                "needs": [1],
                "if": True,
                "retry": {"max_attempts": 0},
                "on_error": "ignore",
                "when": 1,
                "params": [],
            },
            {},
        ],
        "concurrency": {"mode": "x", "limit": 0, "per_second": 0, "burst": 1.5},
        "extra": 1,
    }
    found = problems_of(data)
    step = "/steps/0"
    assert set(found) == {
        *("/slug", "/trigger/event", "/trigger/x", "/concurrency/key", "/concurrency/mode", "/extra"),
        *("/concurrency/limit", "/concurrency/per_second", "/concurrency/burst"),
        *(f"{step}/{name}" for name in ("id", "action", "timeout", "needs/0", "if", "on_error", "when", "params")),
        *(f"{step}/retry/max_attempts", "/steps/1/id", "/steps/1/action"),
    }
    assert found["/steps/1/id"] == "field required"


@pytest.mark.parametrize(
    ("data", "pointer", "says"),
    [
        ([], "", "must be an object"),
        ({"slug": "a"}, "/steps", "field required"),
        ({"slug": "a", "steps": []}, "/steps", "at least one step"),
        ({**MINIMAL, "trigger": {"type": "cron"}}, "/trigger", "tag 'cron'"),
        ({**MINIMAL, "output": {"x": float("nan")}}, "/output/x", "nan"),
        ({**MINIMAL, "output": {"x": {1, 2}}}, "/output/x", "set is not JSON"),
        ({**MINIMAL, "output": {"x": "y" * 2**21}}, "", "larger than 1048576 bytes"),
        ({**MINIMAL, "steps": MINIMAL["steps"] * 1001}, "/steps", "at most 1000 items"),
        ({**MINIMAL, "slug": "a\n"}, "/slug", "lower case letters, digits and '-'"),
        ({**MINIMAL, "steps": [{"id": "a", "action": "http"}]}, "/steps/0/action", "must be 'connector.action'"),
        ({**MINIMAL, "steps": [{"id": "a", "action": "a.b", "needs": ["B"]}]}, "/steps/0/needs/0", "digits and '_'"),
        ({**MINIMAL, "trigger": {"type": "model", "model": "Order"}}, "/trigger/model", "must be 'app_label.Model'"),
    ],
)
def test_what_is_no_definition_is_refused(data: Any, pointer: Any, says: Any) -> None:
    assert says in problems_of(data)[pointer]


def test_a_definition_does_not_change_with_what_it_was_made_from() -> None:
    data = json.loads(json.dumps(MINIMAL))
    data["steps"][0]["params"] = {"a": [1]}
    definition = parse(data)
    data["steps"][0]["params"]["a"].append(2)
    assert definition.steps[0].params == {"a": [1]}


def test_a_step_sets_what_it_wants_of_the_retry_policy() -> None:
    default = RetryPolicy(max_attempts=4, initial=1, factor=2, max=300, jitter=True)
    step = StepDefinition.model_validate({"id": "a", "action": "b.c", "retry": {"max_attempts": 9, "jitter": False}})
    assert step.retry_policy(default) == RetryPolicy(max_attempts=9, initial=1, factor=2, max=300, jitter=False)
    assert parse(MINIMAL).steps[0].retry_policy(default) is default


def test_a_workflow_says_how_steps_are_retried_that_do_not_say_so_themselves() -> None:
    default = RetryPolicy(max_attempts=4, initial=1, factor=2, max=300, jitter=True)
    steps = [{"id": "a", "action": "b.c"}, {"id": "d", "action": "b.c", "retry": {"max_attempts": 9}}]
    definition = parse({**MINIMAL, "retry": {"max_attempts": 2, "initial": 5}, "steps": steps})
    of_workflow = definition.retry_policy(default)
    assert definition.steps[0].retry_policy(of_workflow) == RetryPolicy(max_attempts=2, initial=5)
    assert definition.steps[1].retry_policy(of_workflow) == RetryPolicy(max_attempts=9, initial=5)
    assert parse(MINIMAL).retry_policy(default) is default
    assert definition.to_json()["retry"] == {"max_attempts": 2, "initial": 5.0}
    with pytest.raises(InvalidDefinitionError) as caught:
        parse({**MINIMAL, "retry": {"factor": 0.5, "attempts": 3}})
    assert {problem["pointer"] for problem in caught.value.context["problems"]} == {"/retry/factor", "/retry/attempts"}


def test_the_shipped_json_schema_is_current() -> None:
    shipped = json.loads(importlib.resources.files("automate_core.workflow").joinpath("schema.json").read_text("utf-8"))
    assert shipped == WorkflowDefinition.json_schema()
    assert shipped["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(shipped)


names = st.sampled_from(["slug", "trigger", "steps", "output", "concurrency", "retry", "x"])
pieces = st.sampled_from(
    [
        *("a", "A", 1, None, {}, [], {"type": "manual"}, {"type": "event", "event": "a"}, {"type": "event"}),
        *(
            {"key": "k"},
            {"max": 3},
            [{"id": "a", "action": "b.c"}],
            [{"id": "a"}],
            [{"id": "a", "action": "b.c", "if": 1}],
        ),
        [{"id": "a", "action": "b.c", "needs": ["z"], "timeout": 1, "foreach": [1], "retry": {"max": 3}}],
    ]
)


@given(st.dictionaries(names, pieces).map(lambda extra: {**MINIMAL, **extra}) | st.dictionaries(names, pieces))
def test_the_json_schema_and_the_parser_agree(data: Any) -> None:
    schema = WorkflowDefinition.json_schema()
    fits = jsonschema.Draft202012Validator(schema).is_valid(data)
    try:
        parse(data)
    except InvalidDefinitionError:
        assert not fits
    else:
        assert fits
