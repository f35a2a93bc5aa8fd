"""Compiled rules as objects, and engines with operators of their own."""

from __future__ import annotations

import datetime
import json
import logging
import marshal
import subprocess
import sys
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from automate_core.errors import ConfigurationError, RuleEvaluationError, UnknownOperationError
from automate_core.redaction import REDACTED
from automate_core.rules import Engine, Operator, compile_rule, custom_operator, evaluate, explain
from automate_core.rules.operators import CLASSIC


def test_a_compiled_rule_keeps_its_own_copy() -> None:
    spec: dict[str, Any] = {"in": [{"var": "a"}, [1, 2]]}
    rule = compile_rule(rule_spec=spec)
    spec["in"][1].append(3)
    rule.spec["in"][1].append(3)
    assert rule.spec == {"in": [{"var": "a"}, [1, 2]]}
    assert rule.evaluate(context={"a": 3}) is False
    value = compile_rule([[1], {}]).value({})
    value[0].append(2)
    assert compile_rule([[1], {}]).value({}) == [[1], {}]


def test_a_compiled_rule_never_changes() -> None:
    rule = compile_rule({"==": [{"var": "a"}, "secret constant"]})
    with pytest.raises(AttributeError):
        rule.evaluate = bool  # type: ignore[assignment] # the refusal is what is tested
    with pytest.raises(AttributeError):
        del rule.evaluate
    assert "secret" not in repr(rule)


def test_a_result_is_not_the_callers_data() -> None:
    context = {"a": {"b": [1]}}
    compile_rule({"var": "a"}).value(context)["b"].append(2)
    assert context == {"a": {"b": [1]}}


def test_one_compiled_rule_serves_many_threads() -> None:
    rule = compile_rule(
        {"==": [{"reduce": [{"var": "list"}, {"+": [{"var": "current"}, {"var": "accumulator"}]}, 0]}, {"var": "sum"}]}
    )
    contexts = [{"list": list(range(size)), "sum": sum(range(size))} for size in range(1, 200)] * 4
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(rule.evaluate, contexts))


class Order(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        raise AssertionError("a rule asks for what is there")

    def get(self, key: str, default: Any = None) -> Any:
        raise AssertionError("a rule calls no method of the data")


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (Decimal("10.5"), 10.5),
        ((1, 2), "1,2"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_python_values_read_as_their_json(value: Any, other: Any) -> None:
    assert evaluate({"==": [{"var": "a"}, other]}, Order(a=value)) is True
    assert evaluate({"==": [{"var": "b"}, other]}, Order(a=value)) is False
    assert evaluate({"==": [{"var": "o.a"}, other]}, {"o": Order(a=value)}) is True
    assert evaluate({"and": [{"==": [{"var": "a"}, other]}] * 4 + [{"var": "a"}]}, Order(a=value)) is True
    assert explain({"==": [{"var": "a"}, other]}, Order(a=value))["result"] is True


def test_log_passes_the_value_on_and_redacts_what_it_writes(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="automate.rules"):
        assert evaluate({"==": [{"log": {"var": "user.api_key"}}, "k1"]}, {"user": {"api_key": "k1"}}) is True
        assert evaluate({"log": {"var": "line"}}, {"line": "one\ntwo"}) is True
    first, second = caplog.records
    assert REDACTED in first.getMessage()
    assert "\n" not in second.getMessage()
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


def between(value: Any, low: Any, high: Any) -> bool:
    return bool(low <= value <= high)


def test_custom_operators_live_on_their_engine() -> None:
    engine = Engine().with_operators(custom_operator("between", between, minimum=3, maximum=3))
    rule = {"and": [True, {"between": [{"var": "a"}, 1, 5]}]}
    assert engine.evaluate(rule, {"a": 3}) is True
    tree = engine.explain(rule, {"a": 9})
    assert (tree["result"], tree["children"][1]["operator"]) == (False, "between")
    with pytest.raises(UnknownOperationError):
        evaluate(rule, {"a": 3})
    with pytest.raises(RuleEvaluationError, match="between") as caught:
        engine.evaluate(rule, {"a": "text"})
    assert caught.value.context["pointer"] == "/and/1"
    assert isinstance(caught.value.__cause__, TypeError)


def test_operators_keep_their_meaning() -> None:
    with pytest.raises(ConfigurationError):
        Engine().with_operators(custom_operator("var", between))
    with pytest.raises(ConfigurationError):
        Engine({"==": custom_operator("==", between)})
    with pytest.raises(ConfigurationError):
        Engine({"other": custom_operator("between", between)})
    with pytest.raises(TypeError):
        Engine().operators["x"] = custom_operator("x", between)  # type: ignore[index] # read-only on purpose


def test_an_engine_may_have_fewer_operators() -> None:
    engine = Engine({name: CLASSIC[name] for name in ("and", "==")})
    assert engine.evaluate({"and": [{"==": ["1", 1]}]}, {}) is True
    for rule in ({"var": "a"}, {"and": [{"var": "a"}, 1]}, {"==": [{"var": ["a"]}, 1]}):
        with pytest.raises(UnknownOperationError):
            engine.compile_rule(rule)
        with pytest.raises(UnknownOperationError):
            engine.explain(rule, {})


def test_the_import_is_light() -> None:
    code = "import sys, automate_core.rules; print(sorted({'django', 'pydantic', 'jinja2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def counting() -> tuple[Engine, list[Any]]:
    """Make an engine with an operator that tells how often it is compiled."""
    compiled: list[Any] = []

    def fix(given: list[Any]) -> Any:
        compiled.append(given)
        return lambda _budget, value: value

    return Engine().with_operators(Operator("same", 1, 1, fix=fix)), compiled


def test_a_rule_that_comes_again_is_not_compiled_again() -> None:
    engine, compiled = counting()
    rule = {"==": [{"same": {"var": "a"}}, 1]}
    for a in (1, 2, 1, 2):
        assert engine.evaluate(rule, {"a": a}) is (a == 1)
        assert engine.evaluate({"==": [{"same": {"var": "a"}}, 1]}, {"a": a}) is (a == 1)
        assert engine.explain(rule, {"a": a})["result"] is (a == 1)
    # Once for the first time, once for the second, once to be explained.
    assert len(compiled) == 3


def test_a_rule_that_was_changed_is_another_rule() -> None:
    rule: dict[str, Any] = {"in": [{"var": "a"}, [1]]}
    for _ in range(4):
        assert evaluate(rule, {"a": 1}) is True
        rule["in"][1][0] = 2
        assert evaluate(rule, {"a": 1}) is False
        assert explain(rule, {"a": 2})["result"] is True
        rule["in"][1][0] = 1


@pytest.mark.parametrize(
    "likes",
    [
        [{"===": [{"var": "a"}, like]} for like in (1, True, "1", [1])],
        [{"===": [{"var": "a"}, like]} for like in (0, False, "", None)],
        [{"cat": [like]} for like in (1, 1.5, "1", [1], [[1]], (1,), "1,1")],
        [{"var": like} for like in ("a", ["a"], ["a", 1], ["b", 1], [])],
    ],
)
def test_rules_that_are_alike_are_not_mixed_up(likes: list[Any]) -> None:
    for _ in range(3):
        for rule in likes:
            for a in (1, 0, "1", True):
                assert evaluate(rule, {"a": a}) is compile_rule(rule).evaluate({"a": a})


def test_what_cannot_be_known_again_is_compiled_each_time() -> None:
    class Mine(dict[str, Any]):
        pass

    engine, compiled = counting()
    rule = Mine(same=[1])
    for _ in range(3):
        assert engine.evaluate(rule, {}) is True
    rule["same"] = [0]
    assert engine.evaluate(rule, {}) is False
    assert len(compiled) == 4
    large = {"or": [{"same": 0}, {"in": [1, list(range(5_000))]}]}
    for _ in range(3):
        assert engine.evaluate(large, {}) is True
    assert len(compiled) == 7


def test_few_rules_are_kept() -> None:
    engine = Engine()
    for number in range(3_000):
        for _ in range(2):
            assert engine.evaluate({"==": [{"var": "a"}, number]}, {"a": number}) is True
    assert len(engine._kept) <= 128
    assert len(engine._seen) <= 1_024


def test_what_is_kept_is_what_the_key_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread changes the rule right after its key was made."""
    rule: dict[str, Any] = {"==": [{"var": "a"}, 1]}

    class Racing:
        loads = staticmethod(marshal.loads)

        @staticmethod
        def dumps(spec: Any) -> bytes:
            key = marshal.dumps(spec)
            rule["=="][1] = 2
            return key

    engine = Engine()
    engine.evaluate(rule, {"a": 1})
    rule["=="][1] = 1
    monkeypatch.setattr("automate_core.rules.engine.marshal", Racing)
    engine.evaluate(rule, {"a": 1})
    monkeypatch.undo()
    assert engine.evaluate({"==": [{"var": "a"}, 1]}, {"a": 1}) is True


def test_rules_that_change_in_other_threads_are_never_mixed_up() -> None:
    engine = Engine()
    rule: dict[str, Any] = {"==": [{"var": "a"}, 0]}

    def change(number: int) -> None:
        rule["=="][1] = number % 7
        engine.evaluate(rule, {"a": 0})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(5_000)))
    for number in range(7):
        for a in range(7):
            assert engine.evaluate({"==": [{"var": "a"}, number]}, {"a": a}) is (a == number)


@pytest.mark.parametrize(
    "raised", [ValueError("no"), RecursionError("deep"), MemoryError(), RuleEvaluationError("own")]
)
def test_a_failing_operator_is_named_with_its_place_wherever_it_stands(raised: Exception) -> None:
    def fail(_value: Any) -> Any:
        raise raised

    engine = Engine().with_operators(custom_operator("fail/", fail))
    for rule, pointer in (
        ({"fail/": 1}, ""),
        ({"!": {"fail/": 1}}, "/!"),
        ({"map": [[1], {"+": [1, {"fail/": [{"var": ""}]}]}]}, "/map/1/+/1"),
        ({"some": [[1], {"fail/": [1]}]}, "/some/1"),
        ({"fail/": [{"fail/": 1}]}, "/fail~1/0"),
    ):
        compiled = engine.compile_rule(rule)
        for run in (compiled.evaluate, compiled.value, compiled.explain):
            with pytest.raises(RuleEvaluationError) as caught:
                run({})
            assert caught.value.context == {"pointer": pointer}
            assert caught.value.__cause__ is not None


def test_a_rule_says_the_same_after_it_has_met_what_is_missing() -> None:
    """Closures trust that they read objects until one is none, and ask from then on: all ways give the same."""
    whole: dict[str, Any] = {"a": 5, "t": "x", "p": {"q": {"r": 5}}}
    rules: list[Any] = [{name: [{"var": "a"}, 4]} for name in (">", ">=", "<", "<=", "==", "!=", "===", "!==")]
    rules += [{name: [{"var": "t"}, "x"]} for name in ("==", "!=", "===", "!==")]
    rules += [{"and": rules[8:10]}, {"or": rules[9:11]}, {">": [{"var": "p.q.r"}, 4]}]
    events: list[Any] = [whole, {}, whole, {"p": {"q": None}}, None, [], {"a": None, "t": 1, "p": {"q": [1]}}, whole]
    for rule in rules:
        used = compile_rule(rule)
        assert [used.evaluate(event) for event in events] == [compile_rule(rule).evaluate(event) for event in events]


@pytest.mark.parametrize("depth", range(1, 13))
def test_a_path_of_any_length_leads_to_what_is_there(depth: int) -> None:
    parts = [f"p{number}" for number in range(depth)]
    strange: list[Any] = [{}, None, [5], "x", 0]

    def nested(value: Any, steps: int = depth) -> Any:
        for part in reversed(parts[:steps]):
            value = {part: value}
        return value

    for name, found, other in ((">=", 5, 4), ("==", 5, "x"), ("===", "x", 5)):
        rule = compile_rule({name: [{"var": ".".join(parts)}, found]})
        for _ in range(2):
            assert rule.evaluate(nested(found)) is True
            assert rule.evaluate(nested(other)) is False
            for steps in range(depth):
                for value in strange:
                    assert rule.evaluate(nested(value, steps)) is False
    assert evaluate({">=": [{"var": ".".join(["0"] * depth)}, 5]}, json.loads("[" * depth + "5" + "]" * depth)) is True


def test_reading_adds_nothing_to_the_data() -> None:
    data: Any = defaultdict(dict, p=defaultdict(dict))
    for path in ("a", "p.q", "p.q.r"):
        assert evaluate({">": [{"var": path}, 1]}, data) is False
    assert data == {"p": {}}
