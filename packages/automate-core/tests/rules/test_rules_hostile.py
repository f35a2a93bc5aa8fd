"""Rules and data made to break an engine: each ends in a rule error or in a value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from automate_core.errors import RuleError, RuleLimitExceeded, RuleSyntaxError, UnknownOperationError
from automate_core.rules import compile_rule, evaluate, explain
from automate_core.rules.limits import MAX_DEPTH, MAX_NODES, MAX_TEXT_BYTES, MAX_VISITS

ACCUMULATOR = {"var": "accumulator"}


def nested(depth: int, inner: Any, listed: bool = True) -> Any:
    for _ in range(depth):
        inner = {"!": [inner] if listed else inner}
    return inner


def maps(depth: int) -> Any:
    return {"map": [[0] * 100, maps(depth - 1)]} if depth else 1


def repeated(times: int, body: Any, start: Any) -> Any:
    return {"reduce": [list(range(times)), body, start]}


def kept(condition: Any, start: Any = ACCUMULATOR) -> Any:
    """Evaluate a condition over what never changes, once for each of many items."""
    return {"reduce": [{"var": "many"}, {"if": [condition, ACCUMULATOR, ACCUMULATOR]}, start]}


def cyclic_rule() -> Any:
    rule: dict[str, Any] = {"!": []}
    rule["!"].append(rule)
    return rule


def cyclic_list_rule() -> Any:
    items: list[Any] = [1]
    items.append(items)
    return {"in": [1, items]}


@pytest.mark.parametrize(
    ("rule", "error", "pointer"),
    [
        (nested(10_000, 1), RuleLimitExceeded, "/!/0" * MAX_DEPTH),
        (nested(10_000, 1, listed=False), RuleLimitExceeded, "/!" * MAX_DEPTH),
        (cyclic_rule(), RuleSyntaxError, "/!/0" * MAX_DEPTH),
        (cyclic_list_rule(), RuleSyntaxError, "/in/1" + "/1" * (MAX_DEPTH - 1)),
        (nested(5, {"nope": 1}), UnknownOperationError, "/!/0" * 5),
        ({"and": [True, {"method": [{"var": "x"}, "upper"]}]}, UnknownOperationError, "/and/1"),
        ({"or": [{"a/b~c": 1}]}, UnknownOperationError, "/or/0"),
        ({"/": [1, {"nope": 1}]}, UnknownOperationError, "/~1/1"),
        ({"a.b": 1}, UnknownOperationError, ""),
        ({"==": [1]}, RuleSyntaxError, ""),
        ({"!": {"in": "a"}}, RuleSyntaxError, "/!"),
        ({"if": [{"var": ["a", 1, 2]}]}, RuleSyntaxError, "/if/0"),
        ({"map": [[1]]}, RuleSyntaxError, ""),
        ({"and": [{"==": [1, 1], ">": [2, 1]}]}, RuleSyntaxError, "/and/0"),
        ({"in": [1, [{"a": 1, "b": 2}]]}, RuleSyntaxError, "/in/1/0"),
        ({1: [1]}, RuleSyntaxError, ""),
        ({None: [1]}, RuleSyntaxError, ""),
        ({"!": [{(1, 2): 1}]}, RuleSyntaxError, "/!/0"),
        ({"==": [1, float("nan")]}, RuleSyntaxError, "/==/1"),
        ({"==": [1, object()]}, RuleSyntaxError, "/==/1"),
        ({"and": [True] * MAX_NODES}, RuleLimitExceeded, ""),
        ({"==": [{"var": "a"}, "x" * (MAX_TEXT_BYTES + 1)]}, RuleLimitExceeded, "/==/1"),
        ({"==": [{"var": "a"}, "é" * (MAX_TEXT_BYTES // 2 + 1)]}, RuleLimitExceeded, "/==/1"),
        ({"==": [{"var": "a"}, 1 << 5_000]}, RuleLimitExceeded, "/==/1"),
    ],
)
def test_refused_when_compiled(rule: Any, error: type[RuleError], pointer: str) -> None:
    with pytest.raises(error) as caught:
        compile_rule(rule)
    assert caught.value.context["pointer"] == pointer


def test_the_limits_themselves_are_allowed() -> None:
    assert evaluate(nested(MAX_DEPTH, 1), {}) is True
    assert evaluate(nested(MAX_DEPTH, 1, listed=False), {}) is True
    assert evaluate({"and": [True] * (MAX_NODES - 1)}, {}) is True
    assert evaluate({"==": [{"var": "a"}, "x" * MAX_TEXT_BYTES]}, {"a": "x" * MAX_TEXT_BYTES}) is True
    assert evaluate({"some": [{"var": "a"}, {"var": ""}]}, {"a": [0] * (MAX_VISITS - 1) + [1]}) is True
    assert evaluate({"some": [{"var": "a"}, {"var": ""}]}, {"a": [1] + [0] * MAX_VISITS}) is True


def test_unknown_operator_names_what_is_near() -> None:
    with pytest.raises(UnknownOperationError, match=r"'missing_some'"):
        compile_rule({"missing_sum": [1, ["a"]]})


def doubled() -> list[Any]:
    """A list of a billion items: 30 lists, each of which holds another one twice."""
    items: list[Any] = [1]
    for _ in range(30):
        items = [items, items]
    return items


MANY = list(range(MAX_VISITS))
TEXT = "a" * 250_000


@pytest.mark.parametrize(
    ("rule", "data"),
    [
        (maps(4), {}),
        (repeated(30, {"cat": [ACCUMULATOR, ACCUMULATOR]}, "xx"), {}),
        (repeated(28, {"merge": [ACCUMULATOR, ACCUMULATOR]}, [1, 2]), {}),
        ({"cat": [repeated(64, [ACCUMULATOR, ACCUMULATOR], 1)]}, {}),
        ({">": [repeated(64, [ACCUMULATOR, ACCUMULATOR], 1), repeated(64, [ACCUMULATOR, ACCUMULATOR], 2)]}, {}),
        ({"none": [{"var": "many"}, {"<": [{"var": ""}, 0]}]}, {"many": [*MANY, 1]}),
        ({"map": [{"var": "many"}, [0] * 9_000]}, {"many": MANY}),
        ({"all": [{"var": "many"}, {"or": [{"==": [{"var": ""}, -1]}] * 1_500 + [True]}]}, {"many": MANY}),
        (kept({"in": ["z", ACCUMULATOR]}, {"var": "many"}), {"many": MANY}),
        (kept({"in": ["z", ACCUMULATOR]}, {"var": "text"}), {"many": MANY, "text": TEXT}),
        (kept({">": [ACCUMULATOR, 5]}, {"var": "text"}), {"many": MANY, "text": "1" * 60_000}),
        (kept({"+": [ACCUMULATOR, 5]}, {"var": "text"}), {"many": MANY, "text": " " * 60_000}),
        (kept({"substr": [ACCUMULATOR, 1]}, {"var": "text"}), {"many": MANY, "text": TEXT}),
        (kept({"missing": ACCUMULATOR}, {"var": "many"}), {"many": MANY}),
        (
            kept({"==": [{"var": "accumulator.a"}, {"var": "accumulator.b"}]}, {"var": ""}),
            {"many": MANY, "a": [None] * 250_000, "b": "," * 249_999},
        ),
        (
            kept({"==": [{"var": "accumulator.a"}, {"var": "accumulator.b"}]}, {"var": ""}),
            {"many": MANY, "a": TEXT, "b": "".join(TEXT)},
        ),
        (kept({"var": {"var": "accumulator.text"}}, {"var": ""}), {"many": MANY, "text": "accumulator." * 340}),
        (kept({"var": "accumulator.text" + ".0" * 1_000}, {"var": ""}), {"many": MANY, "text": TEXT}),
        *(
            ({name: [{"var": "a"}, {"var": "b"}]}, {"a": doubled(), "b": other})
            for name, other in (("<", doubled()), ("==", "1," * 1_000_000), ("in", "1," * 1_000_000))
        ),
        ({">=": [[{"var": "a"}], {"var": "a"}]}, {"a": doubled()}),
        ({"or": [{"in": ["z", {"var": "a"}]}] * 45}, {"a": [1] * 1_000_000}),
        ({"or": [{"<": [{"var": "a"}, {"var": "a"}]}] * 2}, {"a": [1] * 500_000}),
        (kept({">": [ACCUMULATOR, 5]}, {"var": "text"}), {"many": MANY, "text": "1" * 4_000}),
        (repeated(9_000, {"if": [{"-": [ACCUMULATOR, 1]}, [ACCUMULATOR], [ACCUMULATOR]]}, 1), {}),
    ],
)
def test_work_is_bounded(rule: Any, data: Any) -> None:
    """Each of these would run for minutes or fill the memory; their budget ends them."""
    compiled = compile_rule(rule)
    for run in (compiled.evaluate, compiled.value, compiled.explain):
        with pytest.raises(RuleLimitExceeded) as caught:
            run(data)
        assert isinstance(caught.value.context["pointer"], str)


def test_a_limit_error_names_the_operator_that_multiplies_work() -> None:
    with pytest.raises(RuleLimitExceeded) as caught:
        evaluate({"and": [True, maps(4)]}, {})
    assert caught.value.context["pointer"].startswith("/and/1/map/1")


def cyclic_data() -> dict[str, Any]:
    items: list[Any] = [1]
    items.append(items)
    data: dict[str, Any] = {"a": 1, "items": items}
    data["self"] = data
    return data


class Quarrelsome:
    """Cannot be compared, hashed, tested or written."""

    def _refuse(self, *_: object) -> Any:
        raise ValueError("leave me alone")

    __eq__ = __bool__ = __hash__ = __str__ = __repr__ = __len__ = __iter__ = _refuse


def deep_data() -> list[Any]:
    outer: list[Any] = []
    inner = outer
    for _ in range(100_000):
        inner.append([])
        inner = inner[0]
    return outer


@pytest.mark.parametrize(
    ("rule", "data", "matches"),
    [
        ({"==": [{"var": "items"}, "1,"]}, cyclic_data(), True),
        ({"cat": [{"var": "items"}]}, cyclic_data(), True),
        ({"-": [{"var": "items"}, 1]}, cyclic_data(), False),
        ({"var": "self.self.self.a"}, cyclic_data(), True),
        ({"var": ""}, cyclic_data(), True),
        ({"==": [{"var": "deep"}, "x"]}, {"deep": deep_data()}, False),
        ({"var": "deep"}, {"deep": deep_data()}, True),
        (repeated(64, {"*": [ACCUMULATOR, ACCUMULATOR]}, {"var": "x"}), {"x": 12_345}, False),
        ({"*": [{"var": "x"}, {"var": "x"}]}, {"x": "9" * 200_000}, False),
        ({"+": [{"var": "x"}, 1.5]}, {"x": 10**200_000}, False),
        ({"*": [{"var": "x"}, {"var": "x"}]}, {"x": 10**5_000}, False),
        ({">": [{"var": "x"}, 1.5]}, {"x": 10**200_000}, True),
        ({"cat": [{"var": "x"}]}, {"x": 10**200_000}, True),
        ({"cat": ["\ud800", {"var": "x"}]}, {"x": "\udfff"}, True),
        ({"<": [{"var": "x"}, {"var": "y"}]}, {"x": float("nan"), "y": float("inf")}, False),
        ({"max": [{"var": "x"}]}, {"x": float("inf")}, False),
        ({"%": [{"var": "x"}, {"var": "x"}]}, {"x": float("inf")}, False),
        ({"var": "x.__class__.__mro__"}, {"x": "text"}, False),
        ({"var": "x.upper"}, {"x": "text"}, False),
        ({"==": [{"var": "x"}, {"var": "y"}]}, {"x": object(), "y": object()}, False),
        ({"in": [{"var": "x"}, {"var": "y"}]}, {"x": Quarrelsome(), "y": [1]}, False),
        ({"in": [{"var": "x"}, {"var": "y"}]}, {"x": deep_data(), "y": [deep_data()]}, False),
        ({"in": [{"var": ""}, [{"var": ""}]]}, cyclic_data(), True),
        (
            {"in": [repeated(64, [ACCUMULATOR, ACCUMULATOR], 1), [repeated(64, [ACCUMULATOR, ACCUMULATOR], 1)]]},
            {},
            False,
        ),
    ],
)
def test_strange_data_gives_a_value(rule: Any, data: Any, matches: bool) -> None:
    assert evaluate(rule, data) is matches
    explained = explain(rule, data)
    assert explained["result"] is matches
    json.dumps(explained, allow_nan=False)


@pytest.mark.parametrize("value", [cyclic_data(), {"deep": deep_data()}])
def test_a_result_that_cannot_be_stored_is_refused(value: Any) -> None:
    with pytest.raises(RuleLimitExceeded):
        compile_rule({"var": ""}).value(value)
