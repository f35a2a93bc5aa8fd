"""Backtests say what would be decided about recorded events, what was, and what differs; and they write nothing."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import gc
import io
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from automate.artifacts import storage
from automate.artifacts.files import file_name
from automate.backtest import BacktestReport, Change, backtest, replay, shadow_report
from automate.errors import ConfigurationError, InvalidDefinitionError, WorkflowNotFound
from automate.events import emit_event
from automate.models import Decision, Event, Workflow, WorkflowVersion
from automate.publish import drop_shadow, promote, publish
from automate_core.cli import main
from automate_core.workflow import parse
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from history import ago, event_at, id_at

pytestmark = pytest.mark.usefixtures("db")

ALWAYS = {"==": [1, 1]}
LOG = {"id": "note", "action": "flow.log", "params": {"message": "x"}}


def refunds(rule: Any, event: str = "order.paid", **more: Any) -> dict[str, Any]:
    return {"slug": "refunds", "trigger": {"type": "event", "event": event, "rule": rule}, "steps": [LOG], **more}


def at_least(amount: int) -> dict[str, Any]:
    return {">=": [{"var": "amount"}, amount]}


def emit(*amounts: Any, type: str = "order.paid", **more: Any) -> list[str]:
    return [emit_event(type, {"amount": amount}, **more) for amount in amounts]


def ids(change: Change) -> list[str]:
    return [example.event_id for example in change.examples]


def numbers(report: BacktestReport) -> dict[str, tuple[int, int, int, int]]:
    """Matched, unmatched, errors and unrecorded of each side."""
    sides = {"now": report.now, "live": report.live, "then": report.then}
    return {
        name: (side.matched, side.unmatched, sum(side.errors.values()), side.unrecorded)
        for name, side in sides.items()
        if side is not None
    }


# -- what it says ------------------------------------------------------------------------------------------------------


def test_then_now_and_live_and_both_ways_in_which_they_differ(work: Any) -> None:
    publish(refunds(at_least(200)))
    first = emit(250, 150, 60)
    work()
    publish(refunds(at_least(100)))
    second = emit(120, 40)
    work()
    pending = emit(130)  # nothing has decided about it yet
    report = backtest(refunds({"and": [at_least(50), {"<": [{"var": "amount"}, 200]}]}))
    assert numbers(report) == {"now": (4, 2, 0, 0), "live": (4, 2, 0, 0), "then": (2, 3, 0, 1)}
    assert (report.now.name, report.live and report.live.name) == ("refunds as given", "refunds v2 (live)")
    assert (report.newly_matched.count, ids(report.newly_matched)) == (1, [first[2]])
    assert (report.no_longer_matched.count, ids(report.no_longer_matched)) == (1, [first[0]])
    (gained,) = report.newly_matched.examples
    assert isinstance(gained.now, dict)
    assert isinstance(gained.live, dict)
    assert gained.live["reason"] == "amount is 60, needs to be at least 100"
    assert gained.now["result"] is True
    assert gained.type == "order.paid"
    assert report.changed
    assert report.unrecorded_share == pytest.approx(1 / 6)
    assert (report.events, report.complete, report.unreadable) == (6, True, 0)
    newest = Event.objects.get(pk=pending[0]).created_at
    assert (report.newest, report.oldest) == (newest, Event.objects.get(pk=first[0]).created_at)
    assert second
    assert json.loads(json.dumps(report.as_dict(), default=str))["newly_matched"]["count"] == 1


def test_every_form_of_candidate() -> None:
    publish(refunds(at_least(100)))
    emit(120, 70, 10)
    live = backtest("refunds")
    assert (live.now.name, live.changed, live.now.matched) == ("refunds v1 (live)", False, 1)
    shadow, _ = publish(refunds(at_least(50)), shadow=True)
    for given in ("refunds", shadow, refunds(at_least(50)), parse(refunds(at_least(50)))):
        report = backtest(given)
        assert (report.now.matched, report.newly_matched.count, report.no_longer_matched.count) == (2, 1, 0)
    assert backtest("refunds").now.name == "refunds v2 (shadow)"
    drop_shadow("refunds")
    assert backtest(WorkflowVersion.objects.get(pk=shadow.pk)).now.name == "refunds v2"
    rule = backtest(at_least(50), event="order.*")
    assert numbers(rule) == {"now": (2, 1, 0, 0)}
    assert (rule.newly_matched.count, rule.unrecorded_share) == (2, None)  # there is nothing to compare it with
    assert rule.newly_matched.examples[0].live == "nothing is live"
    new = backtest({**refunds(at_least(50)), "slug": "new"})
    assert (new.live, new.then, new.newly_matched.count) == (None, None, 2)


def test_what_cannot_be_asked() -> None:
    publish(refunds(at_least(100)))
    publish({"slug": "by-hand", "trigger": {"type": "manual"}, "steps": [LOG]})
    with pytest.raises(WorkflowNotFound, match=r"No workflow 'refunts' has .*Did you mean 'refunds'"):
        backtest("refunts")
    with pytest.raises(ConfigurationError, match=r"by-hand v1 \(live\) is not triggered by events"):
        backtest("by-hand")
    with pytest.raises(InvalidDefinitionError, match="/trigger/rule"):
        backtest({"nonsense": []}, event="order.paid")
    with pytest.raises(ConfigurationError, match="no event type and no pattern"):
        backtest(at_least(1), event="no event..type")
    with pytest.raises(InvalidDefinitionError):
        backtest(at_least(1))  # a rule without its events is no definition
    with pytest.raises(WorkflowNotFound, match="'refunds' has no shadow"):
        shadow_report("refunds")


def test_sides_that_listen_to_other_types_are_compared_over_both() -> None:
    publish(refunds(at_least(100), event="order.paid"))
    (paid,), (refunded,) = emit(120), emit(120, type="order.refunded")
    emit(120, type="Order.refunded")  # which databases without case may find
    emit(120, type="orders.refunded")
    emit(120, type="user.created")
    report = backtest(refunds(at_least(100), event="order.refunded"))
    assert report.events == 2
    assert (ids(report.newly_matched), ids(report.no_longer_matched)) == ([refunded], [paid])
    assert report.newly_matched.examples[0].live == "it does not listen to order.refunded"
    assert backtest(refunds(at_least(100), event="order.*")).events == 2
    assert backtest(refunds(at_least(100), event="*")).events == 5
    publish({"slug": "refunds", "trigger": {"type": "manual"}, "steps": [LOG]})
    assert ids(backtest(refunds(at_least(100))).newly_matched) == [paid]


def test_a_workflow_without_a_rule_matches_every_event_of_its_type() -> None:
    publish({"slug": "refunds", "trigger": {"type": "event", "event": "order.paid"}, "steps": [LOG]})
    emit(1, 2)
    report = backtest(refunds(at_least(2)))
    assert report.no_longer_matched.count == 1
    assert report.no_longer_matched.examples[0].live == "every event of this type matches"


def test_errors_are_counted_by_their_code_and_match_nothing(work: Any) -> None:
    doubled = {"cat": [{"var": "accumulator"}, {"var": "accumulator"}]}
    grows = {"reduce": [{"var": "amount"}, doubled, "x"]}
    publish(refunds(grows))
    emit([1, 2], list(range(100)))
    work()
    keyed = {"key": "{{ event.payload.nobody.home }}", "mode": "skip"}
    report = backtest(refunds(ALWAYS, concurrency=keyed))
    assert report.now.errors == {"template": 2}
    assert report.live is not None
    assert (report.live.matched, report.live.errors) == (1, {"rule_limit": 1})
    assert report.then is not None
    assert (report.then.matched, report.then.errors) == (1, {"error": 1})
    assert report.no_longer_matched.count == 1
    assert "nobody" in str(report.no_longer_matched.examples[0].now)
    assert report.newly_matched.count == 0


def test_which_events_are_looked_at() -> None:
    publish(refunds(at_least(0)))
    days = [event_at(ago(number), tenant="abc"[number], payload={"amount": number}) for number in range(3)]
    assert backtest("refunds").events == 3
    assert backtest("refunds", since=ago(1.5)).events == 2
    assert backtest("refunds", until=ago(0.5)).events == 2
    assert backtest("refunds", since=ago(1.5), until=ago(0.5)).events == 1
    assert backtest("refunds", since=timezone.now() - timedelta(days=365 * 200)).events == 3
    assert backtest("refunds", tenant="b").events == 1
    newest = backtest(at_least(0), event="*", limit=2)
    assert (newest.complete, ids(newest.newly_matched)) == (False, [str(event.pk) for event in days[:2]])
    assert backtest("refunds", limit=3).complete
    assert backtest("refunds", since=timezone.now()).as_dict()["events_per_second"] == 0
    some = backtest(at_least(0), event="*", examples=1).newly_matched
    assert (some.count, len(some.examples)) == (3, 1)


def test_the_workflow_of_a_tenant_is_asked_about_its_own_events() -> None:
    publish(refunds(at_least(1)), tenant="b")
    for tenant in "abc":
        event_at(ago(1), tenant=tenant, payload={"amount": 3})
    assert (backtest("refunds").events, backtest("refunds", tenant="b").events) == (1, 1)
    with pytest.raises(ConfigurationError, match="for events of tenant 'b'"):
        backtest("refunds", tenant="a")


def test_large_payloads_are_read_and_those_that_are_gone_are_told(configured: Any, tmp_path: Path) -> None:
    configured(ARTIFACTS={"location": str(tmp_path)}, EXECUTION={"inline_bytes": 200})
    publish(refunds(at_least(100)))
    for amount in (120, 130):
        emit_event("order.paid", {"amount": amount, "text": str(amount) * 200})
    emit(140)
    assert numbers(backtest("refunds"))["now"] == (3, 0, 0, 0)
    gone: Any = Event.objects.order_by("id").first()
    storage().delete(file_name(gone.payload.sha256))
    report = backtest("refunds")
    assert (report.events, report.unreadable) == (3, 1)
    assert numbers(report) == {"now": (2, 0, 0, 0), "live": (2, 0, 0, 0), "then": (0, 0, 0, 2)}
    assert report.unrecorded_share == 1


# -- what it costs -----------------------------------------------------------------------------------------------------


def record(count: int) -> None:
    version = WorkflowVersion.objects.get(live=True)
    moments = [ago(1 - number / count) for number in range(count)]
    rows = [
        Event(id=id_at(moment), type="order.paid", payload={"amount": number % 100}, created_at=moment)
        for number, moment in enumerate(moments)
    ]
    Event.objects.bulk_create(rows, batch_size=500)
    decided = [
        Decision(event_id=row.pk, version=version, matched=row.payload["amount"] >= 50, created_at=row.created_at)
        for row in rows
    ]
    Decision.objects.bulk_create(decided, batch_size=500)


def test_a_thousand_events_take_a_handful_of_statements_that_only_read() -> None:
    publish(refunds(at_least(50)))
    record(1000)

    def statements(**given: Any) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            report = backtest(refunds(at_least(60)), **given)
        assert report.newly_matched.count + report.no_longer_matched.count == report.events // 10
        assert report.unrecorded_share == 0
        return [query["sql"] for query in captured]

    every = statements()
    assert {sql.split()[0] for sql in every} == {"SELECT"}
    assert len(every) == 2 + 1 + 4  # the workflow and its live version; the ids; the windows
    assert len(statements(limit=500)) == 2 + 1 + 2 + 1  # and a look whether there is more
    assert not any("OFFSET" in sql for sql in every)


def test_ids_are_looked_for_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    publish(refunds(at_least(50)))
    record(100)
    monkeypatch.setattr(replay, "_PAGE", 30)
    monkeypatch.setattr(replay, "WINDOW", 20)
    seen: list[int] = []
    report = backtest("refunds", progress=seen.append)
    assert (report.events, report.now.matched, report.complete) == (100, 50, True)
    assert seen == [20, 30, 50, 60, 80, 90, 100]
    newest = Event.objects.order_by("-id")[60]
    monkeypatch.setattr(replay, "WINDOW", 60)
    emit(99)
    report = backtest("refunds", limit=61)
    assert (report.events, report.complete, report.oldest) == (61, False, Event.objects.order_by("-id")[60].created_at)
    assert report.oldest != newest.created_at


def test_no_event_is_kept_longer_than_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    publish(refunds(at_least(50)))
    record(600)
    seen: list[int] = []
    alive: list[int] = []
    true_ask = replay.ask_both

    def living() -> int:
        return sum(isinstance(thing, Event) for thing in gc.get_objects())

    gc.collect()
    others = living()  # what ran in this process before may still hold some

    def ask(*given: Any) -> Any:
        seen.append(len(seen) + 1)
        if seen[-1] in (1, 250, 251, 500, 600):
            alive.append(living() - others)
        return true_ask(*given)

    monkeypatch.setattr(replay, "ask_both", ask)
    assert backtest("refunds").events == 600
    # Windows of 250, and of a window none that was looked at: a payload may be a file of many megabytes.
    assert alive == [250, 1, 250, 1, 1]


# -- what a shadow decided ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("non_matches", ["all", "none"])
def test_a_shadow_is_compared_by_what_was_stored(configured: Any, work: Any, non_matches: str) -> None:
    configured(DECISIONS={"non_matches": non_matches})
    publish(refunds(at_least(100)))
    emit(70)  # before there was a shadow
    work()
    publish(refunds({"and": [at_least(50), {"<": [{"var": "amount"}, 200]}]}), shadow=True)
    both, gained, lost, _ = emit(150, 70, 250, 10)
    work()
    with CaptureQueriesContext(connection) as captured:
        report = shadow_report("refunds")
    assert {query["sql"].split()[0] for query in captured} == {"SELECT"}
    assert report.events == 4
    stored = non_matches == "all"
    unmatched, unrecorded = (2, 0) if stored else (0, 2)
    assert numbers(report) == {"now": (2, unmatched, 0, unrecorded), "live": (2, unmatched, 0, unrecorded)}
    assert (ids(report.newly_matched), ids(report.no_longer_matched)) == ([gained], [lost])
    (example,) = report.newly_matched.examples
    assert isinstance(example.now, dict)
    assert example.now["result"] is True
    if stored:
        assert isinstance(example.live, dict)
        assert example.live["reason"] == "amount is 70, needs to be at least 100"
    else:
        assert example.live == "no decision is stored, so it did not match"
    assert both
    assert report.now.name == "refunds v2 (shadow), recorded"
    promote("refunds")
    assert backtest("refunds").then is not None
    assert numbers(backtest("refunds"))["then"][0] == 2  # what was live then; the shadow's decisions ran nothing


def test_what_would_make_a_report_of_nothing_is_refused() -> None:
    publish(refunds(at_least(100)))
    publish(refunds(at_least(50)), shadow=True)
    emit(70)
    naive = timezone.now().replace(tzinfo=None)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"since": naive}, "since is .*: give an aware datetime"),
        ({"until": naive}, "until is .*: give an aware datetime"),
        ({"limit": 0}, "limit is 0, .*: give at least 1"),
        ({"limit": -1}, "limit is -1"),
        ({"examples": -1}, "examples is -1: give 0"),
    ]
    for report in (backtest, shadow_report):
        for given, text in refused:
            with pytest.raises(ConfigurationError, match=text):
                report("refunds", **given)


# -- the command -------------------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(list(arguments))
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_command_prints_what_differs(capsys: pytest.CaptureFixture[str], work: Any) -> None:
    publish(refunds(at_least(100)))
    publish(refunds(at_least(50)), shadow=True)
    first, second = emit(70, 120)
    work()
    status, out, err = run(capsys, "rules", "backtest", "refunds", "--since", "7d")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert "refunds v2 (shadow) 2 0 0 0" in lines
    assert "refunds v1 (live) 1 1 0 0" in lines
    assert "recorded 1 1 0 0" in lines
    place = lines.index("1 event would newly match")
    assert lines[place + 1].startswith(f"{first} order.paid 20")
    assert lines[place + 2] == "now: amount is 70, which is at least 50"
    assert lines[place + 3] == "live: amount is 70, needs to be at least 100"
    assert lines[place + 4] == "0 events would no longer match"
    assert lines[-1].startswith("2 events in ")
    assert lines[-1].endswith(" a second")
    assert second not in out
    status, out, _ = run(capsys, "rules", "backtest", "refunds", "--json", "--recorded", "--limit", "1")
    found = json.loads(out)
    assert (found["now"]["name"], found["complete"], found["changed"]) == (
        "refunds v2 (shadow), recorded",
        False,
        False,
    )
    assert run(capsys, "rules", "backtest", "refunds", "--fail-on-change")[0] == 1
    assert run(capsys, "rules", "backtest", "refunds", "--version", "1", "--fail-on-change")[0] == 0
    assert run(capsys, "rules", "backtest", "refunds", "--recorded", "--fail-on-change")[0] == 1


def test_the_command_reads_definitions_and_rules_from_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    publish(refunds(at_least(100)))
    emit(70, 120)
    definition, rule = tmp_path / "definition.json", tmp_path / "rule.json"
    definition.write_text(json.dumps(refunds(at_least(50))))
    rule.write_text(json.dumps(at_least(50)))
    status, out, _ = run(capsys, "rules", "backtest", "--definition", str(definition))
    assert (status, "1 event would newly match" in out) == (0, True)
    assert "note: no decision is stored about 100.0% of the events" in out
    status, out, _ = run(capsys, "rules", "backtest", "--rule", str(rule), "--event", "order.*", "--examples", "0")
    assert (status, "2 events would newly match" in out, "note: nothing is live" in out) == (0, True, True)
    rule.write_text("{")
    for arguments, text in [
        ([], "What is to be asked?"),
        (["refunds", "--rule", str(rule), "--event", "a.b"], "What is to be asked?"),
        (["--rule", str(rule)], "--rule and --event belong together"),
        (["refunds", "--event", "a.b"], "--rule and --event belong together"),
        (["--rule", str(rule), "--event", "a.b"], "is not JSON"),
        (["--definition", str(tmp_path / "none.json")], "--definition takes JSON, a file of it, or -"),
        (["--definition", '"refunds"'], "--definition is no JSON object"),
        (["--definition", "[]"], "--definition is no JSON object"),
        (["refunds", "--examples", "-1"], "examples is -1: give 0"),
        (["--definition", str(definition), "--version", "1"], "belong to the slug"),
        (["refunds", "--version", "9"], "There is no version 9 of a workflow 'refunds'. The newest is refunds v1."),
        (["refund", "--version", "1"], "'automate workflows list' shows which there are"),
        (["refunds", "--version", "1", "--recorded"], "leave --version out"),
        (["refunds", "--recorded"], "has no shadow"),
    ]:
        status, out, err = run(capsys, "rules", "backtest", *arguments)
        assert (status, out, text in err) == (1, "", True), err


def test_the_command_takes_rules_as_they_are_and_from_its_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    emit(70, 120)
    rule = json.dumps(at_least(100))
    written = run(capsys, "rules", "backtest", "--rule", rule, "--event", "order.paid")
    assert (written[0], "1 event would newly match" in written[1]) == (0, True)
    monkeypatch.setattr(sys, "stdin", io.StringIO(rule))
    read = run(capsys, "rules", "backtest", "--rule", "-", "--event", "order.paid")
    assert (read[0], "1 event would newly match" in read[1]) == (0, True)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(refunds(at_least(100)))))
    assert "refunds as given" in run(capsys, "rules", "backtest", "--definition", "-")[1]


def test_an_age_from_before_the_calendar_is_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["rules", "backtest", "refunds", "--since", "999999w"])
    assert caught.value.code == 2
    assert "argument --since: 999999w ago is before the year 1" in capsys.readouterr().err


def test_progress_is_shown_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    publish(refunds(at_least(100)))
    emit(70, 120)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    _, out, err = run(capsys, "rules", "backtest", "refunds", "--json")
    assert err == "\rbacktest: 2 of at most 10,000 events\n"
    assert json.loads(out)["events"] == 2


def test_a_rule_of_several_conditions_is_shown_with_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    publish(refunds(ALWAYS))
    emit(5)
    definition = tmp_path / "definition.json"
    definition.write_text(json.dumps(refunds({"or": [at_least(number) for number in range(10, 30)]})))
    _, out, _ = run(capsys, "rules", "backtest", "--definition", str(definition))
    lines = [" ".join(line.split()) for line in out.splitlines()]
    place = lines.index("now: none of 20 conditions holds")
    assert lines[place + 1] == "✗ /or/0 >=: amount is 5, needs to be at least 10"
    assert lines[place + 11] == "…"


def test_what_others_sent_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    publish(refunds({"==": [{"var": "amount"}, "x"]}))
    emit("\x1b[2Jhidden")
    definition = tmp_path / "definition.json"
    definition.write_text(json.dumps(refunds(ALWAYS)))
    _, out, _ = run(capsys, "rules", "backtest", "--definition", str(definition))
    assert "hidden" in out
    assert "\x1b" not in out


def test_the_workflows_command_promotes_and_drops(capsys: pytest.CaptureFixture[str]) -> None:
    from automate.models import AuditLogEntry

    publish(refunds(at_least(100)))
    publish(refunds(at_least(50)), shadow=True)
    assert run(capsys, "workflows", "drop-shadow", "refunds")[:2] == (
        0,
        "refunds v2 is no shadow any more; what it decided stays\n",
    )
    publish(refunds(at_least(50)), shadow=True)
    assert run(capsys, "workflows", "promote", "refunds")[:2] == (0, "refunds v3 is live\n")
    status, _, err = run(capsys, "workflows", "promote", "refunds")
    assert (status, "has no shadow" in err) == (1, True)
    status, _, err = run(capsys, "workflows", "promote", "refund")
    assert (status, "There is no workflow 'refund'. Did you mean 'refunds'?" in err) == (1, True)
    actors = AuditLogEntry.objects.filter(action__in=("workflow.shadow_promoted", "workflow.shadow_dropped"))
    assert all("@" in actor for actor in actors.values_list("actor", flat=True))
    assert WorkflowVersion.objects.get(live=True).version_num == 3


def test_the_workflows_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    publish(refunds(at_least(100)))
    publish({**refunds(ALWAYS), "slug": "another"})
    shown = {"workflow": "refunds", "enabled": True, "live": 1, "shadow": None, "event": "order.paid", "tenant": ""}

    def changed(action: str) -> Any:
        status, out, err = run(capsys, "workflows", action, "refunds", "--json")
        assert (status, err) == (0, "")
        return json.loads(out)

    publish(refunds(at_least(50)), shadow=True)
    assert changed("drop-shadow") == {**shown, "version": 2}
    publish(refunds(at_least(50)), shadow=True)
    assert changed("promote") == {**shown, "live": 3, "version": 3}
    assert changed("disable") == {**shown, "live": 3, "enabled": False}
    assert changed("enable") == {**shown, "live": 3}
    assert {**shown, "live": 3} in json.loads(run(capsys, "workflows", "list", "--json")[1])


def test_the_workflows_command_disables_and_enables(capsys: pytest.CaptureFixture[str]) -> None:
    publish(refunds(at_least(100)))
    assert run(capsys, "workflows", "disable", "refunds") == (0, "refunds is disabled\n", "")
    assert not Workflow.objects.get().enabled
    assert run(capsys, "workflows", "enable", "refunds") == (0, "refunds is enabled\n", "")
    assert Workflow.objects.get().enabled
    status, _, err = run(capsys, "workflows", "enable", "refund")
    assert (status, "There is no workflow 'refund'. Did you mean 'refunds'?" in err) == (1, True)
