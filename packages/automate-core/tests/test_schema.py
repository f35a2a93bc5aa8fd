from __future__ import annotations

import datetime
import decimal
import enum
from typing import Any

import jsonschema  # type: ignore[import-untyped] # has no types, and the stubs would be one more pin
import pytest
from automate_core.connectors import ActionSpec
from automate_core.errors import ConfigurationError, InvalidInputError
from automate_core.schema import UNKNOWN, check, find_problems, supported
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

names = st.sampled_from(["a", "b", "c", "items"])
numbers = st.integers(-4, 8) | st.sampled_from([0.5, 1.0, 2.5, -1.0, 1e300, 10**40])
scalars = st.none() | st.booleans() | numbers | st.sampled_from(["", "a", "ab", "abc", "b1"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
counts = st.integers(0, 3)
types = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])


def schemas() -> Any:
    def compose(inner: Any) -> Any:
        several = st.lists(inner, min_size=1, max_size=3)
        keywords = {
            "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            "properties": st.dictionaries(names, inner, max_size=3),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$", "."]), inner, max_size=2),
            "required": st.lists(names, max_size=2, unique=True),
            "additionalProperties": inner,
            "propertyNames": inner,
            "minProperties": counts,
            "maxProperties": counts,
            "items": inner,
            "prefixItems": several,
            "minItems": counts,
            "maxItems": counts,
            "uniqueItems": st.booleans(),
            "minLength": counts,
            "maxLength": counts,
            "pattern": st.sampled_from(["^a", "b", "[0-9]$"]),
            "minimum": numbers,
            "maximum": numbers,
            "exclusiveMinimum": numbers,
            "exclusiveMaximum": numbers,
            "multipleOf": st.sampled_from([1, 2, 0.5, 3]),
            "anyOf": several,
            "oneOf": several,
            "allOf": several,
            "not": inner,
            "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y~1z"]),
            "title": st.just("ignored"),
            "format": st.just("ignored"),
        }
        return st.lists(st.sampled_from(sorted(keywords)), max_size=4, unique=True).flatmap(
            lambda chosen: st.fixed_dictionaries({keyword: keywords[keyword] for keyword in chosen})
        )

    def rooted(schema: Any) -> Any:
        definitions = {"x": {"type": ["string", "integer"]}, "y/z": {"items": {"$ref": "#/$defs/x"}}}
        return schema if isinstance(schema, bool) else {**schema, "$defs": definitions}

    return st.recursive(st.booleans() | compose(st.booleans()), compose, max_leaves=6).map(rooted)


@settings(max_examples=600, deadline=None)
@given(schemas(), values)
@example({"enum": [1, "a"]}, True)
@example({"const": [0]}, [False])
@example({"uniqueItems": True}, [1, True, [1], [True]])
@example({"uniqueItems": True}, [1, 1.0])
@example({"type": "integer"}, 1.0)
def test_the_verdict_is_that_of_jsonschema(schema: Any, value: Any) -> None:
    expected = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (check(schema, value) is None) is expected


def hide(value: Any, draw: Any) -> Any:
    if draw(st.integers(0, 3)) == 0:
        return UNKNOWN
    if isinstance(value, dict):
        return {key: hide(child, draw) for key, child in value.items()}
    return [hide(child, draw) for child in value] if isinstance(value, list) else value


@settings(max_examples=400, deadline=None)
@given(schemas(), values, st.data())
def test_what_is_unknown_yet_breaks_nothing(schema: Any, value: Any, data: Any) -> None:
    partly = hide(value, data.draw)
    if check(schema, value) is None:
        assert check(schema, partly) is None


def test_problems_carry_pointers_and_no_values() -> None:
    schema = {
        "type": "object",
        "required": ["url"],
        "properties": {"retries": {"type": "integer"}, "headers": {"additionalProperties": {"type": "string"}}},
        "additionalProperties": False,
    }
    found = {
        str(problem) for problem in find_problems(schema, {"retry": "s3cret", "retries": True, "headers": {"a/b": 1}})
    }
    assert found == {
        "/: lacks 'url', which is required",
        "/retries: must be integer, not boolean",
        "/headers/a~1b: must be string, not integer",
        "/retry: is not a property. Did you mean 'retries'?",
    }


def test_an_optional_value_is_judged_by_its_other_branch() -> None:
    problem = check({"anyOf": [{"type": "object", "required": ["a"]}, {"type": "null"}]}, {})
    assert str(problem) == "/: lacks 'a', which is required"


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "object", "properties": {...}}, "/properties must be an object of schemas, not set"),
        ({"properties": {"a": {"if": True}}}, "/properties/a uses 'if', which is not supported"),
        ({"minlength": 3}, "'minlength', which is not supported. Did you mean 'minLength'"),
        ({"type": "text"}, "/type must be one of"),
        ({"type": [["string"]]}, "/type must be one of"),
        ({"items": [{}]}, "prefixItems"),
        ({"anyOf": [{"type": "string"}, 3]}, "/anyOf/1 must be an object or a boolean, not int"),
        ({"anyOf": []}, "/anyOf must be a list of schemas"),
        ({"required": "name"}, "/required must be a list of names"),
        ({"minimum": "3"}, "/minimum must be a number"),
        ({"minLength": True}, "/minLength must be a whole number"),
        ({"multipleOf": 0}, "/multipleOf must be a number above 0"),
        ({"pattern": "("}, "/pattern must be a regular expression"),
        ({"patternProperties": {"(": {}}}, "/patternProperties must be"),
        ({"enum": [{1, 2}]}, "/enum must be a list of JSON values"),
        ({"const": object()}, "/const must be a JSON value"),
        ({"$ref": "#/$defs/missing"}, "leads nowhere"),
        ({"$ref": "https://example.com/schema"}, "a reference into the schema itself"),
        ({"$ref": "#"}, "leads back to itself"),
        ({"allOf": [{"$ref": "#/allOf/0"}]}, "leads back to itself"),
        ({3: True}, "uses 3"),
        (..., "must be an object or a boolean, not ellipsis"),
        (None, "must be an object or a boolean, not NoneType"),
    ],
)
def test_a_malformed_schema_is_a_configuration_error(schema: Any, says: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(schema, {"a": "x"})
    assert says in str(caught.value)


def test_endless_schemas_and_values_end() -> None:
    endless: dict[str, Any] = {}
    endless["not"] = endless
    with pytest.raises(ConfigurationError):
        check(endless, 1)
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"not": deep}
    with pytest.raises(ConfigurationError, match="deeper"):
        supported(deep)
    value: list[Any] = []
    value.append(value)
    schema = {"$defs": {"l": {"items": {"$ref": "#/$defs/l"}}}, "$ref": "#/$defs/l"}
    assert str(check(schema, value)) == "/: is nested deeper than 100 levels"


def test_an_action_with_a_malformed_schema_can_be_declared_but_not_used() -> None:
    spec = ActionSpec(name="send_message", input_schema={"type": "object", "properties": {...}}, idempotent=True)
    with pytest.raises(ConfigurationError, match="/properties"):
        spec.validate_input({})
    good = ActionSpec(name="send", input_schema={"type": "object", "required": ["to"]})
    with pytest.raises(InvalidInputError, match="lacks 'to'") as caught:
        good.validate_input({})
    assert caught.value.context["pointer"] == ""


class Colour(enum.Enum):
    RED = "red"


class Leaf(BaseModel):
    name: str = Field(min_length=1, pattern="^[a-z]+$")
    children: list[Leaf] = []


class Everything(BaseModel, extra="forbid"):
    leaf: Leaf
    colour: Colour = Colour.RED
    when: datetime.datetime | None = None
    amount: decimal.Decimal = decimal.Decimal(1)
    pair: tuple[int, str] = (1, "a")
    tags: set[str] = Field(set(), max_length=3)
    table: dict[str, float] = Field({}, min_length=0, max_length=4)
    count: int = Field(1, ge=0, lt=10, multiple_of=1)


def test_what_pydantic_generates_is_understood() -> None:
    schema = Everything.model_json_schema()
    right = {
        "leaf": {"name": "a", "children": [{"name": "b"}]},
        "pair": [1, "a"],
        "table": {"x": 1.5},
        "amount": "1.50",
    }
    assert check(schema, right) is None
    assert [
        problem.pointer for problem in find_problems(schema, {"leaf": {"name": "a", "children": [{"name": "B"}]}})
    ] == ["/leaf/children/0/name"]
    assert [problem.pointer for problem in find_problems(schema, {**right, "colour": "blue"})] == ["/colour"]
    assert [problem.pointer for problem in find_problems(schema, {**right, "extra": 1})] == ["/extra"]
