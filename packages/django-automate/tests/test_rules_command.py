"""``automate rules``: explain, test and lint, as functions, as commands and as processes."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from automate import emit_event, event_type, linting, workflow
from automate.event_types import event_types
from automate.models import Decision, Event, Workflow
from automate.publish import publish
from automate_core.rules import CompiledRule, Engine
from automate_core.rules.lint.judge import Judge
from automate_core.workflow import parse
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

RULE = {"and": [{"==": [{"var": "status"}, "paid"]}, {">=": [{"var": "amount"}, 100]}]}
SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "status": {"enum": ["paid", "new"]}},
    "required": ["amount", "status"],
}
MISSING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def declarations(fresh_definitions: None) -> Iterator[None]:
    known = dict(event_types._declared)
    event_types.clear()
    yield
    event_types.clear()
    event_types._declared.update(known)


def rules(*arguments: str, status: int = 0) -> str:
    """Run ``automate rules`` in this process and return what it prints."""
    out = io.StringIO()
    if status:
        with pytest.raises(CommandError) as caught:
            call_command("automate", "rules", *arguments, stdout=out)
        assert caught.value.returncode == status
    else:
        call_command("automate", "rules", *arguments, stdout=out)
    return out.getvalue()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run it where it is an error, and return the message."""
    rules(*arguments, status=1)
    return capsys.readouterr().err


def definition(slug: str, event: str = "order.paid", rule: Any = RULE, condition: Any = None) -> dict[str, Any]:
    trigger = {"type": "event", "event": event, **({} if rule is None else {"rule": rule})}
    step = {"id": "a", "action": "test.a", **({} if condition is None else {"if": condition})}
    return {"slug": slug, "trigger": trigger, "steps": [step]}


@pytest.fixture
def live(db: None, actions: Any) -> Any:
    @actions("a")
    def a() -> None: ...

    return lambda *arguments, **named: publish(definition(*arguments, **named))[0]


# -- explain ----------------------------------------------------------------------------------------------------------


def test_explain_what_was_decided(live: Any, work: Any) -> None:
    live("big")
    live("every", rule=None)
    live("wild", "order.*")
    live("other", "order.new")
    event_id = emit_event("order.paid", {"status": "paid", "amount": 50})
    work()
    Workflow.objects.filter(slug="big").update(enabled=False)  # since then
    text = rules("explain", event_id)
    assert text.startswith(f"order.paid  {event_id}")
    assert "big v1 did not match (as it was decided)" in text
    assert "  ✗ / and: condition 2 of 2 does not hold: amount is 50, needs to be at least 100\n" in text
    assert "every v1 matched (as it was decided)\n  it has no rule: every event of the type matches" in text
    assert "wild v1 did not match" in text
    assert "other" not in text
    assert "\x1b" not in text  # this is no terminal
    found = json.loads(rules("explain", event_id, "--json"))
    assert (found["event"]["id"], found["event"]["type"]) == (event_id, "order.paid")
    assert [(one["workflow"], one["matched"], one["stored"]) for one in found["decisions"]] == [
        ("big", False, True),
        ("every", True, True),
        ("wild", False, True),
    ]
    assert found["decisions"][0]["explanation"] == Decision.objects.get(version__workflow__slug="big").explanation


def test_explain_asks_now_where_nothing_was_decided(live: Any) -> None:
    live("big")
    live("small", rule={"<": [{"var": "amount"}, 100]})
    event_id = emit_event("order.paid", {"status": "paid", "amount": 50})
    before = Decision.objects.count()
    with CaptureQueriesContext(
        connection,
    ) as captured:
        text = rules("explain", event_id)
    assert len(captured) == 3  # the event, its decisions, the workflows
    assert "big v1 did not match (asked now: no decision about this event is stored)" in text
    assert "small v1 matched (asked now" in text
    assert Decision.objects.count() == before
    alone = rules("explain", event_id, "--workflow", "small")
    assert "small v1 matched" in alone
    assert "big" not in alone


def test_explain_why_nothing_ran(live: Any, capsys: pytest.CaptureFixture[str]) -> None:
    event_id = emit_event("order.payd", {})
    assert "No live workflow listens to 'order.payd'. No workflow is live." in rules("explain", event_id)
    live("big")
    assert "listens to 'order.payd'. Did you mean 'order.paid'?" in rules("explain", event_id)
    text = rules("explain", event_id, "--workflow", "big")
    assert "it listens to 'order.paid', and this is 'order.payd'" in text
    Workflow.objects.update(enabled=False)
    assert "the workflow is disabled: 'automate workflows enable big' enables it" in rules(
        "explain", event_id, "--workflow", "big"
    )
    assert "There is no workflow 'bigg'. Did you mean 'big'?" in refused(
        capsys, "explain", event_id, "--workflow", "bigg"
    )
    for unknown in (MISSING, "nonsense"):
        message = refused(capsys, "explain", unknown)
        assert f"There is no event '{unknown}'. The newest are {event_id} (order.payd)" in message
    Event.objects.all()._raw_delete(Event.objects.db)
    assert "No event was emitted yet" in refused(capsys, "explain", MISSING)


def test_explain_a_rule_without_a_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rule.json").write_text(json.dumps(RULE))
    data = json.dumps({"status": "new\x9b31m", "amount": 5})
    text = rules("explain", "--rule", str(tmp_path / "rule.json"), "--data", data)
    assert text.splitlines()[1] == '  ✗ /and/0 ==: status is "new 31m", needs to be "paid"'
    assert json.loads(rules("explain", "--rule", json.dumps(RULE), "--data", data, "--json"))["result"] is False
    for arguments, says in (
        ((), "Give the id of an event"),
        (("--rule", "{}"), "belong together"),
        (("some-id", "--rule", "{}", "--data", "{}"), "not both"),
        (("--rule", "{}", "--data", "{}", "--workflow", "x"), "--workflow belongs"),
        (("--rule", "-", "--data", "-"), "standard input"),
        (("--rule", "{", "--data", "{}"), "--rule is not JSON"),
        (("--rule", "gone.json", "--data", "{}"), "gone.json cannot be read"),
        (("--rule", '{"equals": []}', "--data", "{}"), "equals"),
    ):
        assert says in refused(capsys, "explain", *arguments), arguments


# -- test -------------------------------------------------------------------------------------------------------------

GOOD = {
    "rule": RULE,
    "cases": [
        {"name": "a large order", "data": {"status": "paid", "amount": 100}, "expected": True},
        {"data": {"status": "paid", "amount": 99.99}, "expected": False},
        {"rule": {"var": "vip"}, "data": {"vip": True}, "expected": True},
    ],
}
BAD = {"cases": [{"name": "too small", "rule": RULE, "data": {"status": "paid", "amount": 50}, "expected": True}]}


def test_saved_cases(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "good.json").write_text(json.dumps(GOOD))
    assert rules("test", str(tmp_path)) == "3 passed, 0 failed\n"
    bad = tmp_path / "more" / "bad.json"
    bad.write_text(json.dumps(BAD))
    assert rules("test", str(tmp_path), status=1) == (
        f"FAILED {bad} #1 too small\n"
        "  should match, and does not\n"
        "    ✗ / and: condition 2 of 2 does not hold: amount is 50, needs to be at least 100\n"
        '      ✓ /and/0 ==: status is "paid", which is "paid"\n'
        "      ✗ /and/1 >=: amount is 50, needs to be at least 100\n"
        "\n"
        "3 passed, 1 failed\n"
    )
    rows = json.loads(rules("test", str(bad), str(tmp_path / "good.json"), "--json", status=1))
    assert [(row["case"], row["expected"], row["matched"], row["passed"]) for row in rows] == [
        (1, True, False, False),
        (1, True, True, True),
        (2, False, False, True),
        (3, True, True, True),
    ]
    assert rows[0]["explanation"]["result"] is False


def test_cases_of_workflows(live: Any, tmp_path: Path) -> None:
    with workflow("defined", on="order.paid", when={"==": [{"var": "status"}, "paid"]}) as defined:
        defined.step("a", "test.a")
    live("published")
    live("every", rule=None)
    cases = [
        {"workflow": "defined", "data": {"status": "paid"}, "expected": True},
        {"workflow": "published", "data": {"status": "paid", "amount": 5}, "expected": False},
        {"workflow": "every", "data": {}, "expected": True},
        {"workflow": "every", "data": {}, "expected": False},
        {"workflow": "publishd", "data": {}, "expected": False},
    ]
    path = tmp_path / "cases.json"
    path.write_text(json.dumps({"cases": cases}))
    text = rules("test", str(path), status=1)
    assert "3 passed, 2 failed" in text
    assert "workflow 'every' has no rule: every event of its type matches" in text
    assert "the rule cannot be asked: No workflow 'publishd' is defined or live. Did you mean 'published'?" in text


def test_files_that_hold_no_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cases.json"
    assert "holds no .json file" in refused(capsys, "test", str(tmp_path))
    assert "cannot be read" in refused(capsys, "test", str(path))
    for content, says in (
        ("[]", "must be object"),
        ("{", "is not JSON"),
        ('{"cases": []}', "/cases: must have 1 items at least"),
        ('{"cases": [{"data": {}, "expected": 1}]}', "/cases/0/expected: must be boolean"),
        ('{"cases": [{"data": {}, "expect": true}]}', "expect"),
        ('{"cases": [{"data": {}, "expected": true}]}', "/cases/0 needs a rule or a workflow"),
        ('{"rule": true, "workflow": "w", "cases": [{"data": {}, "expected": true}]}', "and not both"),
    ):
        path.write_text(content)
        assert says in refused(capsys, "test", str(path)), content
    path.write_text(json.dumps({"rule": {"equals": []}, "cases": [{"data": 1, "expected": False}]}))
    assert "the rule cannot be asked" in rules("test", str(path), status=1)


# -- lint -------------------------------------------------------------------------------------------------------------


def test_lint_the_live_workflows(live: Any, capsys: pytest.CaptureFixture[str]) -> None:
    live("big")
    assert rules("lint") == (
        "1 workflow: nothing found\nNot declared with event_type(), so little is known of: order.paid\n"
    )
    event_type("order.paid", SCHEMA)
    assert rules("lint") == "1 workflow: nothing found\n"
    live("twin", rule={"and": RULE["and"][::-1]})
    live("wide", rule={">": [{"var": "amount"}, 50]}, condition={"!": {"var": "event.payload.amuont"}})
    text = rules("lint", status=1)
    assert "big on order.paid\n  warning /trigger/rule: 'twin' has a rule that matches the same data" in text
    assert "  note    /trigger/rule: Whenever this rule matches, that of 'wide' does too." in text
    assert "  error   /steps/0/if/!: There is no variable 'event.payload.amuont'" in text
    assert "3 workflows: 1 error, 2 warnings, 4 notes\n" in text
    assert "'big'" not in rules("lint", "big")  # a warning alone is none of the exit status
    rules("lint", "big", "--strict", status=1)
    rows = json.loads(rules("lint", "wide", "--json", status=1))
    assert [(row["workflow"], row["event"], row["declared"]) for row in rows] == [("wide", "order.paid", True)]
    assert rows[0]["findings"][-1]["code"] == "unknown-variable"
    assert "No workflow 'bigg' is live. Did you mean 'big'?" in refused(capsys, "lint", "bigg")
    Workflow.objects.exclude(slug="wide").update(enabled=False)
    assert rules("lint", status=1).endswith("1 workflow: 1 error\n")


@pytest.mark.parametrize(
    ("first", "second", "is_told"), [("a", "b", False), ("a", "a", True), ("", "b", True), ("a", "", True)]
)
def test_workflows_of_different_tenants_are_not_compared(live: Any, first: str, second: str, is_told: bool) -> None:
    for slug, tenant in (("one", first), ("two", second)):
        publish(definition(slug), tenant=tenant)
        with workflow(slug, on="order.paid", when=RULE) as defined:
            defined.step("a", "test.a")
    codes = [finding["code"] for one in json.loads(rules("lint", "--json")) for finding in one["findings"]]
    assert codes == ["duplicate-rule", "duplicate-rule"] * is_told
    assert sync("--check")[1].count("(duplicate-rule)") == 2 * is_told


class CountingEngine(Engine):
    """Counts the rules that it compiles."""

    compiled = 0

    def compile_rule(self, rule_spec: Any) -> CompiledRule:
        self.compiled += 1
        return super().compile_rule(rule_spec)


def test_a_rule_among_many_is_read_as_often_as_one_among_few(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = CountingEngine()
    monkeypatch.setattr(linting, "current_engine", lambda: engine)
    many = [parse(definition(f"w{number}", rule={">": [{"var": "amount"}, number]})) for number in range(30)]
    assert [one.findings for one in linting.lint_definitions(many)] == [[]] * 30
    assert engine.compiled == 60  # each once by itself, and once for the others


def test_automate_sync_compares_no_rules_by_what_they_imply(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(Judge, "assume", lambda judge, rule, truth, known: asked.append(rule))
    for slug, limit in (("wide", 1), ("narrow", 2), ("twin", 2)):
        with workflow(slug, on="order.paid", when={">": [{"var": "amount"}, limit]}) as defined:
            defined.step("a", "test.a")
    assert sync()[1].count("(duplicate-rule)") == 2
    assert asked == []


def test_lint_a_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    given = ("lint", "--schema", str(tmp_path / "schema.json"), "--rule")
    assert rules(*given, json.dumps(RULE)) == "1 rule: nothing found\n"
    text = rules(*given, '{"==": [{"var": "status"}, "payed"]}', status=1)
    assert text.startswith("error   /: 'status == \"payed\"' is always false")
    assert text.endswith("1 rule: 1 error\n")
    warned = '{">": [{"var": "amount"}, "5"]}'
    assert rules(*given, warned).endswith("1 rule: 1 warning\n")
    assert rules(*given, warned, "--strict", status=1).endswith("1 rule: 1 warning\n")
    assert json.loads(rules(*given, warned, "--json"))[0]["code"] == "type-mismatch"
    assert "event_type()" in refused(capsys, "lint", "--schema", "{}")
    assert "not both" in refused(capsys, "lint", "big", "--rule", "{}")


def sync(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("automate_sync", *arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def test_automate_sync_warns_and_publishes_unless_it_is_strict(live: Any) -> None:
    event_type("order.paid", SCHEMA)
    with workflow("big", on="order.paid", when={"==": [{"var": "status"}, "payed"]}) as defined:
        defined.step("a", "test.a")
    with pytest.raises(CommandError, match=r"(?s)impossible-value.*Nothing was published"):
        sync("--strict")
    assert Workflow.objects.count() == 0
    out, err = sync("--json")
    assert json.loads(out) == [{"workflow": "big", "version": 1, "shadow": False, "changed": True}]
    assert err.startswith("big: /trigger/rule: 'status == \"payed\"' is always false")
    event_types.clear()
    assert sync("--strict") == ("big  v1  unchanged\n", "")


# -- processes --------------------------------------------------------------------------------------------------------

PROJECT = """
SECRET_KEY = "key"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "automate_outbox", "automate", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
"""
AUTOMATIONS = """
from automate import action, event_type, workflow
from pydantic import BaseModel

class Paid(BaseModel):
    amount: float

event_type("order.paid", Paid)

@action("shop.note")
def note() -> None: ...

with workflow("big", on="order.paid", when={">": [{"var": "amount"}, 100]}) as big:
    big.step("note", note)
"""
MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite_settings")
execute_from_command_line(sys.argv)
"""


@pytest.fixture
def call(tmp_path: Path) -> Any:
    """Run Python in the folder of the test; return its exit status and what it prints."""

    def run(*command: str, stdin: str = "", **environment: str) -> tuple[int, str]:
        inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env={**inherited, **environment},
            capture_output=True,
            text=True,
            input=stdin,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_commands_as_processes(tmp_path: Path, call: Any) -> None:
    console = ("-m", "automate_core", "rules")
    # Without any project:
    given = ("--rule", '{">": [{"var": "a"}, 1]}', "--data", "-")
    assert call(*console, "explain", *given, stdin='{"a": 2}') == (0, "✓ / >: a is 2, which is more than 1\n")
    assert call(*console, "lint", "--rule", '{"==": [1, 2]}')[0] == 1
    (tmp_path / "cases.json").write_text(json.dumps(GOOD))
    assert call(*console, "test", "cases.json") == (0, "3 passed, 0 failed\n")
    status, text = call(*console, "lint")
    assert (status, "Which project?" in text) == (1, True)
    # In a project, without a database:
    (tmp_path / "mysite_settings.py").write_text(PROJECT)
    (tmp_path / "manage.py").write_text(MANAGE)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "automations.py").write_text(AUTOMATIONS)
    (tmp_path / "cases.json").write_text(
        json.dumps({"workflow": "big", "cases": [{"data": {"amount": 101}, "expected": True}]})
    )
    assert call("manage.py", "automate", "rules", "test", "cases.json") == (0, "1 passed, 0 failed\n")
    assert "\norder.paid  Paid   shop.automations:" in call("-m", "automate_core", "events", "schemas")[1]
    status, text = call(*console, "lint")
    assert (status, "manage.py migrate" in text) == (1, True)
    # With one:
    assert call("manage.py", "migrate", "--verbosity", "0")[0] == 0
    assert call("manage.py", "automate_sync")[0] == 0
    assert call(*console, "lint", "--strict") == (0, "1 workflow: nothing found\n")
    code = "import django; django.setup(); from automate import emit_event; "
    code += "print(emit_event('order.paid', {'amount': 5}), end='')"
    status, event_id = call("-c", code, DJANGO_SETTINGS_MODULE="mysite_settings")
    assert status == 0, event_id
    status, text = call(*console, "explain", event_id)
    assert status == 0
    assert text.endswith("  ✗ / >: amount is 5, needs to be more than 100\n")


def test_a_rule_of_its_own_is_read_as_the_project_says_where_one_is_named(tmp_path: Path, call: Any) -> None:
    settings = 'DJANGO_AUTOMATE = {"RULES": {"extensions": ["text"]}, "REDACT_KEYS": ["iban"]}\n'
    (tmp_path / "mysite_settings.py").write_text(PROJECT.replace(', "shop"', "") + settings)
    rule, data = {"starts_with": [{"var": "iban"}, "DE"]}, {"iban": "DE1"}
    (tmp_path / "cases.json").write_text(json.dumps({"cases": [{"rule": rule, "data": data, "expected": True}]}))

    def all_three(*settings: str, **environment: str) -> list[tuple[int, str]]:
        given = ("--rule", json.dumps(rule))
        subcommands = [("explain", *given, "--data", json.dumps(data)), ("lint", *given), ("test", "cases.json")]
        console = ("-m", "automate_core", "rules", *settings)
        return [call(*console, *subcommand, **environment) for subcommand in subcommands]

    without = all_three()
    assert [status for status, _ in without] == [1, 1, 1], without
    read = all_three("--settings", "mysite_settings")
    assert [status for status, _ in read] == [0, 0, 0], read
    assert "DE1" not in read[0][1]  # redacted, as the project wants it
    assert all_three(DJANGO_SETTINGS_MODULE="mysite_settings") == read
    (tmp_path / "manage.py").write_text(MANAGE)
    assert all_three() == read
