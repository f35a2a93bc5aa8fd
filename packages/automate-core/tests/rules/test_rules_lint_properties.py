"""What lint says is so, for all data that fits the schema."""

from __future__ import annotations

import json
from typing import Any

from automate_core.rules import Finding, evaluate, lint
from automate_core.rules.lint.judge import Judge
from automate_core.rules.lint.known import Known
from automate_core.rules.lint.places import ANYWHERE, place_of
from automate_core.rules.operators import CLASSIC
from automate_core.rules.syntax import check
from automate_core.schema import find_problems
from hypothesis import given, settings
from hypothesis import strategies as st

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 0, "maximum": 10},
        "x": {"type": "number"},
        "s": {"enum": ["paid", "new", "5"]},
        "t": {"type": "string"},
        "b": {"type": "boolean"},
        "o": {"anyOf": [{"type": "number", "exclusiveMinimum": -3}, {"type": "null"}]},
        "l": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        "c": {"const": 7},
        "m": {"enum": [1, "1", True, None, [1], {}]},
        "d": {"type": "object", "properties": {"z": {"type": "string", "minLength": 1}}, "required": ["z"]},
    },
    "required": ["n", "s", "x", "d"],
    "$defs": {
        "Line": {
            "type": "object",
            "properties": {"q": {"type": "integer", "minimum": 1}, "k": {"const": "a"}},
            "required": ["q"],
        }
    },
}
SCALARS = [
    None,
    True,
    False,
    0,
    1,
    -1,
    5,
    7,
    10,
    11,
    100,
    2.5,
    "",
    "paid",
    "new",
    "5",
    "05",
    "1",
    "a",
    "0",
    "2.5",
    " 5 ",
]
PATHS = ["n", "x", "s", "t", "b", "o", "l", "c", "m", "d", "d.z", "l.0", "l.0.q", "zzz", "", "s.0", "t.1"]
COMPARISONS = ["==", "===", "!=", "!==", ">", ">=", "<", "<="]

constants: st.SearchStrategy[Any] = st.sampled_from([*SCALARS, [], ["paid"], [1], {}])
variables = st.one_of(
    st.sampled_from(PATHS).map(lambda path: {"var": path}),
    st.tuples(st.sampled_from(PATHS), st.sampled_from(SCALARS)).map(lambda pair: {"var": list(pair)}),
)
names = st.sampled_from(COMPARISONS)


def operation(*parts: Any) -> st.SearchStrategy[Any]:
    return st.tuples(*parts).map(lambda drawn: {drawn[0]: list(drawn[1:])})


leaves = st.one_of(
    operation(names, variables, constants),
    operation(names, constants, variables),
    operation(names, variables, variables),
    operation(st.sampled_from(["<", "<="]), constants, variables, constants),
    operation(st.just("in"), variables, st.lists(constants, max_size=4)),
    operation(st.just("in"), variables, st.sampled_from(["", "paid new", "x"])),
    operation(st.just("in"), constants, variables),
    st.lists(st.sampled_from(PATHS), max_size=2).map(lambda keys: {"missing": keys}),
    operation(
        st.sampled_from(["some", "all", "none"]),
        st.sampled_from(["l", "t", "m", "zzz"]).map(lambda path: {"var": path}),
        operation(names, st.sampled_from(["q", "k", "", "w"]).map(lambda path: {"var": path}), constants),
    ),
    variables,
    constants,
)
rules = st.recursive(
    leaves | operation(names, leaves, leaves),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, max_size=4)).map(lambda pair: {pair[0]: pair[1]}),
        st.lists(inner, min_size=1, max_size=5).map(lambda parts: {"if": parts}),
        operation(st.sampled_from(["!", "!!"]), inner),
        operation(st.sampled_from(["+", "-", "*", "cat", "max", "merge"]), inner, inner),
    ),
    max_leaves=8,
)
numbers = st.integers(-5, 120) | st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    constants | numbers | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["z", "q", "a"]), inner, max_size=2),
    max_leaves=5,
)
fitting = st.fixed_dictionaries(
    {
        "n": st.integers(0, 10),
        "x": numbers,
        "s": st.sampled_from(["paid", "new", "5"]),
        "d": st.fixed_dictionaries({"z": st.sampled_from(["a", "0", "5", " "])}),
    },
    optional={
        "t": st.text(max_size=3) | st.sampled_from(["paid", "5", "2.5", "100", "05", " 5 "]),
        "b": st.booleans(),
        "o": st.none() | st.integers(-2, 20),
        "l": st.lists(
            st.fixed_dictionaries({"q": st.integers(1, 9)}, optional={"k": st.just("a"), "w": constants}), max_size=3
        ),
        "c": st.just(7),
        "m": st.sampled_from([1, "1", True, None, [1], {}]),
        "zzz": anything,
    },
)
free = st.dictionaries(st.sampled_from([path for path in PATHS if path.isalpha()]), anything, max_size=6)
cases = st.tuples(st.just(SCHEMA), fitting) | st.tuples(st.none(), free)
"""A schema, and data that fits it."""


def known(schema: Any) -> Known:
    return Known(ANYWHERE if schema is None else place_of(schema))


def holds(rule: Any, data: Any) -> bool:
    return evaluate({"!!": [rule]}, data)


TEXTS = ["", "0", "1", "5", "05", " 5 ", "2.5", "100", "paid", "a", "b", "Z", "true", "[object Object]", "1,2", "é"]
TELLING: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    5,
    2.5,
    100,
    10**17,
    {},
    [],
    [None],
    [5],
    ["5"],
    ["a"],
    ["a", "b"],
    [1, 2],
    [[1]],
]
"""Values that are read as texts, as numbers, and as neither."""
SIMPLE = [*TELLING, *TEXTS]
ALIKE = ["a", ["a"], "5", 5, ["5"], [5], "", [], None, 0, "0", True]
"""Values that equal each other in one way and not in another."""

simple = st.sampled_from(ALIKE) | st.sampled_from(SIMPLE)

conditions = st.one_of(
    operation(names, st.just({"var": "a"}), simple),
    operation(names, simple, st.just({"var": "a"})),
    operation(st.just("in"), st.just({"var": "a"}), st.lists(simple, max_size=3)),
    operation(st.just("in"), st.just({"var": "a"}), st.sampled_from(TEXTS)),
    operation(st.just("in"), simple, st.just({"var": "a"})),
    st.just({"!": [{"var": "a"}]}),
)


@settings(max_examples=4_000, deadline=None)
@given(value=simple, written=st.lists(conditions, min_size=2, max_size=3))
def test_what_follows_from_conditions_about_one_value_is_true(value: Any, written: list[Any]) -> None:
    judge, after = Judge(), Known()
    for condition in written:
        rule, actual = check(condition, CLASSIC)[0], holds(condition, {"a": value})
        assert judge.truth(rule, after) in (None, actual)
        narrowed = judge.assume(rule, actual, after)
        assert narrowed is not None, "what is the case was called impossible"
        after = narrowed


@settings(max_examples=300, deadline=None)
@given(rule=rules, other=rules, case=cases)
def test_the_judge_never_errs(rule: Any, other: Any, case: tuple[Any, Any]) -> None:
    schema, data = case
    assert schema is None or not find_problems(schema, data)
    rule, other = check(rule, CLASSIC)[0], check(other, CLASSIC)[0]
    judge, actual = Judge(), holds(rule, data)
    assert judge.truth(rule, known(schema)) in (None, actual)
    after = judge.assume(rule, actual, known(schema))
    assert after is not None, "what is the case was called impossible"
    assert judge.truth(other, after) in (None, holds(other, data))
    both = judge.assume(other, holds(other, data), after)
    assert both is not None
    assert judge.truth(rule, both) in (None, actual)


@settings(max_examples=300, deadline=None)
@given(rule=rules, case=cases)
def test_every_finding_is_true(rule: Any, case: tuple[Any, Any]) -> None:
    schema, data = case
    for finding in lint(rule, schema):
        assert is_true(finding, rule, data), (finding, rule, data)


@settings(max_examples=300, deadline=None)
@given(rule=rules, other=rules, case=cases)
def test_what_is_said_about_two_rules_is_true(rule: Any, other: Any, case: tuple[Any, Any]) -> None:
    schema, data = case
    said = {finding.code for finding in lint(rule, schema, {"other": other})}
    ours, theirs = holds(rule, data), holds(other, data)
    if "duplicate-rule" in said:
        assert ours is theirs
    if "implies-rule" in said:
        assert theirs or not ours
    if "implied-by-rule" in said:
        assert ours or not theirs


@settings(max_examples=200, deadline=None)
@given(rule=rules, case=cases, name=st.sampled_from(["and", "or"]))
def test_a_rule_is_a_duplicate_of_itself_in_other_words(rule: Any, case: tuple[Any, Any], name: str) -> None:
    schema, data = case
    same = {"!": [{"!": [{name: [rule, rule]}]}]}
    assert holds(same, data) is holds(rule, data)
    said = {finding.code for finding in lint(rule, schema, {"same": same})} & {"duplicate-rule", "implies-rule"}
    assert said == ({"duplicate-rule"} if Judge().truth(check(rule, CLASSIC)[0], known(schema)) is None else set())


def is_true(finding: Finding, rule: Any, data: Any) -> bool:
    """Whether a finding holds for some data, as far as it says something about all data."""
    steps = finding.pointer.split("/")[1:]
    if {"some", "all", "none"} & set(steps[:-1]) and steps[-1] != "0":
        return True  # about items; their conditions are judged by the same code
    part, around = rule, rule
    for position, step in enumerate(steps):
        if isinstance(part, list) and step.isdigit():
            part = part[int(step)]
            continue
        around, part = part, part[step]
        if position == len(steps) - 1 and not isinstance(part, list):
            around = part
    truth = holds(part, data)
    if finding.code == "always-true":
        return truth
    if finding.code == "always-false":
        return not truth
    if finding.code in ("impossible-value", "type-mismatch") and "always" in finding.message:
        return truth is ("always true" in finding.message) or finding.pointer.endswith("/0")
    if finding.code in ("contradiction", "tautology"):
        return holds(around, data) is (finding.code == "tautology")
    if finding.code == "redundant-condition":
        ((name, parts),) = around.items()
        rest = [other for at, other in enumerate(parts) if at != int(steps[-1])]
        return holds({name: rest}, data) is holds(around, data)
    return json.dumps(finding.as_dict()) != ""
