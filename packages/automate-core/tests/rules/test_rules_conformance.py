"""The suites of the community, against the answers of json-logic-js 2.0.5."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from automate_core.rules import Engine, compile_rule

DATA = Path(__file__).parent / "data"

JAVASCRIPT_DIFFERS: dict[str, dict[int, Any]] = {
    "arithmetic/divide.json": {
        3: 4, 6: 4, 8: 8, 10: None, 12: None, 14: None, 15: None, 16: None, 19: None, 20: None, 22: None,
    },
    "arithmetic/minus.json": {3: -1, 4: -1, 5: -1, 6: 1, 7: -1},
    "arithmetic/modulo.json": {10: 2},
    # 15 is a product of nothing: json-logic-js throws, we give null.
    "arithmetic/multiply.json": {
        6: None, 7: None, 9: None, 15: None, 18: "1", 19: "-1", 20: "0", 21: True, 22: False, 23: "", 24: None,
    },
    "arithmetic/plus.json": {6: None, 7: None, 20: None, 21: None, 22: None, 23: None},
    "array/reduce.json": {9: None},
    "chained.json": {4: "Hello ,World,!"},
    "comparison/greaterThan.json": {1: True},
    "comparison/greaterThanEquals.json": {1: True},
    "comparison/softEquals.json": {27: False},
    "comparison/softNotEquals.json": {26: True},
    "comparison/strictEquals.json": {1: True},
    "control/and.json": {21: None},
    "control/or.json": {5: None},
}  # fmt: skip
"""By file and position, what json-logic-js gives where the suites say otherwise; NaN and undefined are null."""


def same(first: Any, second: Any) -> bool:
    """Compare as JSON: booleans are no numbers, 1 is 1.0."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return type(first) is type(second) and bool(first == second)


def uses(rule: Any) -> set[str]:
    if isinstance(rule, list):
        return set().union(*map(uses, rule))
    return set(rule).union(*map(uses, rule.values())) if isinstance(rule, dict) else set()


def check(rule: Any, data: Any, expected: Any) -> None:
    compiled = compile_rule(rule)
    value = compiled.value(data)
    assert same(value, expected), f"{json.dumps(rule)} on {json.dumps(data)} gives {value!r}, not {expected!r}"
    explained = compiled.explain(data)
    assert explained["result"] is compiled.evaluate(data)
    json.dumps(explained, allow_nan=False)


def official() -> list[Any]:
    return [case for case in json.loads((DATA / "official/tests.json").read_text("utf-8")) if isinstance(case, list)]


def classic_cases() -> list[tuple[str, int, dict[str, Any]]]:
    classic = set(Engine().operators)
    return [
        (file.relative_to(DATA / "compat-tables").as_posix(), position, case)
        for file in sorted((DATA / "compat-tables").rglob("*.json"))
        for position, case in enumerate(json.loads(file.read_text("utf-8")))
        if isinstance(case, dict) and "result" in case and not case.get("decimal") and uses(case["rule"]) <= classic
    ]


def test_official_list() -> None:
    cases = official()
    assert len(cases) == 275
    for rule, data, expected in cases:
        check(rule, data, expected)


def test_all_value_cases_over_the_classic_operators_are_here() -> None:
    cases = classic_cases()
    assert len(cases) == 809
    assert sum(file == "compatible.json" for file, _, _ in cases) == 278
    assert sum(map(len, JAVASCRIPT_DIFFERS.values())) == 43
    positions = {(file, position) for file, position, _ in cases}
    assert {(file, at) for file, answers in JAVASCRIPT_DIFFERS.items() for at in answers} <= positions


@pytest.mark.parametrize("name", sorted({file for file, _, _ in classic_cases()}))
def test_compatibility_suite(name: str) -> None:
    answers = JAVASCRIPT_DIFFERS.get(name, {})
    for file, position, case in classic_cases():
        if file == name:
            check(case["rule"], case.get("data", {}), answers.get(position, case["result"]))


NAN = None
"""What JSON says of NaN and the infinities."""

FALSY: list[Any] = [[], "", 0, None]
TRUTHY: list[Any] = ["0", {}, [0]]


@pytest.mark.parametrize(
    ("rule", "data", "expected"),
    [
        *(({"!!": [value]}, {}, False) for value in FALSY),
        *(({"!!": [value]}, {}, True) for value in TRUTHY),
        ({"!!": [{"-": ["x"]}]}, {}, False),
        *(({"==": pair}, {}, True) for pair in (["1", 1], ["", 0], [True, "1"], [[1], 1], ["paid", ["paid"]])),
        ({"==": [None, 0]}, {}, False),
        ({">=": [None, 0]}, {}, True),
        ({">=": [{"var": "nothing"}, 0]}, {}, True),
        ({">": ["10", "9"]}, {}, False),
        ({">": ["10", 9]}, {}, True),
        ({">": ["abc", 1]}, {}, False),
        ({"<": ["abc", 1]}, {}, False),
        ({"<": [1, 2, 3]}, {}, True),
        ({"<": [1, 1, 3]}, {}, False),
        ({"<=": [1, 1, 3]}, {}, True),
        ({">": [3, 2, 3]}, {}, True),
        ({"-": [8, 2, 1]}, {}, 6),
        ({"/": [8, 2, 2]}, {}, 4),
        ({"-": ["5"]}, {}, -5),
        ({"+": ["3px"]}, {}, 3),
        ({"+": ["a"]}, {}, NAN),
        ({"+": [True]}, {}, NAN),
        ({"*": ["1"]}, {}, "1"),
        ({"*": []}, {}, None),
        ({"%": [-7, 3]}, {}, -1),
        ({"%": [7, -3]}, {}, 1),
        ({"max": [None, 1]}, {}, 1),
        ({"max": []}, {}, NAN),
        ({"!!": [{"max": []}]}, {}, True),
        ({"cat": [1, True, None, [1, 2]]}, {}, "1true1,2"),
        ({"in": [1, "123"]}, {}, True),
        ({"in": [1, ["1", 1]]}, {}, True),
        ({"in": ["1", [1]]}, {}, False),
        ({"in": [True, [1]]}, {}, False),
        ({"in": ["a", None]}, {}, False),
        ({"substr": ["jsonlogic", -5, -2]}, {}, "log"),
        ({"substr": [12345, 1, 2]}, {}, "23"),
        ({"missing": ["a", "b"]}, {"a": ""}, ["a", "b"]),
        ({"missing": ["a", "b"]}, {"a": 0}, ["b"]),
        ({"all": [[], True]}, {}, False),
        ({"none": [[], True]}, {}, True),
        ({"map": [None, 1]}, {}, []),
        ({"filter": [5, 1]}, {}, []),
        *(({name: []}, {}, None) for name in ("and", "or", "if")),
        ({"reduce": [[1, 2], {"var": "accumulator"}]}, {}, None),
        ({"reduce": [[], 1, {"+": [1, 2]}]}, {}, 3),
        # What other engines fall over, on ordinary data.
        ({">": [{"var": "a"}, 5]}, {"a": "1e1"}, True),
        ({"var": "a.7"}, {"a": [1]}, None),
        ({"var": "a.length"}, {"a": "text"}, None),
        ({"/": [1, 0]}, {}, NAN),
        ({"min": [None, 3]}, {}, 0),
        ({"!": []}, {}, True),
        ({"!!": []}, {}, False),
        ({"map": [{"var": "a"}, {"var": ""}]}, {"a": [0, "", False]}, [0, "", False]),
        ({"filter": [{"var": "a"}, {"==": [{"var": ""}, 0]}]}, {"a": [0, "", False, 1]}, [0, "", False]),
        ({"==": [{"var": "a"}, 1]}, {"a": "1.0"}, True),
        ({"==": [{"var": "a"}, "true"]}, {"a": True}, False),
        # Text as JavaScript writes numbers.
        ({"cat": [1e21, " ", 1e-7, " ", 0.1, " ", -0.0, " ", 100.0, " ", 123456789012345680000]}, {},
         "1e+21 1e-7 0.1 0 100 123456789012345680000"),
        ({"cat": [{"%": [1152921504606846977, 1e300]}]}, {}, "1152921504606847000"),
        # Identifiers of 64 bits stay distinct, what is computed does not.
        ({"===": [{"var": "a"}, 9007199254740993]}, {"a": 9007199254740992}, False),
        ({"===": [{"+": [9007199254740993, 0]}, 9007199254740992]}, {}, True),
    ],
)  # fmt: skip
def test_traps(rule: Any, data: Any, expected: Any) -> None:
    check(rule, data, expected)
    check({"if": [True, rule]}, data, expected)
