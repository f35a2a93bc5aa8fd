"""Answers of json-logic-js to random rules, as ``nox -s differential -- --record`` kept them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from automate_core.rules import compile_rule

RECORDED = json.loads((Path(__file__).parent / "data" / "recorded.json").read_text("utf-8"))


def same(first: Any, second: Any) -> bool:
    """Compare as JSON, floats to the last bit: booleans are no numbers, 1 is 1.0."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first == second
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return type(first) is type(second) and bool(first == second)


def answer(rule: Any, data: Any) -> Any:
    """Give our value as it reads in JSON, after checking that all ways to it agree."""
    compiled = compile_rule(rule)
    value = json.loads(json.dumps(compiled.value(data), allow_nan=False))
    assert compiled.explain(data)["result"] is compiled.evaluate(data)
    assert compiled.evaluate(data) is (bool(value) or (isinstance(value, dict) and not value))
    return value


def test_recorded_answers() -> None:
    assert len(RECORDED["equal"]) > 1_000
    for rule, data, expected in RECORDED["equal"]:
        given = answer(rule, data)
        assert same(given, expected), f"{json.dumps(rule)} on {json.dumps(data)} gives {given!r}, not {expected!r}"


@pytest.mark.parametrize("reason", RECORDED["decisions"])
def test_recorded_decisions(reason: str) -> None:
    """Where we decided otherwise we still do, and the original's own answer is beside ours in the file."""
    assert RECORDED["decisions"][reason]
    for rule, data, original, ours in RECORDED["decisions"][reason]:
        assert same(answer(rule, data), ours), json.dumps([rule, data])
        truth = compile_rule(rule).evaluate(data)
        assert "error" in original or not same([original["value"], original["truth"]], [ours, truth])
