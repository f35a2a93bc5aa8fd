"""What holds for every rule and all data."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from automate_core.errors import RuleError
from automate_core.rules import Engine, compile_rule, evaluate, explain, format_explanation
from hypothesis import given
from hypothesis import strategies as st

OPERATORS = Engine().operators
PATHS = [
    "",
    "a",
    "b",
    "a.b",
    "list",
    "list.0",
    "items",
    "items.0.a",
    "text",
    "text.0",
    "none",
    "current",
    "accumulator",
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["", "0", "1", "10", " 5 ", "1e3", "3px", "abc", "0x1f", "1,2", "Infinity", "a", 0, 1, -1, 2**53]),
)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["a", "b", "list", "text", "password"]) | st.text(max_size=3), inner, max_size=4
        )
    ),
    max_leaves=12,
)
contexts = st.fixed_dictionaries(
    {"list": st.lists(json_values, max_size=4), "text": st.text(max_size=4)},
    optional={
        "a": json_values,
        "b": json_values,
        "items": st.lists(st.fixed_dictionaries({"a": json_values}), max_size=3),
    },
)
finite = scalars.filter(lambda value: not isinstance(value, float) or math.isfinite(value))
constants: st.SearchStrategy[Any] = finite | st.just({})


@st.composite
def operations(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    operator = OPERATORS[draw(st.sampled_from(sorted(OPERATORS)))]
    most = 4 if operator.maximum is None else operator.maximum
    operands = draw(st.lists(inner, min_size=operator.minimum, max_size=most))
    bare = len(operands) == 1 and not isinstance(operands[0], list) and draw(st.booleans())
    return {operator.name: operands[0] if bare else operands}


rules = st.recursive(
    constants | st.sampled_from(PATHS).map(lambda path: {"var": path}),
    lambda inner: operations(inner) | st.lists(inner, max_size=3),
    max_leaves=16,
)


def same(first: Any, second: Any) -> bool:
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


@given(rule=rules, context=contexts | json_values)
def test_explain_is_evaluate_and_data_never_raises(rule: Any, context: Any) -> None:
    compiled = compile_rule(rule)
    matches = compiled.evaluate(context)
    explained = compiled.explain(context)
    assert explained["result"] is matches
    assert matches is evaluate(rule_spec=rule, context=context)
    assert (compiled.value(context) is not None) or not matches
    json.dumps(explained, allow_nan=False)
    assert format_explanation(explained).count("\n") < 10_000


@given(rule=rules, context=contexts)
def test_evaluation_changes_nothing(rule: Any, context: Any) -> None:
    before = copy.deepcopy((rule, context))
    compiled = compile_rule(rule)
    first = compiled.value(context)
    compiled.explain(context)
    assert same(first, compiled.value(context))
    assert repr((rule, context)) == repr(before)
    assert repr(compiled.spec) == repr(rule)


@given(rule=rules, context=contexts)
def test_a_condition_is_the_same_wherever_it_stands(rule: Any, context: Any) -> None:
    """Fused and unfused shapes, tests and values, with a budget and without: all agree."""
    truth = evaluate({"!!": [rule]}, context)
    assert evaluate({"!": [{"!": [rule]}]}, context) is truth
    assert evaluate({"if": [rule, True, False]}, context) is truth
    for junction in ("and", "or"):
        assert evaluate({"!!": [{junction: [rule]}]}, context) is truth
        assert evaluate({"!!": [{junction: [rule, rule, rule, rule, rule]}]}, context) is truth
    assert evaluate({"some": [[0], {"===": [True, truth]}]}, context) is truth
    assert evaluate({"and": [True, {"!!": [rule]}, {"none": [[], 1]}]}, context) is truth


leaf_values: st.SearchStrategy[Any] = scalars | st.lists(scalars, max_size=2) | st.just({})


@given(
    name=st.sampled_from(["==", "===", "!=", "!==", ">", ">=", "<", "<="]),
    value=leaf_values,
    constant=constants.filter(lambda value: not isinstance(value, dict)),
)
def test_fused_comparisons_agree_with_the_exact_functions(name: str, value: Any, constant: Any) -> None:
    function = OPERATORS[name].function
    assert function is not None
    expected, mirrored = function(None, value, constant), function(None, constant, value)
    for path, context in (("a", {"a": value}), ("a.b.c", {"a": {"b": {"c": value}}}), ("", value), ("1", [0, value])):
        variable = {"var": path}
        computed = {"if": [True, variable]}
        for operand in (variable, computed):
            rule, other = {name: [operand, constant]}, {name: [constant, operand]}
            assert evaluate(rule, context) is expected
            assert evaluate(other, context) is mirrored
            assert evaluate({"and": [rule] * 5}, context) is expected
            assert evaluate({"or": [rule] * 5}, context) is expected
            assert evaluate({"and": [rule, other]}, context) is (expected and mirrored)


@given(name=st.sampled_from(["+", "-", "*"]), value=leaf_values, constant=constants)
def test_fused_arithmetic_agrees_with_the_exact_functions(name: str, value: Any, constant: Any) -> None:
    function = OPERATORS[name].function
    assert function is not None
    expected = compile_rule({"var": "x"}).value({"x": function(None, value, constant)})
    for operand in ({"var": "a"}, {"if": [True, {"var": "a"}]}):
        assert same(compile_rule({name: [operand, constant]}).value({"a": value}), expected)
    if name == "+":
        adding = {"reduce": [{"var": "list"}, {"+": [{"var": "current"}, {"var": "accumulator"}]}, constant]}
        plain = {"reduce": [{"var": "list"}, {"+": [{"var": "current"}, {"var": "accumulator"}, 0]}, constant]}
        context = {"list": [value, value]}
        assert same(compile_rule(adding).value(context), compile_rule(plain).value(context))


@given(value=leaf_values, items=st.lists(scalars.filter(lambda item: not isinstance(item, float)), max_size=5))
def test_fused_membership_agrees_with_the_exact_function(value: Any, items: list[Any]) -> None:
    function = OPERATORS["in"].function
    assert function is not None
    assert evaluate({"in": [{"var": "a"}, items]}, {"a": value}) is function(None, value, items)


@given(rule=json_values)
def test_arbitrary_json_is_a_rule_or_a_rule_error(rule: Any) -> None:
    try:
        compiled = compile_rule(rule)
    except RuleError as error:
        refusal = error
    else:
        assert explain(rule, {})["result"] is compiled.evaluate({})
        return
    assert isinstance(refusal.context["pointer"], str)


whole_numbers = st.integers(-5, 5) | st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, -(2**53), 2**52, -(2**60), 2**31])


@given(
    items=st.lists(whole_numbers, max_size=5) | st.lists(leaf_values, max_size=4),
    number=whole_numbers | constants,
    start=whole_numbers,
)
def test_fused_arrays_agree_with_what_they_are_made_of(items: list[Any], number: Any, start: int) -> None:
    item, context = {"var": ""}, {"list": items}
    apart = {"if": [True, item]}
    for name in ("+", "-", "*", ">", ">=", "<", "<=", "==", "!=", "===", "!=="):
        for array in ("map", "filter"):
            fused = compile_rule({array: [{"var": "list"}, {name: [item, number]}]}).value(context)
            assert same(fused, compile_rule({array: [{"var": "list"}, {name: [apart, number]}]}).value(context))
    adding = {"+": [{"var": "current"}, {"var": "accumulator"}]}
    step_by_step = {"+": [{"if": [True, {"var": "current"}]}, {"var": "accumulator"}]}
    fused = compile_rule({"reduce": [{"var": "list"}, adding, start]}).value(context)
    assert as_double(fused) == as_double(
        compile_rule({"reduce": [{"var": "list"}, step_by_step, start]}).value(context)
    )


WITHOUT_SPINE = Engine({**OPERATORS, "!==": replace(OPERATORS["!=="])})
"""Checks a rule first and compiles the copy, as an operator of the spine is not the classic one."""

usual = st.builds(
    lambda name, path, constant: {name: [{"var": path}, constant]},
    st.sampled_from(["==", "===", "!=", "!==", ">", ">=", "<", "<="]),
    st.sampled_from(PATHS),
    scalars,
)
spines: st.SearchStrategy[Any] = st.recursive(
    usual | rules | json_values,
    lambda inner: st.builds(lambda name, items: {name: items}, st.sampled_from(["and", "or"]), st.lists(inner)),
    max_leaves=8,
)


@given(rule=spines, context=contexts | json_values)
def test_a_rule_is_the_same_compiled_in_one_walk_or_in_two(rule: Any, context: Any) -> None:
    try:
        expected = WITHOUT_SPINE.compile_rule(rule)
    except RuleError as error:
        refusal = error
    else:
        compiled = compile_rule(rule)
        assert repr(compiled.spec) == repr(expected.spec)
        assert compiled.evaluate(context) is expected.evaluate(context)
        assert same(compiled.value(context), expected.value(context))
        return
    with pytest.raises(type(refusal)) as caught:
        compile_rule(rule)
    assert (str(caught.value), caught.value.context) == (str(refusal), refusal.context)


def as_double(value: Any) -> Any:
    return float(value) if isinstance(value, int) else value
