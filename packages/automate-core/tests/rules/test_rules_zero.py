"""Negative zero: what json-logic-js gives, told from 0 by what dividing by it gives."""

from __future__ import annotations

import math
from typing import Any

import pytest
from automate_core.rules import compile_rule, engine_for, evaluate, explain

X, SUM = {"var": "x"}, {"+": [{"var": "accumulator"}, {"var": "current"}]}


@pytest.mark.parametrize(
    ("rule", "negative"),
    [
        ({"+": [X]}, False),
        ({"+": [X, X]}, False),
        ({"+": ["-0"]}, False),
        ({"*": [X, 5]}, False),
        ({"*": [5, X]}, False),
        ({"*": [X, X]}, False),
        ({"*": [X]}, True),
        ({"*": ["-0", 1]}, True),
        ({"*": [[X], 1]}, False),
        ({"-": [X]}, False),
        ({"-": [0]}, True),
        ({"-": [None]}, True),
        ({"-": [X, 0]}, True),
        ({"-": [X, X]}, False),
        ({"-": ["-0", 0]}, True),
        ({"/": [X, 5]}, True),
        ({"/": [0, -5]}, True),
        ({"%": [-4, 2]}, True),
        ({"%": [X, 2]}, True),
        ({"min": [0, X]}, True),
        ({"min": [X, 0]}, True),
        ({"min": [0, "-0"]}, True),
        ({"min": [0, 1]}, False),
        ({"max": [X, 0]}, False),
        ({"max": [0, X]}, False),
        ({"max": ["-0", 0]}, False),
        ({"max": [X, -1]}, True),
        ({"reduce": [[X], SUM, X]}, False),
        ({"reduce": [[X, X], SUM, 0]}, False),
        ({"reduce": [[0.5, -0.5], SUM, X]}, False),
        ({"reduce": [[], SUM, X]}, True),
    ],
)
def test_the_sign_of_zero_is_that_of_the_original(rule: Any, negative: bool) -> None:
    data = {"x": -0.0}
    value = compile_rule(rule).value(data)
    assert value == 0
    assert (math.copysign(1, value) < 0) is negative
    below = {"<": [{"/": [1, rule]}, 0]}
    assert evaluate(below, data) is negative
    assert explain(below, data)["result"] is negative


def test_both_dialects_order_zeros_alike() -> None:
    community = engine_for("community")
    for name, negative in (("min", True), ("max", False)):
        for given in ([0, X], [X, 0]):
            value = community.compile_rule({name: given}).value({"x": -0.0})
            assert (math.copysign(1, value) < 0) is negative


@pytest.mark.parametrize(
    "rule", [{"*": [X, 5]}, {"*": [X, 0, 5]}, {"%": [X, 2]}, {"%": [4, 2]}, {"/": [X, 3]}, {"-": [X, 0]}, {"+": [X, 0]}]
)
def test_whole_numbers_give_a_whole_zero_however_they_are_computed_with(rule: Any) -> None:
    for written in (
        rule,
        {"if": [True, rule]},
        {name: [{"if": [True, X]}, *given[1:]] for name, given in rule.items()},
    ):
        assert repr(compile_rule(written).value({"x": 0})) == "0"
    mapped = {"map": [{"var": "list"}, {name: [{"var": ""}, *given[1:]] for name, given in rule.items()}]}
    assert repr(compile_rule(mapped).value({"list": [0]})) == "[0]"
