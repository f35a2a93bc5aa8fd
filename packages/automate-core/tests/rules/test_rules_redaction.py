"""An explanation is redacted as it is made: the same as if the redactor went through the finished tree."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from automate_core import settings
from automate_core.errors import RuleError, RuleSyntaxError
from automate_core.redaction import REDACTED, forget, redact, redact_text, remember
from automate_core.rules import Engine, compile_rule, custom_operator, engine_for, explain
from automate_core.rules.engine import DEFAULT
from automate_core.rules.extensions import EXTENSIONS
from automate_core.rules.ledger import Ledger
from automate_core.rules.syntax import check
from hypothesis import given
from hypothesis import strategies as st

LIVE = (
    "hunter2-is-secret", "007123", "314159", 'quo"ted-secret', "café-secret", "line\nbreak", "a is 5, which",
)  # fmt: skip
CARD = "4111111111111111"

SUSPECTS: list[Any] = [
    *LIVE, 7123, 314159, 4111111111111111, -4111111111111111, "4111 1111 1111 1111", "sk-abcdefghijklmnop1234",
    "password=hunter2", "token: abcdefghij0123456789", "token:", "Bearer abcdef123456", "basic", "bearer",
    "https://user:p4ssword@example.com/", "ftp://example.com", "me@example.com", "<password>x</password>", "<password>",
    "eyJhbGciOi.eyJzdWIi.abc", "-----BEGIN PRIVATE KEY----- abc", "cookie: a=b; c=d", '"api_key": "x"', "$secret:KEY",
    f"{'x' * 495} {CARD}", f"{'x' * 483} {CARD}{'9' * 15}", "y" * 600,
    f"{'z' * 90} sk-abcdefghijklmnop1234", "password", "null", "[REDACTED]", 10**20, 2.5, "\ud800",
]  # fmt: skip
PATHS = [
    "", "a", "b", "a.b", "list", "list.0", "items", "items.0.a", "user.password", "password", "a.token", "name", 0,
    "sk-abcdefghijklmnop1234", "token: abcdefghij0123456789",
]  # fmt: skip
KEYS = ["a", "b", "0", "name", "value", "password", "token", "user", "hunter2-is-secret", "k" * 300]

plain = st.sampled_from([None, True, False, 0, 1, 5, 100, -1, 0.5, "", "a", "b", "active", "10", "x" * 100])
suspects = st.sampled_from(SUSPECTS)
values = st.recursive(
    plain | plain | suspects | st.floats(),
    lambda inner: st.lists(inner, max_size=25) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
contexts = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("a", "b", "name", "password", "user"), values)
    | {"list": st.lists(values, max_size=3), "items": st.lists(st.dictionaries(st.sampled_from(KEYS), values))},
)
variables = st.sampled_from(PATHS).flatmap(lambda path: st.sampled_from([{"var": path}, {"var": [path]}]))
constants = plain | plain | suspects.filter(lambda value: not isinstance(value, float) or math.isfinite(value))
COMPARISONS = ["==", "===", "!=", "!==", ">", ">=", "<", "<="]
leaves = st.builds(
    lambda name, pair, mirrored: {name: list(reversed(pair)) if mirrored else list(pair)},
    st.sampled_from(COMPARISONS),
    st.tuples(variables, constants),
    st.booleans(),
)


@st.composite
def operations(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    operator = DEFAULT.operators[draw(st.sampled_from(sorted(DEFAULT.operators)))]
    most = 3 if operator.maximum is None else operator.maximum
    operands = draw(st.lists(inner, min_size=operator.minimum, max_size=most))
    bare = len(operands) == 1 and not isinstance(operands[0], list) and draw(st.booleans())
    return {operator.name: operands[0] if bare else operands}


rules = st.recursive(
    constants | variables | leaves | leaves,
    lambda inner: operations(inner) | st.lists(inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture(autouse=True, scope="module")
def live_values() -> Iterator[None]:
    for value in LIVE:
        remember(value)
    yield
    for value in LIVE:
        forget(value)


def same(rule: Any, context: Any, engine: Engine = DEFAULT) -> Any:
    """Explain both ways, compare, and give the tree."""
    compiled = engine.compile_rule(rule)
    try:
        result = compiled.evaluate(context)
    except RuleError as error:
        with pytest.raises(type(error)):
            compiled.explain(context)
        return None
    tree = compiled.explain(context)
    prepared = engine._explainer.prepare(check(rule, engine.operators)[0])
    finished = prepared.explain_carefully(context)
    assert json.dumps(tree) == json.dumps(finished)
    assert json.dumps(tree) == json.dumps(engine.explain(rule, context)) == json.dumps(compiled.explain(context))
    assert tree["result"] is result
    return tree


PLACES: dict[str, Any] = {
    "a constant": lambda value: (value, {}),
    "compared with": lambda value: ({"==": [{"var": "a"}, value]}, {"a": 5}),
    "compared with, mirrored": lambda value: ({"<": [value, {"var": ["a"]}]}, {"a": 5}),
    "compared": lambda value: ({">=": [{"var": "a"}, 5]}, {"a": value}),
    "compared below a secret": lambda value: ({">=": [{"var": "password.a"}, 5]}, {"password": {"a": value}}),
    "a name": lambda value: ({"==": [{"var": value}, 5]}, {value: 5}),
    "a name of nothing": lambda value: ({"!": {"var": [value]}}, {}),
    "one of": lambda value: ({"in": [{"var": "a"}, ["b", value]]}, {"a": "b"}),
    "in a list": lambda value: ({"in": ["b", {"var": "a"}]}, {"a": ["b", value]}),
    "in a list of lists": lambda value: ({"var": "a"}, {"a": [["password", value]]}),
    "in an object": lambda value: ({"!!": {"var": "a"}}, {"a": {"b": [value], "password": value}}),
    "in a long list": lambda value: ({"var": ["a", 1]}, {"a": [1] * 30 + [value]}),
    "a default": lambda value: ({"var": ["a", value]}, {}),
    "not reached": lambda value: ({"or": [{"var": "a"}, {"==": [{"var": "b"}, value]}]}, {"a": 1}),
    "a part of a text": lambda value: ({"cat": ["is ", {"var": "a"}]}, {"a": value}),
    "a list that is made": lambda value: ({"merge": [{"var": "a"}, 1]}, {"a": value}),
    "missing": lambda value: ({"missing": ["a", value]}, {}),
    "an item": lambda value: ({"all": [{"var": "list"}, {"==": [{"var": ""}, 1]}]}, {"list": [1, value]}),
    "an item's field": lambda value: ({"some": [{"var": "list"}, {">": [{"var": "a"}, 1]}]}, {"list": [{"a": value}]}),
    "a secret item": lambda value: ({"none": [{"var": "tokens.session_token"}, {"==": [{"var": ""}, 1]}]},
                                    {"tokens": {"session_token": [value]}}),
    "kept": lambda value: ({"filter": [{"var": "list"}, True]}, {"list": [value, 1]}),
    "an answer": lambda value: ({"if": [{"var": "a"}, 1, value]}, {}),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_suspects_wherever_they_are(place: str) -> None:
    for value in SUSPECTS:
        same(*PLACES[place](value))


@given(rule=rules, context=contexts | values)
def test_redacted_as_made_is_redacted_when_finished(rule: Any, context: Any) -> None:
    same(rule, context)


EXTENDED = engine_for("community", EXTENSIONS)
READ = ({"val": "a"}, {"val": ["user", "password"]}, {"val": ["items", 0]}, {"val": "name"}, {"val": [[2], "b"]})


@given(
    first=st.sampled_from(READ),
    second=st.sampled_from(READ) | plain | suspects.filter(lambda value: not isinstance(value, float)),
    inside=st.booleans(),
    context=contexts,
)
def test_other_dialects_and_extensions_are_redacted_alike(first: Any, second: Any, inside: bool, context: Any) -> None:
    for rule in (
        {"==": [first, second]}, {"<": [1, first, second]}, {"cat": [first, second]}, {"??": [first, second]},
        {"try": [{"throw": first}, {"val": "type"}]}, {"try": [{"+": [first, second]}, second]}, {"exists": [second]},
        {"lower": [first]}, {"starts_with": [first, second]}, {"ends_with": [second, first]},
        {"between": [first, 0, second]}, {"length": first}, {"date": first}, {"date_diff": [first, second, "days"]},
        {"date_add": [first, "P1D"]}, {"matches": [first, "^[a-z]"]}, {"preserve": second},
    ):  # fmt: skip
        try:
            same({"some": [[1], rule]} if inside else rule, context, EXTENDED)
        except RuleSyntaxError:
            assert "date_diff" in rule


@given(rule=leaves, value=values)
def test_comparisons_are_redacted_as_they_are_made(rule: Any, value: Any) -> None:
    same(rule, {"a": value, "b": {"a": value}, "password": value, "list": [value], "user": {"password": value}})
    same({"some": [{"var": "list"}, rule]}, {"list": [value, {"a": value, "token": value}]})


FRAGMENTS = [
    "basic", "Bearer", "bearer ", " ", "\t", "\n", "abcd1234", "password", "token", ":", "=", "=>", '"', "'", "\\",
    "[", "]", "(", ",", "|", "<password>", "</", "<a", ">", "://", "https", "@", "me", "4111", " 1111", "1111-1111-",
    "11111111", "eyJhbGci", ".", "-----BEGIN PRIVATE KEY-----", "-----END", "cookie", "null", "hunter2-is", "-secret",
    "sk-", "abcdefghijklmnopqrst", "0", "x", "%20", "+", "[REDACTED]", "line", "break",
]  # fmt: skip


def assert_clean_alone(texts: list[str]) -> None:
    ledger = Ledger()
    ledger.texts += texts
    if ledger.is_clean():
        assert [redact_text(text) for text in texts] == texts


@pytest.mark.parametrize("first", FRAGMENTS)
def test_no_text_hides_the_next(first: str) -> None:
    for suspect in SUSPECTS:
        assert_clean_alone([first, str(suspect)])
        assert_clean_alone([str(suspect), first])


@given(texts=st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join), max_size=5))
def test_what_is_clean_together_is_clean_alone(texts: list[str]) -> None:
    assert_clean_alone(texts)


@given(numbers=st.lists(suspects.filter(lambda value: isinstance(value, int)) | st.integers(0, 10_000), max_size=5))
def test_numbers_are_looked_at_too(numbers: list[int]) -> None:
    ledger = Ledger()
    ledger.numbers += numbers
    assert ledger.is_clean() is ([redact(number) for number in numbers] == numbers)


def test_a_secret_that_is_remembered_later_is_hidden_in_what_is_prepared() -> None:
    rule = compile_rule({"and": [{"==": [{"var": "plan"}, "gold-plated"]}, {"in": [{"var": "plan"}, ["gold-plated"]]}]})
    context = {"plan": "gold-plated"}
    assert "gold-plated" in json.dumps(rule.explain(context))
    remember("gold-plated")
    try:
        assert "gold-plated" not in json.dumps(rule.explain(context))
    finally:
        forget("gold-plated")
    assert "gold-plated" in json.dumps(rule.explain(context))


@pytest.mark.parametrize("words", ["not reached", "conditions", "missing", "is missing, its default", "of 2 items"])
def test_a_secret_may_read_like_a_sentence(words: str) -> None:
    rule = {"or": [{"some": [{"var": "list"}, {">": [{"var": "a"}, 5]}]}, {"and": [{"var": ["b", 0]}, {"var": "c"}]}]}
    remember(words)
    try:
        assert REDACTED in json.dumps(same(rule, {"list": [{}, {"a": 1}]}))
    finally:
        forget(words)


@pytest.mark.parametrize("name", ["shoe", "reason", "value", "path"])
def test_names_of_secrets_that_are_added_later_are_hidden(name: str) -> None:
    rule: Any = {"and": [{">": [{"var": "shoe.size"}, 40]}, {"!": [{"var": "shoe"}]}]}
    compiled, context = compile_rule(rule), {"shoe": {"size": 44}}
    assert "44" in json.dumps(compiled.explain(context))
    settings.configure(settings.parse({"REDACT_KEYS": [name]}))
    try:
        tree = same(rule, context)
        assert tree == compiled.explain(context)
        assert REDACTED in json.dumps(tree)
    finally:
        settings.configure(None)
    assert "44" in json.dumps(compiled.explain(context))


def test_deep_rules_and_deep_lists() -> None:
    rule: Any = {">": [{"var": "a"}, 1]}
    for depth in range(60):
        if depth % 5 == 0:
            assert same(rule, {"a": [[[[[[depth]]]]]]}) is not None
        rule = {"and": [rule, {"!": {"var": "a"}}]}
    assert "omitted" in json.dumps(same(rule, {"a": 2}))
    nested: Any = {"==": [{"var": ""}, 1]}
    for _ in range(10):
        nested = {"some": [{"var": ""}, nested]}
    assert same(nested, [[[[[[[[[[1]]]]]]]]]]) is not None


def test_operators_of_others() -> None:
    engine = Engine().with_operators(
        custom_operator("password=hunter2", lambda value: value),
        custom_operator("a~/b", lambda value: value),
    )
    for rule in (
        {"password=hunter2": [{"var": "a"}]},
        {"or": [1, {"password=hunter2": 5}]},
        {"==": [{"a~/b": {"var": "a"}}, 5]},
    ):
        same(rule, {"a": 5}, engine)
    nested: Any = {"password=hunter2": {"var": ""}}
    items: Any = 1
    for _ in range(9):  # one more than is shown
        nested, items = {"some": [{"var": ""}, nested]}, [items]
    same(nested, items, engine)


def test_what_is_computed_from_secrets_stays_out() -> None:
    tree = explain({"==": [{"+": [{"var": "user.pin"}, 1]}, 1235]}, {"user": {"pin": 1234}})
    assert tree["result"] is True
    shown = json.dumps(tree)
    assert "1234" not in shown
    assert "1235" not in shown


def test_a_path_may_be_long() -> None:
    """Longer than what is looked up where it is computed."""
    rule, context = {"==": [{"var": "k" * 5_000}, 1]}, {"k" * 5_000: 1}
    assert same(rule, context)["result"] is True


def test_log_writes_while_a_rule_is_explained(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="automate.rules"):
        explain({"log": {"var": "a"}}, {"a": "seen"})
    assert "seen" in caplog.text
