"""What lint finds: each finding with its place, and nothing where a rule is fine."""

from __future__ import annotations

from typing import Any

import pytest
from automate_core.errors import ConfigurationError, RuleSyntaxError, UnknownOperationError
from automate_core.rules import Engine, Severity, custom_operator, engine_for, lint
from automate_core.rules.lint import RuleSet, judge

ITEM = {
    "type": "object",
    "properties": {"sku": {"type": "string"}, "price": {"type": "number"}},
    "required": ["sku", "price"],
}
SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 9},
        "total": {"type": "number", "minimum": 0},
        "status": {"enum": ["paid", "new"]},
        "currency": {"const": "EUR"},
        "name": {"type": "string"},
        "gift": {"type": "boolean"},
        "at": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "promo": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
        "customer": {"$ref": "#/$defs/Customer"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["amount", "quantity", "status", "currency", "name", "gift", "at", "day", "items", "customer"],
    "$defs": {
        "Item": ITEM,
        "Customer": {"type": "object", "properties": {"country": {"type": "string"}}, "required": ["country"]},
    },
}


def var(path: str) -> dict[str, str]:
    return {"var": path}


NEVER = [("contradiction", "/and/1"), ("always-false", "")]


def found(rule: Any, schema: Any = SCHEMA, others: Any = None) -> list[tuple[str, str]]:
    return [(finding.code, finding.pointer) for finding in lint(rule, schema, others)]


@pytest.mark.parametrize(
    "rule",
    [
        {"and": [{"==": [var("status"), "paid"]}, {">=": [var("amount"), 100]}, {"!": var("gift")}]},
        {"in": [var("customer.country"), ["DE", "AT"]]},
        {"some": [var("items"), {"and": [{">": [var("price"), 10]}, {"==": [var("sku"), "A"]}]}]},
        {">": [{"reduce": [var("items"), {"+": [var("current.price"), var("accumulator")]}, 0]}, 100]},
        {"some": [{"map": [var("items"), var("sku")]}, {"==": [var(""), "A"]}]},
        {"all": [{"filter": [var("items"), {">": [var("price"), 1]}]}, {"==": [var("sku"), "A"]}]},
        {"==": [var("items.0.sku"), "A"]},
        {"==": [var("labels.anything"), "x"]},
        {">": [var("at"), "2026-01-01"]},
        {">": [var("at"), "2026-01-01T10:00:00Z"]},
        {"==": [var("day"), "2026-01-01"]},
        {"!": {"missing": ["promo"]}},
        {"==": [var("promo"), None]},
        {"and": [{"!=": [var("total"), None]}, {"<": [var("total"), 100]}]},
        {"<": [{"var": ["total", 100]}, 50]},
        {"<": [1, var("quantity"), 5]},
        {"if": [var("gift"), {">": [var("amount"), 10]}, {">": [var("amount"), 1000]}]},
        {"or": [{"==": [var("status"), "paid"]}, {">": [var("amount"), 100]}]},
        {"==": [{"or": [var("promo"), "none"]}, "none"]},
        {"==": [var("amount"), var("total")]},
        {"==": [{"substr": [var("name"), 0, 1]}, "A"]},
        {"==": [var("name.0"), "A"]},
    ],
)
def test_nothing_is_said_about_a_rule_that_is_fine(rule: Any) -> None:
    assert lint(rule, SCHEMA) == []


@pytest.mark.parametrize(
    ("rule", "pointer", "says"),
    [
        ({">": [var("amuont"), 5]}, "/>/0", "Did you mean 'amount'"),
        ({"==": [var("customer.contry"), "DE"]}, "/==/0", "'customer.contry': the schema of 'customer' declares no"),
        ({"==": [var("items.sku"), "A"]}, "/==/0", "go through it with 'some'"),
        ({">": [var("amount.value"), 1]}, "/>/0", "declares the type number, with nothing beneath"),
        ({"==": [{"var": ["zone", "x"]}, "y"]}, "/==/0", "no variable 'zone'"),
        ({"some": [var("items"), {">": [var("prize"), 5]}]}, "/some/1/>/0", "Did you mean 'price'"),
        ({"!!": {"map": [var("items"), var("name")]}}, "/!!/map/1", "no variable 'name'"),
        ({">": [{"reduce": [var("items"), var("current.prise"), 0]}, 5]}, "/>/0/reduce/1", "Did you mean 'price'"),
        ({"!": {"missing": ["amount", "nmae"]}}, "/!/missing/1", "Did you mean 'name'"),
        ({"!": {"missing_some": [1, ["promo", "cupon"]]}}, "/!/missing_some/1/1", "no variable 'cupon'"),
    ],
)
def test_a_variable_that_the_schema_does_not_declare(rule: Any, pointer: str, says: str) -> None:
    (finding,) = [finding for finding in lint(rule, SCHEMA) if finding.code == "unknown-variable"]
    assert (finding.pointer, finding.severity) == (pointer, Severity.ERROR)
    assert says in finding.message


def test_what_a_schema_leaves_open_is_not_unknown() -> None:
    rule = {"==": [var("extra"), 1]}
    assert found(rule, {"type": "object"}) == []
    assert found(rule, {"properties": {"a": True}, "additionalProperties": True}) == []
    assert found(rule, {"properties": {"a": True}, "patternProperties": {"^e": True}}) == []
    assert found(rule, {"allOf": [{"properties": {"a": True}}, {"properties": {"extra": True}}]}) == []
    assert found(rule, {"anyOf": [{"properties": {"a": True}}, {"properties": {"extra": True}}]}) == []
    assert found(rule, {"properties": {"a": True}}) == [("unknown-variable", "/==/0")]
    assert found(rule, {"properties": {"a": True}, "additionalProperties": False}) == [
        ("unknown-variable", "/==/0"),
    ]


@pytest.mark.parametrize(
    ("rule", "code", "severity", "pointer", "says"),
    [
        ({">": [var("name"), 5]}, "type-mismatch", "warning", "", "name is text, and 5 is a number"),
        ({"<": [5, var("name")]}, "type-mismatch", "warning", "", "name is text, and 5 is a number"),
        ({"==": [var("amount"), "5"]}, "type-mismatch", "warning", "", 'amount is a number, and "5" is text'),
        ({"===": [var("amount"), "5"]}, "type-mismatch", "error", "", "always false"),
        ({"!==": [var("amount"), "5"]}, "type-mismatch", "error", "", "always true"),
        ({"==": [var("amount"), "many"]}, "type-mismatch", "error", "", "always false"),
        ({"==": [var("gift"), "yes"]}, "type-mismatch", "error", "", "gift is true or false"),
        ({"in": ["x", var("amount")]}, "type-mismatch", "error", "", "'in' looks into text and lists alone"),
        ({"in": [var("amount"), ["1", "2"]]}, "type-mismatch", "error", "", "nothing of that kind"),
        ({"in": [var("amount"), 5]}, "type-mismatch", "error", "", "5 is a number"),
        ({"some": [var("name"), {"==": [var(""), "A"]}]}, "type-mismatch", "error", "/some/0", "never a list"),
        ({"==": [var("status"), "payed"]}, "impossible-value", "error", "", "Did you mean 'paid'?"),
        ({"!=": [var("status"), "payed"]}, "impossible-value", "error", "", "always true"),
        ({"==": [var("currency"), "USD"]}, "impossible-value", "error", "", 'currency is "EUR"'),
        ({"in": [var("status"), ["paid", "nwe"]]}, "impossible-value", "error", "/in/1/1", "Did you mean 'new'?"),
        ({"<": [var("quantity"), 1]}, "always-false", "error", "", "'quantity < 1' is always false"),
        ({">=": [var("quantity"), 1]}, "always-true", "warning", "", "'quantity >= 1' is always true"),
        ({"==": [var("quantity"), 2.5]}, "always-false", "error", "", "always false"),
        ({">=": [var("total"), 0]}, "always-true", "warning", "", "always true"),  # null >= 0
        ({"<": [5, var("quantity"), 3]}, "always-false", "error", "", "always false"),
        ({"==": [1, 2]}, "always-false", "error", "", "always false"),
        ({">": [var("at"), "yesterday"]}, "format-mismatch", "warning", "", "2026-01-31T12:00:00Z"),
        ({"==": [var("day"), "31.1.2026"]}, "format-mismatch", "warning", "", "'2026-01-31'"),
        ({"<": [var("total"), 100]}, "missing-counts", "warning", "", "may be missing or null, which counts as 0"),
    ],
)
def test_a_comparison(rule: Any, code: str, severity: str, pointer: str, says: str) -> None:
    (finding,) = lint(rule, SCHEMA)
    assert (finding.code, finding.severity, finding.pointer) == (code, severity, pointer)
    assert says in finding.message


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            {"and": [{">": [var("amount"), 100]}, {"<": [var("amount"), 50]}]},
            [("contradiction", "/and/1"), ("always-false", "")],
        ),
        (
            {"and": [{"==": [var("x"), "a"]}, {"==": [var("x"), "b"]}]},
            [("contradiction", "/and/1"), ("always-false", "")],
        ),
        ({"and": [{"==": [var("x"), "1"]}, {"==": [var("x"), "1.0"]}]}, []),  # the number 1 is both
        ({"and": [var("x"), {"!": var("x")}]}, NEVER),
        ({"and": [{"in": [var("x"), ["a", "b"]]}, {"==": [var("x"), "c"]}]}, NEVER),
        ({"and": [{">": [var("x"), 50]}, {">": [var("x"), 100]}]}, [("redundant-condition", "/and/0")]),
        ({"or": [{">": [var("x"), 50]}, {">": [var("x"), 100]}]}, [("redundant-condition", "/or/1")]),
        ({"and": [{"==": [var("x"), 1]}, {"==": [var("x"), 1]}]}, [("redundant-condition", "/and/1")]),
        ({"and": [{">": [var("a"), var("b")]}, {"<": [var("b"), var("a")]}]}, [("redundant-condition", "/and/1")]),
        ({"or": [{"==": [var("x"), 1]}, {"!=": [var("x"), 1]}]}, [("tautology", "/or/1"), ("always-true", "")]),
        ({"or": [{">": [var("x"), 5]}, {"<=": [var("x"), 5]}]}, []),  # neither holds for a text
        ({"and": [True, var("x")]}, [("always-true", "/and/0")]),
        ({"or": [var("x"), 1]}, [("always-true", "/or/1"), ("always-true", "")]),
        ({"and": [{"or": [{"==": [var("x"), 1]}, {"==": [var("x"), 2]}]}, {">": [var("x"), 3]}]}, NEVER),
        (True, [("always-true", "")]),
        ({"!!": []}, [("always-false", "")]),
        ({"if": [False, var("x"), var("y")]}, []),
        (
            {"some": [var("l"), {"and": [{">": [var("n"), 2]}, {"<": [var("n"), 1]}]}]},
            [("contradiction", "/some/1/and/1"), ("always-false", "")],
        ),
    ],
)
def test_conditions_together_without_any_schema(rule: Any, expected: list[tuple[str, str]]) -> None:
    assert found(rule, None) == expected


def test_a_tautology_that_the_schema_makes() -> None:
    rule = {"or": [{">": [var("quantity"), 5]}, {"<=": [var("quantity"), 5]}]}
    assert found(rule) == [("tautology", "/or/1"), ("always-true", "")]
    assert found(rule, None) == []


def test_rules_beside_each_other() -> None:
    rule = {"and": [{"==": [var("status"), "paid"]}, {">": [var("amount"), 100]}]}
    others = {
        "same": {"and": [{"<": [100, var("amount")]}, {"==": ["paid", var("status")]}]},
        "the same in other words": {"!": {"or": [{"!=": [var("status"), "paid"]}, {"!": {">": [var("amount"), 100]}}]}},
        "wider": {">": [var("amount"), 50]},
        "narrower": {"and": [{"==": [var("status"), "paid"]}, {">": [var("amount"), 100]}, var("gift")]},
        "apart": {"==": [var("name"), "x"]},
        "always": True,
    }
    findings = {name: [finding.code for finding in lint(rule, SCHEMA, {name: other})] for name, other in others.items()}
    assert findings == {
        "same": ["duplicate-rule"],
        "the same in other words": ["duplicate-rule"],
        "wider": ["implies-rule"],
        "narrower": ["implied-by-rule"],
        "apart": [],
        "always": [],
    }


def test_many_rules_are_not_compared_by_what_they_imply() -> None:
    rule = {">": [var("amount"), 100]}
    wider = {f"wider {number:02}": {">": [var("amount"), number]} for number in range(20)}
    assert found(rule, SCHEMA, wider) == [("implies-rule", "")] * 20
    more = {**wider, "same": {"<": [100, var("amount")]}}
    assert found(rule, SCHEMA, more) == [("duplicate-rule", "")]
    rules = RuleSet(more)
    assert [finding.code for finding in lint(rule, SCHEMA, rules.among({"same", "wider 00", "gone"}))] == [
        "duplicate-rule",
        "implies-rule",
    ]
    assert [finding.code for finding in lint(rule, SCHEMA, RuleSet(wider, implied=False))] == []


def test_errors_are_those_of_the_rule_and_of_the_schema() -> None:
    with pytest.raises(RuleSyntaxError):
        lint({"==": [1]})
    with pytest.raises(UnknownOperationError):
        lint({"equals": [1, 2]})
    with pytest.raises(ConfigurationError, match="propertees"):
        lint(True, {"propertees": {}})


def test_an_operator_of_ones_own_may_give_anything() -> None:
    engine = Engine().with_operators(custom_operator("weekday", lambda text: text))
    rule = {"==": [{"weekday": var("at")}, 3]}
    assert lint(rule, SCHEMA, engine=engine) == []
    assert [f.code for f in lint({"weekday": var("att")}, SCHEMA, engine=engine)] == ["unknown-variable"]


def test_a_finding_reads_well_and_is_json() -> None:
    (finding,) = lint({"==": [var("status"), "payed"]}, SCHEMA)
    message = '\'status == "payed"\' is always false: status is "paid" or "new". Did you mean \'paid\'?'
    assert str(finding) == f"/: {message} (impossible-value)"
    assert finding.as_dict() == {
        "code": "impossible-value",
        "severity": "error",
        "pointer": "",
        "message": message,
    }


@pytest.mark.parametrize("name", ["and", "or"])
def test_the_largest_rules_end(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = {name: [{">": [var(f"a{number % 90}"), number]} for number in range(2_000)]}
    deep: Any = var("x")
    for number in range(30):
        deep = {"and" if number % 2 else "or": [deep, {">": [var(f"v{number}"), 1]}]}
    for rule in (wide, deep):
        lint(rule, None, {"other": rule})
    monkeypatch.setattr(judge, "_MAX_WORK", 60)
    impossible = {"and": [{"==": [var("x"), 1]}, {"==": [var("x"), 2]}]}
    assert found(impossible, None) == [("contradiction", "/and/1"), ("always-false", "")]
    assert found({"and": [*({"==": [var(f"y{n}"), 1]} for n in range(99)), impossible]}, None) == []  # says less


@pytest.mark.parametrize(
    "rule",
    [
        {"and": [{"==": [var("amout"), 1]}, {"==": [var("amount"), "x"]}, {"==": [1, 2]}]},
        {"==": [{"preserve": {"a": 1, "b": [2]}}, {"preserve": {}}]},
        {"try": [{"throw": "late"}, {"==": [var("type"), "late"]}]},
    ],
)
def test_in_another_dialect_nothing_is_found(rule: Any) -> None:
    assert lint(rule, SCHEMA, {"same": rule}, engine=engine_for("community")) == []


def test_in_another_dialect_errors_stay_errors() -> None:
    with pytest.raises(UnknownOperationError):
        lint({"equals": []}, engine=engine_for("community"))


SECRETS = {
    "type": "object",
    "properties": {
        "password": {"enum": ["hunter2", "hunter3"]},
        "pin": {"type": "integer", "enum": [481516, 234200]},
        "token": {"type": "string"},
        "passwords": {"type": "array", "items": {"enum": ["hunter2", "hunter3"]}},
        "api_key": {"type": "string", "format": "date"},
        "amount": {"type": "number"},
    },
    "required": ["password", "token", "passwords", "api_key"],
}


@pytest.mark.parametrize(
    "rule",
    [
        {"==": [var("password"), "hunter4"]},
        {"in": [var("password"), ["hunter4", "hunter5"]]},
        {"in": [var("password"), ["hunter2", "hunter4"]]},
        {"==": ["hunter4", var("password")]},
        {"==": [{"var": ["password", "hunter5"]}, "hunter4"]},
        {"==": [var("pin"), 481517]},
        {">": [var("token"), 481517]},
        {"<": [var("pin"), 481517]},
        {"==": [var("token"), 481517]},
        {"in": [var("token"), 481517]},
        {"==": [var("token"), ["hunter4"]]},
        {"==": [var("api_key"), "hunter4"]},
        {"and": [{"==": [var("token"), "hunter2"]}, {"==": [var("token"), "hunter3"]}]},
        {
            "and": [
                {"===": [{"cat": [var("token"), "hunter"]}, "hunter2"]},
                {"===": [{"cat": [var("token"), "hunter"]}, "hunter2"]},
            ]
        },
        {"or": [{">": [var("pin"), 481517]}, {">": [var("pin"), 481518]}]},
        {"==": [{"or": ["hunter2", var("token")]}, "hunter4"]},
        {"some": [var("passwords"), {"==": [var(""), "hunter4"]}]},
        {
            "and": [
                {"some": [var("passwords"), {"==": [var(""), "hunter2"]}]},
                {"!": {"some": [var("passwords"), {"==": [var(""), "hunter2"]}]}},
            ]
        },
        {"some": [var("passwords"), {"and": [{"!=": [var(""), "hunter2"]}, {"==": [var(""), "hunter2"]}]}]},
    ],
)
def test_what_a_secret_is_compared_with_is_not_shown(rule: Any) -> None:
    findings = lint(rule, SECRETS) + lint(rule)
    text = " ".join(finding.message for finding in findings)
    assert "[REDACTED]" in text
    assert "hunter" not in text
    assert "4815" not in text
    assert "234200" not in text


TOKEN = "sk-" + "abcdefghijklmnop1234"


@pytest.mark.parametrize(
    "rule",
    [
        {"and": [{"==": [var("plan"), TOKEN]}, {"==": [var("plan"), "free"]}]},
        {"==": [var("plan"), TOKEN]},
        {"in": [var("plan"), [TOKEN, "free"]]},
        {"==": [var(TOKEN), 1]},
        {"and": [{"==": [var("note"), "x " * 30 + TOKEN]}, {"==": [var("note"), "y " * 35 + TOKEN]}]},
        {"and": [{"==": [var("card"), 4111111111111111]}, {"==": [var("card"), 1]}]},
    ],
)
def test_what_is_a_secret_by_its_form_is_not_shown(rule: Any) -> None:
    schema = {"type": "object", "properties": {"plan": {"enum": ["free", "gold"]}}, "additionalProperties": False}
    for findings in (lint(rule), lint(rule, schema)):
        text = " ".join(finding.message for finding in findings)
        assert "sk-" not in text
        assert "411111" not in text


def test_what_stands_beside_a_secret_is_shown() -> None:
    both = {"and": [{"==": [var("token"), "hunter2"]}, {"==": [var("token"), None]}]}
    rule = {"or": [{"and": [{">": [var("amount"), 5]}, {">": [var("amount"), 4]}]}, both]}
    text = " ".join(finding.message for finding in lint(rule))
    assert "'amount > 4' holds wherever 'amount > 5' holds" in text
    assert "'token == null' excludes 'token == [REDACTED]'" in text


def test_what_no_payload_may_hold_is_linted_as_well() -> None:
    """Any rule that can be compiled: with NUL and halves of characters, large numbers, and all its levels."""
    deep: Any = {"some": [{"var": "l"}, {"==": [{"var": "x"}, 2**2_000]}]}
    for _ in range(58):
        deep = {"if": [deep, 0, {"cat": [1]}]}
    texts = [{"==": [{"var": "a"}, text]} for text in ("\0", "\ud800")]
    for rule in (deep, *texts):
        both = {"and": [rule, {"some": [{"var": "l"}, rule]}]}
        assert lint(both, None, {"other": both})
