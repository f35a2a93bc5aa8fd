"""What an explanation says, and what it keeps to itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from automate_core.redaction import REDACTED
from automate_core.rules import explain, format_explanation
from automate_core.rules.pruning import prune

RULE = {
    "and": [
        {"==": [{"var": "status"}, "active"]},
        {"or": [{">=": [{"var": "amount"}, 100]}, {"in": [{"var": "country"}, ["DE", "AT"]]}]},
        {"!": [{"var": "blocked"}]},
    ]
}


def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(inner for child in node["children"] for inner in walk(child))]


def follow(rule: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        rule = rule[int(name)] if isinstance(rule, list) else rule[name]
    return rule


def test_the_tree() -> None:
    tree = explain(rule_spec=RULE, context={"status": "active", "amount": 50, "country": "FR"})
    assert tree["result"] is False
    assert tree["operator"] == "and"
    status, either, blocked = tree["children"]
    assert status["result"] is True
    assert status["reason"] == 'status is "active", which is "active"'
    amount, country = either["children"]
    assert amount == {
        "operator": ">=",
        "path": "/and/1/or/0",
        "value": False,
        "result": False,
        "skipped": False,
        "reason": "amount is 50, needs to be at least 100",
        "children": [
            {
                "operator": "var",
                "path": "/and/1/or/0/>=/0",
                "value": 50,
                "result": True,
                "skipped": False,
                "reason": "amount is 50",
                "children": [amount["children"][0]["children"][0]],
            },
            {
                "operator": "constant",
                "path": "/and/1/or/0/>=/1",
                "value": 100,
                "result": True,
                "skipped": False,
                "reason": "the constant 100",
                "children": [],
            },
        ],
    }
    assert country["reason"] == 'country is "FR", needs to be one of ["DE", "AT"]'
    assert (blocked["skipped"], blocked["result"], blocked["value"]) == (True, None, None)
    assert tree["reason"] == "condition 2 of 3 does not hold: none of 2 conditions holds"


def test_every_path_leads_to_its_node() -> None:
    rule = {"if": [{"/": [{"var": ["a", 1]}, 2]}, {"all": [{"var": "list"}, {"!": {"var": "x"}}]}, [1, {"var": "b"}]]}
    for context in ({}, {"a": 0}, {"list": [{"x": 1}]}, {"list": [{"x": 0}]}):
        for node in walk(explain(rule, context)):
            found = follow(rule, node["path"])
            if node["operator"] == "constant":
                assert not isinstance(found, dict)
            elif node["operator"] == "list":
                assert isinstance(found, list)
            else:
                assert list(found) == [node["operator"]]


@pytest.mark.parametrize(
    ("rule", "context", "reason"),
    [
        ({">=": [{"var": "amount"}, 100]}, {"amount": 150}, "amount is 150, which is at least 100"),
        ({">=": [{"var": "amount"}, 100]}, {}, "amount is missing, needs to be at least 100"),
        ({"<=": [100, {"var": "amount"}]}, {"amount": 50}, "amount is 50, needs to be at least 100"),
        (
            {"<": [1, {"var": "a"}, 10]},
            {"a": 10},
            "a is 10, needs to be more than 1 and less than 10",
        ),
        ({"<": [{"var": "a"}, {"var": "b"}]}, {"a": 3, "b": 2}, "a is 3, needs to be less than 2 (b)"),
        ({"!=": [{"var": "a"}, "x"]}, {"a": "x"}, 'a is "x", needs to be anything but "x"'),
        ({"in": ["vip", {"var": "tags"}]}, {"tags": ["new"]}, 'tags is ["new"], needs to contain "vip"'),
        ({"in": [{"var": "a"}, "text"]}, {"a": "ex"}, 'a is "ex", which is part of "text"'),
        ({">": [{"+": [{"var": "a"}, 1]}, 5]}, {"a": 1}, "+ gives 2, needs to be more than 5"),
        ({"==": [{"var": ["a", 7]}, 8]}, {}, "a is missing, its default is 7, needs to be 8"),
        ({"!": [{"var": "a"}]}, {"a": 1}, "must not hold, but does: a is 1"),
        ({"!": [{"var": "a"}]}, {}, "does not hold, as it must not: a is missing"),
        ({"missing": ["a", "b"]}, {"a": 1}, 'missing are ["b"]'),
        (
            {"all": [{"var": "items"}, {">": [{"var": "price"}, 5]}]},
            {"items": [{"price": 9}, {"price": 2}]},
            "item 1 of 2 items does not hold: price is 2, needs to be more than 5",
        ),
        ({"some": [{"var": "items"}, {">": [{"var": ""}, 5]}]}, {"items": [1, 2]}, "none of 2 items holds"),
        ({"none": [{"var": "items"}, 1]}, {}, "the list has no items"),
        ({"filter": [{"var": "items"}, {">": [{"var": ""}, 1]}]}, {"items": [1, 2]}, "keeps 1 of 2 items"),
        (
            {"if": [{"var": "a"}, {"var": "b"}, {"var": "c"}]},
            {"a": 1, "b": 2},
            "condition 1 holds (a is 1): b is 2",
        ),
        (True, {}, "the constant true"),
    ],
)
def test_sentences(rule: Any, context: Any, reason: str) -> None:
    assert explain(rule, context)["reason"] == reason


def test_the_deciding_item_is_shown() -> None:
    rule = {"all": [{"var": "items"}, {">": [{"var": "price"}, 5]}]}
    body = explain(rule, {"items": [{"price": 9}, {"price": 2}]})["children"][1]
    assert (body["item"], body["path"], body["result"]) == (1, "/all/1", False)


SECRET = "hunter2-is-secret"


@pytest.mark.parametrize(
    "rule",
    [
        {"==": [{"var": "user.password"}, SECRET]},
        {"!=": [SECRET, {"var": "user.password"}]},
        {"in": [{"var": "user.password"}, ["other", SECRET]]},
        {"==": [{"cat": ["", {"var": "user.password"}]}, SECRET]},
        {"==": [{"var": "user.password"}, {"var": "typed"}]},
        {"if": [True, {"var": "user.password"}, 0]},
        {"or": [{"var": "nothing"}, {"var": "user.password"}]},
        {"var": ["nothing", {"var": "user.password"}]},
        {"var": "user"},
        {"map": [{"var": "user.passwords"}, {"var": ""}]},
        {"some": [{"var": "user.passwords"}, {"==": [{"var": ""}, SECRET]}]},
        {"map": [{"var": "users"}, {"var": "password"}]},
        {"map": [{"var": "many"}, {"var": "password"}]},
        {"reduce": [{"var": "many"}, {"var": "current.password"}, ""]},
        {"map": [{"var": "many"}, {"var": {"cat": ["pass", "word"]}}]},
        {"filter": [{"var": "users"}, {"var": "password"}]},
        {"reduce": [{"var": "users"}, {"cat": [{"var": "accumulator"}, {"var": "current.password"}]}, ""]},
        {"substr": [{"var": "user.password"}, 0, 17]},
        {"merge": [{"var": "user.password"}, 1]},
        {"log": {"var": "user.password"}},
        {"missing": [{"var": "user.password"}]},
        {"var": {"var": "user.password"}},
        [{"var": "user.password"}],
    ],
)
def test_secrets_stay_out(rule: Any, caplog: pytest.LogCaptureFixture) -> None:
    context = {
        "user": {"password": SECRET, "passwords": [SECRET]},
        "users": [{"password": SECRET}],
        "many": [{}] * 50 + [{"password": SECRET}],
        "typed": SECRET,
    }
    with caplog.at_level("DEBUG", logger="automate.rules"):
        tree = explain(rule, context)
    shown = json.dumps(tree) + format_explanation(tree)
    assert SECRET not in shown + caplog.text
    assert REDACTED in shown


def test_long_values_are_cut() -> None:
    tree = explain({"==": [{"var": "a"}, {"var": "b"}]}, {"a": "x" * 10_000, "b": list(range(10_000))})
    assert len(json.dumps(tree)) < 5_000


def test_formatting() -> None:
    tree = explain(RULE, {"status": "active", "amount": 50, "country": "FR"})
    assert format_explanation(tree).splitlines() == [
        "✗ / and: condition 2 of 3 does not hold: none of 2 conditions holds",
        '  ✓ /and/0 ==: status is "active", which is "active"',
        "  ✗ /and/1 or: none of 2 conditions holds",
        "    ✗ /and/1/or/0 >=: amount is 50, needs to be at least 100",
        '    ✗ /and/1/or/1 in: country is "FR", needs to be one of ["DE", "AT"]',
        "  · /and/2 !: not reached",
    ]


def levels_of(value: Any) -> int:
    if not isinstance(value, dict | list) or not value:
        return 1
    return 1 + max(levels_of(item) for item in (value.values() if isinstance(value, dict) else value))


def test_a_tree_is_cut_by_whole_nodes() -> None:
    rule: Any = {"and": [{"==": [{"var": "a"}, 1]}, {"!!": {"var": "b"}}]}
    data = {"a": 1, "b": [[[[[[1]]]]]]}
    whole = explain(rule, data)
    for levels in range(2, 20):
        tree = prune(explain(rule, data), levels)
        assert levels_of(tree) <= levels
        assert (tree == whole) is (levels_of(whole) <= levels)
        shown = walk(tree)
        assert len(shown) + sum(node.get("omitted", 0) for node in shown) == len(walk(whole))
    assert prune(explain(rule, data), 3)["omitted"] == 7
    *_, last = format_explanation(prune(explain(rule, data), 3)).splitlines()
    assert last == "  … 7 deeper parts left out"


def test_a_deep_rule_with_a_secret_has_a_tree_of_nodes() -> None:
    rule: Any = {"==": [{"var": "password"}, 1]}
    for _ in range(61):
        rule = {"!": rule}
    tree = explain(rule, {"password": "hunter2"})
    shown = walk(tree)
    assert levels_of(tree) <= 100
    assert len(shown) + shown[-1]["omitted"] == 61 + 4
    assert "hunter2" not in format_explanation(tree)
