"""The community's dialect: all of its suites, and what a rule does that may fail."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from automate_core.errors import (
    ConfigurationError,
    ErrorCodes,
    RuleError,
    RuleEvaluationError,
    RuleLimitExceeded,
    RuleSyntaxError,
    UnknownOperationError,
)
from automate_core.redaction import REDACTED, forget, remember
from automate_core.rules import Engine, compile_rule, custom_operator, engine_for
from automate_core.rules.operators import CLASSIC
from hypothesis import given
from hypothesis import strategies as st

SUITES = Path(__file__).parent / "data" / "compat-tables"
ENGINE = engine_for("community")

DIFFERENT: dict[tuple[str, int], str] = {}
"""The cases, by file and position, in which we decide otherwise, and why: there is none."""

REFUSED = {"Invalid Arguments"}
"""The errors that are told when the rule is compiled, where it alone shows them: RuleSyntaxError."""


def cases(kind: str) -> list[tuple[str, int, Any, Any, Any]]:
    """Read the cases that have a ``result`` or an ``error``: file, position, rule, data, expected."""
    found = []
    for name in json.loads((SUITES / "index.json").read_text("utf-8")):
        for position, case in enumerate(json.loads((SUITES / name).read_text("utf-8"))):
            if isinstance(case, list):
                case = dict(zip(("rule", "data", "result"), case, strict=True))
            if isinstance(case, dict) and kind in case and not case.get("decimal"):
                found.append((name, position, case["rule"], case.get("data"), case[kind]))
    return found


def same(first: Any, second: Any) -> bool:
    """Compare as JSON: booleans are no numbers, 1 is 1.0."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return bool(first == pytest.approx(second, rel=1e-9, abs=1e-9))
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return type(first) is type(second) and bool(first == second)


def value(rule: Any, data: Any = None, engine: Engine = ENGINE) -> Any:
    compiled = engine.compile_rule(rule)
    tree = compiled.explain(data)
    assert tree["result"] is compiled.evaluate(data) is engine.evaluate(rule, data)
    assert engine.explain(rule, data) == tree
    json.dumps(tree, allow_nan=False)
    return compiled.value(data)


def error_of(rule: Any, data: Any = None, engine: Engine = ENGINE) -> RuleEvaluationError:
    compiled = engine.compile_rule(rule)
    pointers = set()
    for run in (compiled.evaluate, compiled.value, compiled.explain, lambda data: engine.explain(rule, data)):
        with pytest.raises(RuleEvaluationError) as caught:
            run(data)
        pointers.add(caught.value.context["pointer"])
    assert len(pointers) == 1
    return caught.value


def test_all_value_cases() -> None:
    found = cases("result")
    assert len(found) == 968
    wrong = []
    for name, position, rule, data, expected in found:
        if not same(value(rule, data), expected) and (name, position) not in DIFFERENT:
            wrong.append((name, position))
    assert wrong == []


def test_all_error_cases() -> None:
    found = cases("error")
    assert len(found) == 162
    told = {RuleSyntaxError: 0, RuleEvaluationError: 0}
    for name, position, rule, data, expected in found:
        with pytest.raises((RuleSyntaxError, RuleEvaluationError)) as caught:
            ENGINE.evaluate(rule, data)
        error = caught.value
        told[type(error)] += 1
        assert isinstance(error.context["pointer"], str), (name, position)
        if isinstance(error, RuleSyntaxError):
            assert expected["type"] in REFUSED, (name, position)
        elif isinstance(expected, dict) and "x" not in json.dumps(data):
            assert repr(expected["type"]) in error.message, (name, position)
    assert told == {RuleSyntaxError: 67, RuleEvaluationError: 95}


@pytest.mark.parametrize(
    ("rule", "data", "pointer", "words"),
    [
        ({"and": [True, {"+": [1, {"var": "a"}]}]}, {"a": "x"}, "/and/1", "'NaN'"),
        ({"map": [[1], {"/": [1, {"var": ""}, 0]}]}, None, "/map/1", "'NaN'"),
        ({"!": {"throw": "no"}}, None, "/!", "'no'"),
        ({"if": [{"==": ["a", 1]}, 1, 2]}, None, "/if/0", "'NaN'"),
        ({"some": [{"var": "a"}, True]}, {}, "", "'Invalid Arguments'"),
        ({"%": {"var": "a"}}, {"a": [1]}, "", "'Invalid Arguments'"),
        ({"try": [{"throw": "a"}, {"throw": "b"}]}, None, "/try/1", "'b'"),
        ({"try": [{"throw": "a"}, {"throw": {"val": []}}]}, None, "/try/1", "fails at"),
    ],
)
def test_a_failure_is_an_error_with_its_place(rule: Any, data: Any, pointer: str, words: str) -> None:
    error = error_of(rule, data)
    assert error.context["pointer"] == pointer
    assert words in error.message
    assert error.code == ErrorCodes.RULE_EVALUATION
    assert value({"try": [rule, "caught"]}, data) == "caught"


def test_what_is_thrown_from_data_is_in_no_message_and_stays_hidden() -> None:
    assert "42" not in str(error_of({"throw": {"val": "pin"}}, {"pin": "code 42"}))
    rule = {"try": [{"throw": {"val": "pin"}}, {"cat": ["a", {"val": "type"}]}]}
    assert value(rule, {"pin": "code 42"}) == "acode 42"
    tree = json.dumps(ENGINE.explain(rule, {"pin": "code 42"})["children"][1])
    assert "42" not in tree
    assert REDACTED in tree
    remember("swordfish-1")
    try:
        assert "swordfish" not in str(error_of({"throw": "swordfish-1"}))
    finally:
        forget("swordfish-1")


@pytest.mark.parametrize(
    ("rule", "data", "expected"),
    [
        ({"val": None}, {"a": 1}, {"a": 1}),
        ({"val": "a.b"}, {"a.b": 1, "a": {"b": 2}}, 1),
        ({"val": [{"var": "k"}, "b"]}, {"k": "a", "a": {"b": 2}}, 2),
        ({"val": {"var": "k"}}, {"k": ["a", "b"], "a": {"b": 2}}, 2),
        ({"val": "length"}, "text", None),
        ({"val": ["a", "__class__"]}, {"a": "text"}, None),
        ({"exists": {"var": "k"}}, {"k": "a", "a": None}, True),
        ({"val": [[1], "x"]}, {"x": 1}, None),
        ({"exists": [[9], "x"]}, {"x": 1}, False),
        ({"map": [[1, 2], {"map": [[5], {"+": [{"val": []}, {"val": [[2]]}, {"val": [[3], "index"]}]}]}]},
         None, [[6], [8]]),
        ({"map": [[1, 2], {"try": [{"throw": "a"}, {"val": [[2]]}]}]}, None, [1, 2]),
        ({"map": [[1, 2], {"val": [[1]]}]}, None, [{"index": 0}, {"index": 1}]),
        ({"reduce": [[5, 6], {"+": [{"val": "accumulator"}, {"val": "current"}, {"val": [[1], "index"]}]}, 0]},
         None, 12),
        ({"all": [[0, 1], {"==": [{"val": []}, {"val": [[1], "index"]}]}]}, None, True),
        ({"some": [[4, 1], {"==": [{"val": []}, {"val": [[1], "index"]}]}]}, None, True),
        ({"none": [[4, 1], {"==": [{"val": []}, {"val": [[2], "x"]}]}]}, {"x": 1}, False),
        ({"filter": [[4, 1], {"exists": [[2], "x"]}]}, {"x": None}, [4, 1]),
        ({"reduce": [[], {"val": "current"}]}, None, None),
        ({"preserve": {"var": "a", "b": [{"c": 1}]}}, {"a": 1}, {"var": "a", "b": [{"c": 1}]}),
        ({"map": [{"preserve": [{"a": 1}, {"b": 2}]}, {"val": "b"}]}, None, [None, 2]),
        ({"<": [1, 2, 3, 3]}, None, False),
        ({"+": [0.1, 0.2]}, None, 0.3),
        ({"/": [4, 2]}, None, 2),
        ({"==": ["1", 1]}, None, True),
        ({"or": [{"var": "a"}, {"??": [None, {"val": "b"}]}]}, {"b": 3}, 3),
    ],
)  # fmt: skip
def test_values_beyond_the_suites(rule: Any, data: Any, expected: Any) -> None:
    assert same(value(rule, data), expected)


@pytest.mark.parametrize(
    ("rule", "data", "reason"),
    [
        ({"<": [1, {"val": "a"}, 9, 5]}, {"a": 3}, "the constant 9, needs to be less than 5"),
        ({"<": [1, {"val": "a"}, 9]}, {"a": 3}, "each of 3 values is less than the next"),
        ({">=": [{"val": ["a", "b"]}, 9]}, {"a": {"b": 3}}, "a.b is 3, needs to be at least 9"),
        ({"??": [None, {"val": "a"}, 1]}, {"a": 3}, "value 2 of 3 is the first that is not null: a is 3"),
        ({"exists": ["a", "b"]}, {}, "a.b is missing"),
        ({"try": [{"/": [1, 0]}, {"val": "type"}]}, {}, 'type is "NaN"'),
    ],
)
def test_sentences(rule: Any, data: Any, reason: str) -> None:
    assert ENGINE.explain(rule, data)["reason"] == reason


def test_what_failed_is_shown_where_something_else_was_tried() -> None:
    tree = ENGINE.explain({"try": [{"/": [1, {"val": "n"}]}, {"throw": "worse"}, 7, 8]}, {"n": 0})
    assert [(node["reason"], node["skipped"], node["result"]) for node in tree["children"]] == [
        ('it fails with "NaN"', False, False),
        ('it fails with "worse"', False, False),
        ("the constant 7", False, True),
        ("not reached", True, None),
    ]


def test_secrets_are_hidden_where_paths_are_lists() -> None:
    data = {"user": {"password": "hunter2x"}, "items": [{"api_key": "k-99"}]}
    rules: list[Any] = [
        {"val": ["user", "password"]},
        {"==": [{"val": ["user", "password"]}, "hunter2x"]},
        {"map": [{"val": "items"}, {"val": "api_key"}]},
        {"some": [{"val": "items"}, {"==": [{"val": "api_key"}, "k-99"]}]},
        {"some": [[1], {"==": [{"val": [[2], "user", "password"]}, "hunter2x"]}]},
        {"cat": {"val": ["user", "password"]}},
        {"??": [{"val": ["user", "password"]}]},
        {"preserve": {"password": "hunter2x"}},
        {"try": [{"throw": {"val": ["user", "password"]}}, {"val": "type"}]},
    ]
    for rule in rules:
        tree = ENGINE.explain(rule, data)
        shown = json.dumps([tree["value"], tree["reason"], [child["value"] for child in tree["children"][:1]]])
        assert "hunter2x" not in shown.replace('needs to be "hunter2x"', "")
        assert "k-99" not in shown


def nested(depth: int) -> Any:
    rule: Any = 1
    for _ in range(depth):
        rule = {"try": [rule]}
    return rule


def shared(depth: int) -> Any:
    """Make data that is small, and enormous once it is copied."""
    data: Any = [0]
    for _ in range(depth):
        data = [data, data]
    return data


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"preserve": shared(40)}, RuleLimitExceeded),
        ({"preserve": {"a": shared(3), "b": [[[0]]]}}, None),
        ({"preserve": {"a": {1: 2}}}, RuleSyntaxError),
        ({"preserve": [float("nan")]}, RuleSyntaxError),
        ({"preserve": "x" * 70_000}, RuleLimitExceeded),
        ({"preserve": {"x" * 70_000: 1}}, RuleLimitExceeded),
        (nested(70), RuleLimitExceeded),
        ({"try": []}, RuleSyntaxError),
        ({"throw": []}, RuleSyntaxError),
        ({"map": [None, 1]}, RuleSyntaxError),
        ({"and": {"preserve": [1]}}, RuleSyntaxError),
        ({"val": {"nope": 1}}, UnknownOperationError),
    ],
)
def test_rules_that_are_no_rules(rule: Any, error: type[RuleError] | None) -> None:
    if error is None:
        ENGINE.compile_rule(rule)
        return
    with pytest.raises(error) as caught:
        ENGINE.compile_rule(rule)
    assert isinstance(caught.value.context["pointer"], str)


def test_cyclic_data_in_a_rule_is_refused() -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    with pytest.raises(RuleLimitExceeded):
        ENGINE.compile_rule({"preserve": cyclic})


MANY = list(range(90_000))


@pytest.mark.parametrize(
    "rule",
    [
        {"map": [{"val": "many"}, {"map": [{"val": [[2], "many"]}, {"val": []}]}]},
        {"map": [{"val": "many"}, {"try": [{"try": [{"throw": "a"}, {"throw": "b"}]}, 1]}]},
        {"map": [{"val": "many"}, {"+": {"val": [[2], "many"]}}]},
        {"some": [{"val": "many"}, {"exists": {"val": [[2], "many"]}}]},
        {"try": [{"map": [{"val": "many"}, {"merge": {"val": [[2], "many"]}}]}, "caught"]},
    ],
)
def test_work_is_bounded_and_no_limit_is_caught(rule: Any) -> None:
    compiled = ENGINE.compile_rule(rule)
    for run in (compiled.evaluate, compiled.value, compiled.explain):
        with pytest.raises(RuleLimitExceeded):
            run({"many": MANY})


def test_operators_of_others_may_fail_and_be_caught() -> None:
    engine = ENGINE.with_operators(custom_operator("fail", lambda value: 1 / value))
    error = error_of({"or": [False, {"fail": 0}]}, None, engine)
    assert error.context["pointer"] == "/or/1"
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert value({"try": [{"fail": 0}, {"val": "type"}]}, None, engine) == "rule_evaluation"
    assert value({"fail": 2}, None, engine) == 0.5


def test_the_dialects_know_nothing_of_each_other() -> None:
    for name in ("val", "exists", "??", "try", "throw", "preserve"):
        with pytest.raises(UnknownOperationError):
            compile_rule({name: [1]})
    assert compile_rule({"==": [None, 0]}).evaluate({}) is False
    assert ENGINE.evaluate({"==": [None, 0]}, {}) is True
    with pytest.raises(ConfigurationError):
        Engine({"==": custom_operator("==", min)})
    both = engine_for("community", ["text"])
    assert both.evaluate({"starts_with": [{"val": "a"}, "b"]}, {"a": "bc"}) is True


def test_one_compiled_rule_serves_many_threads() -> None:
    rule = ENGINE.compile_rule(
        {"map": [{"val": "many"}, {"+": [{"val": []}, {"val": [[1], "index"]}, {"val": [[2], "x"]}]}]}
    )
    contexts = [{"many": list(range(200)), "x": number} for number in range(60)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(rule.value, contexts))
    assert results == [[2 * at + number for at in range(200)] for number in range(60)]


OPERATORS = ENGINE.operators
scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.sampled_from(["", "a", "1", "x"])
)
data_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abx"), inner, max_size=3)
)
readers = st.sampled_from(
    [{"val": "a"}, {"val": []}, {"val": ["a", "b"]}, {"var": "b"}, {"val": [[1], "index"]}, {"val": [[2], "a"]},
     {"exists": "a"}, {"preserve": [1, {"a": 1, "b": 2}]}, {"throw": "x"}, {"throw": {"val": "a"}}]
)  # fmt: skip


@st.composite
def operations(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    operator = OPERATORS[draw(st.sampled_from(sorted(set(OPERATORS) - {"preserve"})))]
    most = 4 if operator.maximum is None else operator.maximum
    operands = draw(st.lists(inner, min_size=operator.minimum, max_size=most))
    bare = len(operands) == 1 and not operator.listed and not isinstance(operands[0], list) and draw(st.booleans())
    return {operator.name: operands[0] if bare else operands}


rules = st.recursive(
    scalars.filter(lambda item: not isinstance(item, float) or item - item == 0) | readers | readers,
    lambda inner: operations(inner) | st.lists(inner, max_size=3),
    max_leaves=14,
)


@given(rule=rules, data=data_values)
def test_every_rule_gives_a_value_or_an_error_and_explain_agrees(rule: Any, data: Any) -> None:
    try:
        compiled = ENGINE.compile_rule(rule)
    except RuleSyntaxError:
        return
    try:
        matches = compiled.evaluate(data)
    except (RuleEvaluationError, RuleLimitExceeded) as error:
        failure = error
    else:
        tree = compiled.explain(data)
        assert tree["result"] is matches
        json.dumps(tree, allow_nan=False)
        assert same(value({"try": [rule, 0]}, data), compiled.value(data))
        return
    with pytest.raises(type(failure)) as caught:
        compiled.explain(data)
    assert caught.value.context == failure.context
    if isinstance(failure, RuleEvaluationError):
        assert value({"try": [rule, "caught"]}, data) == "caught"


def test_the_classic_operators_are_the_same_objects_where_the_dialects_agree() -> None:
    shared_names = {name for name in CLASSIC if OPERATORS[name] is CLASSIC[name]}
    assert shared_names == {"!", "!!", "var", "missing", "missing_some", "log", "in", "substr"}
