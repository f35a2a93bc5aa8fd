"""Conditions are asked in the order of the rule, however many there are; nothing tells how they were compiled."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from automate_core.errors import RuleEvaluationError, RuleLimitExceeded
from automate_core.rules import Engine, Operator, compile_rule, evaluate
from automate_core.rules.limits import MAX_VISITS


def boom(_budget: Any, _value: Any) -> Any:
    raise ValueError("boom")


ENGINE = Engine().with_operators(Operator("boom", 1, 1, function=boom, boolean=True))
TOO_MANY = {"some": [{"var": "many"}, {"<": [{"var": ""}, 0]}]}
MANY = list(range(MAX_VISITS + 1))


def compared(number: int) -> list[Any]:
    return [{"==": [{"var": f"k{at}"}, "x"]} if at % 3 == 0 else {">": [{"var": f"k{at}"}, at]} for at in range(number)]


@pytest.mark.parametrize("name", ["and", "or"])
@pytest.mark.parametrize("others", range(1, 7))
@pytest.mark.parametrize("tested", [False, True])
def test_what_comes_first_is_asked_first(name: str, others: int, tested: bool) -> None:
    """Whether a rule ends in an error does not depend on the number of its conditions."""
    decided: dict[str, Any] = {} if name == "and" else {"k0": "x"}
    for first, data, error, pointer in (
        (TOO_MANY, {"many": MANY, **decided}, RuleLimitExceeded, f"/{name}/0"),
        ({"boom": 1}, decided, RuleEvaluationError, f"/{name}/0"),
    ):
        rule: Any = {name: [first, *compared(others)]}
        rule, pointer = ({"!": [rule]}, f"/!/0{pointer}") if tested else (rule, pointer)
        for run in (ENGINE.compile_rule(rule).evaluate, ENGINE.compile_rule(rule).explain):
            with pytest.raises(error) as caught:
                run(data)
            assert caught.value.context["pointer"] == pointer
        last = {name: [*compared(others), first]}
        assert ENGINE.compile_rule(last).evaluate(data) is (name == "or")
        assert ENGINE.compile_rule(last).explain(data)["result"] is (name == "or")


def test_many_conditions_say_what_each_says() -> None:
    """A long junction gives what the same conditions give one by one, whatever stands between them."""
    draw = random.Random(11)
    values: list[Any] = [None, True, 0, 1, 2.5, "", "x", "1", " 2 ", "12345678901234567", [], [1], ["x"], {}]
    for _ in range(2_000):
        conditions: list[Any] = [
            {
                draw.choice(["==", "===", "!=", ">", ">=", "<", "<="]): [
                    {"var": draw.choice(["a", "b", "c", "d.e"])},
                    draw.choice([1, 2.5, "x", "1", None, True]),
                ]
            }
            for _ in range(draw.randint(2, 9))
        ]
        if draw.random() < 0.5:
            conditions[draw.randrange(len(conditions))] = {"!!": {"var": "b"}}
        data: Any = {key: draw.choice(values) for key in "abc" if draw.random() < 0.9} | {"d": {"e": 1}}
        data = list(data.values()) if draw.random() < 0.05 else data
        one_by_one = [evaluate(condition, data) for condition in conditions]
        shown = json.dumps([conditions, data])
        assert compile_rule({"and": conditions}).evaluate(data) is all(one_by_one), shown
        assert compile_rule({"or": conditions}).evaluate(data) is any(one_by_one), shown
