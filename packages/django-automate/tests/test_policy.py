"""What automations may do in a project: refused calls, their trail, what is published, what is shown and checked."""

# The fixture that decorates is Any, and a JSON column that may be null is known to be filled where it is read.
# mypy: disable-error-code="untyped-decorator, index"

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from automate.events import emit_event, run_workflow
from automate.models import AuditLogEntry, ExecutionRun, StepRun
from automate.policy import ensure_allowed, is_allowed
from automate.policy.replay import Call, judge, replay
from automate.publish import promote, publish
from automate.runtime import Runtime
from automate_connectors.base import HTTPConnector
from automate_core import cli
from automate_core.egress import parse_url
from automate_core.errors import ConfigurationError, ConnectorNotAllowed, SSRFBlocked
from automate_core.policy import effective_policy
from automate_core.registry import registry
from automate_core.settings import parse
from django.core.checks import run_checks
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("db")

LOG = {"id": "f", "action": "flow.log", "params": {"message": "x"}}


def definition(*steps: dict[str, Any], slug: str = "orders", **trigger: Any) -> dict[str, Any]:
    return {"slug": slug, "trigger": trigger or {"type": "manual"}, "steps": list(steps)}


def on(event: str) -> dict[str, Any]:
    return {"type": "event", "event": event}


def run(slug: str = "orders", **options: Any) -> ExecutionRun:
    execution_id = run_workflow(slug, {}, **options)
    Runtime().run_execution(execution_id)
    return ExecutionRun.objects.get(execution_id=execution_id)


def code(made: ExecutionRun) -> str:
    return "" if made.error is None else str(made.error["code"])


# -- actions ----------------------------------------------------------------------------------------------------------


def test_a_denied_action_is_refused_and_recorded_once(configured: Any) -> None:
    publish(definition(LOG))
    configured(POLICY={"connector_denylist": ["flow.log"]})
    made = run()
    assert code(made) == "connector_not_allowed"
    assert "POLICY.connector_denylist" in made.error["message"]
    entry = AuditLogEntry.objects.get(action="policy.denied")
    assert (entry.actor, entry.resource, entry.tenant) == (f"run:{made.pk}", "action:flow.log", "")
    assert entry.details["workflow"] == "orders"
    assert entry.details["step"] == "f"
    assert entry.details["setting"] == "POLICY.connector_denylist"
    configured(POLICY={"connector_denylist": ["http"]})
    assert run().status == "SUCCESS"


def test_the_tenant_of_the_run_decides(configured: Any, work: Any) -> None:
    publish(definition(LOG, **on("order.paid")))
    configured(POLICY={"tenants": {"acme": {"connector_allowlist": ["http"]}}})
    for tenant in ("acme", "globex", ""):
        emit_event("order.paid", {}, tenant=tenant)
    work()
    runs = {made.execution.tenant: made for made in ExecutionRun.objects.select_related("execution")}
    assert {tenant: code(made) for tenant, made in runs.items()} == {
        "acme": "connector_not_allowed", "globex": "", "": "",
    }  # fmt: skip
    assert list(AuditLogEntry.objects.filter(action="policy.denied").values_list("tenant", flat=True)) == ["acme"]
    assert is_allowed("flow.log")
    assert not is_allowed("flow.log", "acme")
    with pytest.raises(ConnectorNotAllowed, match=r"POLICY\.tenants\.acme\.connector_allowlist"):
        ensure_allowed("flow.log", "acme")


def test_a_call_to_a_denied_host_is_recorded_with_it(configured: Any) -> None:
    publish(definition({"id": "call", "action": "http.request", "params": {"url": "https://evil.example/"}}))
    configured(POLICY={"egress_deny": ["*.example"]})
    assert code(run()) == "ssrf_blocked"
    details = AuditLogEntry.objects.get(action="policy.denied").details
    assert (details["host"], details["setting"]) == ("evil.example", "POLICY.egress_deny")


def test_the_context_of_an_error_does_not_stand_for_what_is_known(configured: Any, actions: Any) -> None:
    @actions("lies")
    def lies() -> None:
        known = ("workflow", "step", "attempt", "code", "message")
        raise ConnectorNotAllowed("as told", context={**dict.fromkeys(known, "another"), "more": 1})

    publish(definition({"id": "lie", "action": "test.lies"}))
    run()
    details = AuditLogEntry.objects.get(action="policy.denied").details
    assert details == {
        "workflow": "orders", "step": "lie", "attempt": 1, "code": "connector_not_allowed", "message": "as told",
        "more": 1,
    }  # fmt: skip


def test_a_call_is_made_under_the_policy_of_its_tenant(configured: Any, work: Any) -> None:
    call = {"id": "call", "action": "http.request", "params": {"url": "https://evil.example/"}}
    publish(definition(call, **on("order.paid")))
    tenants = {"acme": {"egress_deny": ["evil.example"]}, "*": {"egress_only": ["good.example"]}}
    configured(POLICY={"tenants": tenants})
    for tenant in ("acme", "globex"):
        emit_event("order.paid", {}, tenant=tenant)
    work()
    denied = AuditLogEntry.objects.filter(action="policy.denied").order_by("tenant")
    assert [(entry.tenant, entry.details["setting"]) for entry in denied] == [
        ("acme", "POLICY.tenants.acme.egress_deny"),
        ("globex", "POLICY.tenants.*.egress_only"),
    ]


def test_a_denied_transactional_action_is_recorded_although_it_is_rolled_back(actions: Any, configured: Any) -> None:
    @actions("write", transactional=True)
    def write() -> None: ...

    publish(definition({"id": "w", "action": "test.write"}))
    configured(POLICY={"connector_denylist": ["test"]})
    assert code(run()) == "connector_not_allowed"
    assert AuditLogEntry.objects.filter(action="policy.denied").count() == 1


def test_publishing_what_is_refused_is_a_warning(configured: Any, caplog: pytest.LogCaptureFixture) -> None:
    configured(POLICY={"connector_denylist": ["flow.log"]})
    with caplog.at_level(logging.WARNING, "automate.publish"):
        version, changed = publish(definition(LOG, {**LOG, "id": "g"}))
        assert (version.live, changed) == (True, True)
        (record,) = caplog.records
        assert "A step of orders will fail" in record.getMessage()
        assert "POLICY.connector_denylist" in record.getMessage()
        publish(definition({**LOG, "id": "other"}), shadow=True)
        assert len(caplog.records) == 1  # a shadow calls nothing
        promote("orders")
        assert len(caplog.records) == 2
        publish(definition({**LOG, "id": "third"}), shadow=True)
        publish(definition({**LOG, "id": "third"}))  # the shadow goes live
        assert len(caplog.records) == 3


@pytest.mark.parametrize(
    ("policy", "setting"),
    [
        ({"connector_denylist": ["slak"]}, "POLICY.connector_denylist"),
        ({"connector_allowlist": ["flow", "flow.logg"]}, "POLICY.connector_allowlist"),
        ({"tenants": {"acme": {"connector_denylist": ["nothing.*"]}}}, "POLICY.tenants.acme.connector_denylist"),
    ],
)
def test_a_pattern_that_means_nothing_installed_is_a_warning(configured: Any, policy: Any, setting: str) -> None:
    configured(POLICY=policy)
    (warning,) = [message for message in run_checks() if message.id == "automate.W004"]
    assert f"{setting} has" in warning.msg
    assert "flow" in (warning.hint or "")


def test_patterns_that_mean_something_are_no_warning(configured: Any) -> None:
    tenants = {"acme": {"connector_denylist": ["*.log"]}}
    configured(POLICY={"connector_allowlist": ["*"], "connector_denylist": ["fl?w", "flow.l*"], "tenants": tenants})
    assert not [message for message in run_checks() if message.id == "automate.W004"]


# -- replay -----------------------------------------------------------------------------------------------------------


def policy(**values: Any) -> Any:
    return parse({"POLICY": values}).policy


def test_a_call_is_judged_by_what_is_known_of_it() -> None:
    target = parse_url("http://intranet.example/")
    nothing = effective_policy(policy())
    assert judge(nothing, Call("http.request", ((target, ()),))) is None
    assert isinstance(judge(nothing, Call("http.request", ((target, ("10.0.0.1",)),))), SSRFBlocked)
    only = effective_policy(policy(egress_only=["a.example"]))
    assert isinstance(judge(only, Call("http.request", ((target, ()),))), SSRFBlocked)
    assert isinstance(judge(effective_policy(policy(connector_denylist=["x"])), Call("x.y")), ConnectorNotAllowed)


@settings(deadline=None)
@given(
    st.sampled_from(["a.example", "b.example", "10.0.0.1"]),
    st.lists(st.sampled_from(["a.example", "*.example", "10.0.0.0/8", "93.184.0.0/16"]), max_size=2),
    st.lists(st.sampled_from(["b.example", "*.example", "*"]), max_size=2),
)
def test_what_is_refused_by_name_is_refused_with_any_address(host: str, deny: list[str], only: list[str]) -> None:
    judged = effective_policy(policy(egress_deny=deny, egress_only=only))
    target = parse_url(f"http://{host}/")
    if judge(judged, Call("http.request", ((target, ()),))) is not None:
        for address in ("93.184.216.34", "1.1.1.1"):
            assert judge(judged, Call("http.request", ((target, (address,)),))) is not None


@pytest.fixture
def history(configured: Any, actions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps as they are recorded: three that were let through, and three that were refused."""
    from automate_connectors.egress import EgressClient, EgressResponse

    def answer(self: EgressClient, method: str, url: str, **options: Any) -> EgressResponse:
        target = parse_url(url)
        self.policy.check(target, ["10.0.0.9" if target.host == "intranet.example" else "93.184.216.34"])
        if target.host == "moved.example":
            passed = ("https://moved.example", "http://between.example:8080")
            return EgressResponse(200, "https://cdn.example/x", {}, b"", passed)
        return EgressResponse(200, url, {}, b"")

    monkeypatch.setattr(EgressClient, "request", answer)
    call = {"id": "call", "action": "http.request", "params": {"url": "{{ event.payload.url }}"}}
    publish(definition(call, slug="calls", **on("call.now")))
    publish(definition(LOG, slug="logs", **on("log.now")))
    configured(POLICY={"egress_deny": ["denied.example"], "tenants": {"acme": {"connector_denylist": ["flow.log"]}}})


def record_history(work: Any) -> None:
    for host in ("good.example", "moved.example", "intranet.example", "denied.example"):
        emit_event("call.now", {"url": f"https://{host}/a?b=c"}, tenant="acme")
    for tenant in ("acme", "globex"):
        emit_event("log.now", {}, tenant=tenant)
    work()


def groups(found: Any) -> dict[tuple[str, str, str, str], int]:
    return {(one.workflow, one.tenant, one.action, one.setting): one.count for one in found}


@pytest.mark.usefixtures("history")
def test_a_policy_is_asked_about_what_has_run(work: Any) -> None:
    record_history(work)
    same = replay(policy(egress_deny=["denied.example"], tenants={"acme": {"connector_denylist": ["flow.log"]}}))
    assert (same.steps, same.blocks, same.allowed, same.blocked_before, same.complete) == (6, 0, (), 3, True)
    assert same.by_name == 3  # two that went through, and the one that was refused by name
    changed = replay(policy(egress_deny=["cdn.example"], connector_denylist=["flow"], egress_allow=["10.0.0.0/24"]))
    assert groups(changed.blocked) == {
        ("calls", "acme", "http.request", "POLICY.egress_deny"): 1,  # where it was redirected to
        ("logs", "globex", "flow.log", "POLICY.connector_denylist"): 1,
    }
    assert groups(changed.allowed) == {
        ("calls", "acme", "http.request", "POLICY.egress_deny"): 1,
        ("calls", "acme", "http.request", "POLICY.egress_allow"): 1,
    }
    assert changed.blocked_before == 1
    (example,) = next(one for one in changed.blocked if one.workflow == "calls").examples
    assert "cdn.example" in example.message
    assert ExecutionRun.objects.get(pk=example.run).status == "SUCCESS"


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("host", ["moved.example", "between.example", "cdn.example"])
def test_every_hop_of_a_redirect_is_judged(host: str, work: Any) -> None:
    record_history(work)
    (group,) = replay(policy(egress_deny=["denied.example", host])).blocked
    assert (group.count, group.setting) == (1, "POLICY.egress_deny")
    assert host in group.examples[0].message


@pytest.mark.parametrize("strict", [{}, {"egress_only": ["nothing.example"]}, {"connector_denylist": ["*"]}])
def test_what_no_policy_refused_is_not_told_as_let_through(strict: Any, work: Any) -> None:
    call = {"id": "call", "action": "http.request", "params": {"url": "{{ event.payload.url }}"}}
    publish(definition(call, slug="calls", **on("call.now")))
    publish(definition({"id": "e", "action": "flow.emit", "params": {"type": "loop.x", "payload": {}}}, **on("loop.x")))
    for url in ("file:///etc/passwd", "http://ann@10.0.0.1/", "http://a.example\\@b.example/"):
        emit_event("call.now", {"url": url})
    emit_event("loop.x", {})
    work()
    assert StepRun.objects.filter(error__code="policy").count() == 1
    found = replay(policy(**strict))
    assert (found.allowed, found.blocked_before) == ((), 4)


@pytest.mark.parametrize(
    ("action", "known", "unknown"),
    [
        ("slack.post_message", True, 0), ("acme.get", False, 1), ("http.request", False, 1), ("gone.away", False, 1),
        ("flow.log", False, 0),
    ],
)  # fmt: skip
def test_hosts_that_are_not_on_record_are_those_of_the_connector_or_are_unknown(
    action: str, known: bool, unknown: int, work: Any
) -> None:
    class Acme(HTTPConnector):
        key = "acme"

    publish(definition(LOG))
    run_workflow("orders", {})
    work()
    StepRun.objects.update(action=action, input={})
    registry.register("acme", Acme)
    try:
        found = replay(policy(egress_deny=["slack.com"]))
        asked = replay(policy(egress_only=["api.example"]))
    finally:
        registry.remove("connectors", "acme")
    assert (found.blocks, found.unknown) == (asked.blocks, asked.unknown) == (int(known), unknown)
    assert found.by_name == known


PROVIDERS = {"openai": {"base_url": "http://10.0.0.5:8000/v1"}}
MODEL = ("orders", "", "llm.chat")


@pytest.mark.parametrize(
    ("given_input", "asked", "blocked"),
    [
        ({}, {}, {}),
        ({"provider": None}, {"egress_only": ["api.anthropic.com"]}, {(*MODEL, "POLICY.egress_only"): 1}),
        ({}, {"egress_deny": ["10.0.0.0/8"]}, {(*MODEL, "POLICY.egress_deny"): 1}),
        ({"provider": "anthropic"}, {"egress_deny": ["10.0.0.0/8"]}, {}),
        ({"provider": "anthropic"}, {"egress_only": ["10.0.0.5"]}, {}),  # names may have any address
        ({"provider": "anthropic"}, {"egress_deny": ["*.anthropic.com"]}, {(*MODEL, "POLICY.egress_deny"): 1}),
        ({"provider": "gone"}, {"egress_deny": ["*"]}, {}),
        ({"provider": 7}, {"egress_deny": ["10.0.0.5:8000"]}, {(*MODEL, "POLICY.egress_deny"): 1}),
    ],
)
def test_a_step_of_a_model_is_judged_by_the_host_of_its_provider(
    given_input: Any, asked: Any, blocked: Any, work: Any, configured: Any
) -> None:
    publish(definition(LOG))
    run_workflow("orders", {})
    work()
    StepRun.objects.update(action="llm.chat", input=given_input)
    configured(LLM={"providers": PROVIDERS})
    found = replay(policy(**asked))
    assert groups(found.blocked) == blocked
    assert found.unknown == (given_input.get("provider") == "gone")


def test_a_refused_step_of_a_model_is_judged_as_a_service_of_the_settings(work: Any, configured: Any) -> None:
    publish(definition(LOG))
    run_workflow("orders", {})
    work()
    refused = {"code": "ssrf_blocked", "message": "no", "context": {
        "host": "10.0.0.5", "port": 8000, "address": "10.0.0.5", "setting": "POLICY.egress_deny",
    }}  # fmt: skip
    StepRun.objects.update(action="llm.chat", input={}, error=refused)
    configured(LLM={"providers": PROVIDERS})
    assert groups(replay(policy()).allowed) == {(*MODEL, "POLICY.egress_deny"): 1}
    assert replay(policy(egress_deny=["10.0.0.5"])).blocked_before == 1
    configured(LLM={"providers": {}})
    assert replay(policy()).blocked_before == 1, "nobody names it any more"


@pytest.mark.usefixtures("history")
def test_names_are_looked_up_only_where_that_is_asked_for(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*args: Any, **options: Any) -> Any:
        raise AssertionError("a name was looked up")

    record_history(work)
    monkeypatch.setattr("socket.getaddrinfo", nobody)
    proposed = policy(egress_deny=["93.184.0.0/16"])
    assert replay(proposed).blocks == 0
    asked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"]

    found = replay(proposed, resolver=resolver)
    assert found.blocks == 2
    assert {"good.example", "moved.example", "cdn.example"} <= set(asked)


@pytest.mark.usefixtures("history")
def test_history_is_walked_in_batches_and_to_a_limit(
    work: Any, monkeypatch: pytest.MonkeyPatch, django_assert_statements: Any
) -> None:
    record_history(work)
    monkeypatch.setattr("automate.policy.replay._BATCH", 2)
    seen: list[int] = []
    with django_assert_statements(4):  # three batches, and one that finds nothing more
        assert replay(policy(), progress=seen.append).steps == 6
    assert seen == [2, 4, 6]
    short = replay(policy(), limit=5)
    assert (short.steps, short.complete) == (5, False)
    assert replay(policy(), limit=6).complete
    newest = short.newest
    assert newest is not None
    assert replay(policy(), since=newest).steps < 6
    monkeypatch.setattr("automate.policy.replay._MOST_GROUPS", 1)
    full = replay(policy(connector_denylist=["*"]))
    assert (len(full.blocked), full.blocks + full.left_out + full.blocked_before) == (1, 6)


@pytest.fixture
def django_assert_statements() -> Any:
    from contextlib import contextmanager

    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    @contextmanager
    def expect(number: int) -> Any:
        with CaptureQueriesContext(connection) as captured:
            yield
        assert len(captured) == number, [query["sql"] for query in captured]

    return expect


# -- the command ------------------------------------------------------------------------------------------------------


def automate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["policy", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.usefixtures("history")
def test_the_command_checks_a_policy(work: Any, capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    record_history(work)
    status, out, _ = automate(capsys, "check")
    assert status == 0
    assert "6 steps" in out
    assert "0 that were let through would be refused." in out
    assert "3 were refused, and would be again." in out
    proposed = tmp_path / "policy.json"
    proposed.write_text(json.dumps({"connector_denylist": ["flow.log"]}))
    status, out, _ = automate(capsys, "check", "--file", str(proposed), "--since", "7d")
    assert status == 1
    assert "1  logs of globex: flow.log, by POLICY.connector_denylist" in out
    assert "1 that were refused would be let through:" in out
    status, out, _ = automate(capsys, "check", "--file", str(proposed), "--json")
    found = json.loads(out)
    assert (status, found["blocks"], found["blocked"][0]["workflow"]) == (1, 1, "logs")
    assert found["blocked"][0]["examples"][0]["step"] == "f"


def test_a_malformed_policy_is_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    for given_, text in (('{"egres_deny": []}', "Did you mean 'egress_deny'"), ("[]", "the section POLICY")):
        status, _, err = automate(capsys, "check", "--file", given_)
        assert status not in (0, 1) or text in err
        assert text in err


def test_the_command_shows_what_holds(configured: Any, capsys: pytest.CaptureFixture[str]) -> None:
    tenants = {"*": {"connector_denylist": ["flow.log"]}}
    configured(POLICY={"egress_deny": ["evil.example"], "tenants": tenants})
    status, out, _ = automate(capsys, "show")
    assert status == 0
    assert "Automation runs." in out
    assert "egress_deny: evil.example" in out
    assert "POLICY.tenants" not in out
    _, out, _ = automate(capsys, "show", "--tenant", "acme")
    assert "POLICY.tenants.*" in out
    assert "flow.log" in out.partition("refused actions:")[2]
    _, out, _ = automate(capsys, "show", "--tenant", "acme", "--json")
    found = json.loads(out)
    assert (found["enabled"], found["paused"], found["actions"]["flow.log"]) == (True, None, False)
    assert list(found["layers"]) == ["POLICY", "POLICY.tenants.*"]


def test_the_command_needs_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        automate(capsys, "pause")
    assert "--reason" in capsys.readouterr().err
    from automate.policy.switch import pause

    for reason in (" ", "x" * 501):
        with pytest.raises(ConfigurationError, match="500 characters"):
            pause(reason, actor="ann")
