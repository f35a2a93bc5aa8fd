"""Secrets in steps: what the action gets, who may have them, and what is on record, whatever happens then."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from automate._secret_access import record_access
from automate.models import AuditLogEntry, Event, ExecutionRun, StepRun
from automate.publish import publish
from automate.runtime import Runtime, run_workflow
from automate.runtime.execute import Attempt, Result, execute, prepare
from automate_core import redaction
from automate_core.errors import ConfigurationError, InvalidDefinitionError, TransientError
from automate_core.redaction import RedactingFilter
from automate_core.registry import registry
from automate_core.secrets import AccessRecord, SecretAccess, SecretRef, SecretValue, resolver
from automate_core.settings import SecretSettings
from automate_core.testing.secrets import MemoryBackend
from automate_core.workflow import RunState, compile_workflow, context_for, parse
from django.conf import settings as django_settings
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.views.debug import ExceptionReporter
from pydantic import BaseModel, SecretStr
from test_worker_processes import Workers, wait_for, workers  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("db")

KEY = "s3cr3t-value-of-the-key"
OTHER = "an0ther-s3cr3t-value"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AUTOMATE_API_KEY", KEY)
    monkeypatch.setenv("AUTOMATE_OTHER", OTHER)
    yield
    redaction._live.clear()


def define(params: Any, action: str = "test.call", slug: str = "w", **step: Any) -> dict[str, Any]:
    steps = [{"id": "f", "action": action, "params": params, **step}]
    return {"slug": slug, "trigger": {"type": "manual"}, "steps": steps}


def run(definition: dict[str, Any], payload: dict[str, Any] | None = None, **options: Any) -> ExecutionRun:
    publish(definition)
    execution_id = run_workflow(definition["slug"], payload or {}, **options)
    Runtime().run_execution(execution_id)
    return ExecutionRun.objects.get(execution_id=execution_id)


def error_of(row: ExecutionRun | StepRun) -> dict[str, Any]:
    assert row.error is not None
    return dict(row.error)


def attempt(definition: dict[str, Any], payload: Any = None, **options: Any) -> Attempt:
    """One attempt by itself, as a worker makes it."""
    workflow = compile_workflow(parse(definition))
    given: dict[str, Any] = {"tenant": "", "run_id": "00000000-0000-0000-0000-000000000001", "number": 1, **options}
    return Attempt(
        workflow="w",
        step=workflow.steps["f"],
        context=context_for(workflow, RunState(event={"payload": payload}), "f"),
        idempotency_key="k",
        depth=0,
        timeout=9.0,
        clock=timezone.now,
        registry=registry,
        template=workflow.prepared["f"].params,
        **given,
    )


def trail() -> list[tuple[str, str, str]]:
    found = AuditLogEntry.objects.filter(action__startswith="secret.").order_by("pk")
    return [(entry.action, entry.resource, entry.actor) for entry in found]


def everything() -> str:
    """What the database holds of runs, steps and the audit."""
    models = (ExecutionRun, StepRun, AuditLogEntry)
    return repr([list(model.objects.values()) for model in models])


# -- what the action gets ---------------------------------------------------------------------------------------------


def test_each_parameter_gets_the_secret_as_its_annotation_says(actions: Any) -> None:
    got: list[Any] = []

    @actions("call")
    def call(token: SecretValue, key: SecretStr, text: str, headers: dict[str, str], event: str) -> str:
        got.extend([token, key, text, headers, event])
        return f"called with {token}, {token!r} and {text}"

    params = {
        "token": "$secret:API_KEY",
        "key": "$env:AUTOMATE_API_KEY",
        "text": "$secret:API_KEY",
        "headers": {"Authorization": "Bearer $secret:API_KEY", "X": "{{ event.payload.x }} $secret:OTHER"},
        "event": "{{ event.payload.x }}",
    }
    found = run(define(params), {"x": "Bearer $secret:OTHER"})
    assert found.status == "SUCCESS", found.error
    token, key, text, headers, event = got
    assert (token, key.get_secret_value(), text) == (SecretValue(KEY), KEY, KEY)
    assert headers == {"Authorization": f"Bearer {KEY}", "X": f"Bearer $secret:OTHER {OTHER}"}
    assert event == "Bearer $secret:OTHER"
    row = found.steps.get()
    assert row.output == "called with [REDACTED], SecretValue([REDACTED]) and [REDACTED]"
    assert row.input["text"] == "$secret:API_KEY"
    assert KEY not in everything()
    assert OTHER not in everything()


def test_a_secret_in_clear_is_refused_when_it_is_published_and_when_it_comes_with_an_event(actions: Any) -> None:
    called: list[Any] = []

    @actions("call")
    def call(token: SecretValue) -> None:
        called.append(token)

    with pytest.raises(InvalidDefinitionError) as refused:
        publish(define({"token": "hunter2-in-clear"}))
    assert [problem["pointer"] for problem in refused.value.context["problems"]] == ["/steps/0/params/token"]
    assert "hunter2" not in str(refused.value)
    found = run(define({"token": "{{ event.payload.token }}"}), {"token": "$secret:API_KEY"})
    assert error_of(found)["code"] == "invalid_input"
    assert not called


def test_what_an_emitting_step_is_given_is_stored_so_it_takes_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    params = {"type": "order.seen", "payload": {"note": ["It is $secret:API_KEY."]}, "subject": "$secret:OTHER"}
    with pytest.raises(InvalidDefinitionError) as refused:
        publish(define(params, "flow.emit"))
    problems = refused.value.context["problems"]
    assert [problem["pointer"] for problem in problems] == ["/steps/0/params/payload/note/0", "/steps/0/params/subject"]
    assert {problem["message"] for problem in problems} == {"'flow.emit' takes no secrets"}
    monkeypatch.setattr("automate.publish.ensure_publishable", lambda *_: None)  # as before it was checked
    found = run(define(params, "flow.emit"))
    assert (error_of(found)["code"], trail()) == ("invalid_input", [])
    assert not Event.objects.filter(type="order.seen").exists()


def test_a_secret_that_an_event_brought_is_not_emitted_again() -> None:
    redaction.remember(KEY)
    given = {"type": "order.seen", "payload": {"note": [f"It is {KEY}."]}, "subject": KEY}
    registry.get_connector("flow")().call("emit", given)
    event = Event.objects.get(type="order.seen")
    assert (event.payload, event.subject) == ({"note": ["It is [REDACTED]."]}, "[REDACTED]")


def test_the_key_of_the_project_is_given_to_no_step(actions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    @actions("call")
    def call(key: str) -> None: ...

    monkeypatch.setenv("THE_KEY", django_settings.SECRET_KEY)
    found = run(define({"key": "$env:THE_KEY"}))
    assert error_of(found)["code"] == "secret_access_denied"
    assert trail() == [("secret.denied", "secret:$env:THE_KEY", f"run:{found.pk}")]


def test_an_action_that_returns_the_object_is_told_so(actions: Any) -> None:
    @actions("call")
    def call(token: SecretValue) -> dict[str, SecretValue]:
        return {"token": token}

    found = run(define({"token": "$secret:API_KEY"}))
    assert "returned what is not JSON" in error_of(found)["message"]
    assert KEY not in everything()


# -- late -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def unresolved(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is resolved in this test."""
    asked: list[Any] = []
    monkeypatch.setattr(resolver, "_find", asked.append)
    yield
    assert asked == []
    assert trail() == []


@pytest.mark.usefixtures("unresolved")
def test_what_is_wrong_anyway_is_refused_before_a_secret_is_resolved(actions: Any, configured: Any) -> None:
    @actions("call")
    def call(token: SecretValue, number: int) -> None: ...

    definition = define({"token": "$secret:API_KEY", "number": "{{ event.payload.n }}"})
    assert error_of(run(definition, {"n": "many"}))["code"] == "invalid_input"
    configured(POLICY={"connector_allowlist": ["flow"]})
    assert error_of(run(definition, {"n": 1}))["code"] == "connector_not_allowed"


@pytest.mark.usefixtures("unresolved")
@pytest.mark.parametrize("over", [lambda it: it.cancelled.set(), lambda it: setattr(it, "timeout", -1.0)])
def test_for_a_result_that_nobody_waits_for_no_secret_is_resolved(actions: Any, over: Callable[..., None]) -> None:
    @actions("call")
    def call(token: SecretValue) -> None: ...

    one = attempt(define({"token": "$secret:API_KEY"}))
    over(one)
    result = prepare(one)
    assert isinstance(result, Result)
    assert result.error is not None
    assert result.error.code == "step_timeout"


# -- the record -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "references"),
    [
        ({"a": "{{ event.payload }}", "b": "text"}, []),
        ({"a": "$secret:API_KEY"}, ["$secret:API_KEY"]),
        ({"a": "$secret:API_KEY", "b": ["$secret:API_KEY", "x $secret:API_KEY"]}, ["$secret:API_KEY"]),
        ({"a": "$secret:API_KEY", "b": "$secret:OTHER"}, ["$secret:API_KEY", "$secret:OTHER"]),
    ],
)
def test_a_step_pays_one_insert_for_each_secret_and_nothing_without(
    actions: Any, params: Any, references: list[str]
) -> None:
    @actions("call")
    def call(**given: Any) -> None: ...

    execute(attempt(define(params)))
    AuditLogEntry.objects.all()._raw_delete("default")
    with CaptureQueriesContext(connection) as queries:
        result = execute(attempt(define(params)))
    assert isinstance(result, Result)
    assert result.error is None
    insert = f"INSERT INTO {connection.ops.quote_name('automate_auditlogentry')}"
    assert sum(query["sql"].startswith(insert) for query in queries) == len(references)
    writes = [query["sql"] for query in queries if query["sql"].startswith(("INSERT", "UPDATE", "DELETE", "SELECT"))]
    assert len(writes) == 3 * len(references)  # what an append to the audit log takes
    actor = "run:00000000-0000-0000-0000-000000000001"
    assert trail() == [("secret.read", f"secret:{ref}", actor) for ref in references]


@pytest.mark.parametrize("name", ["API_KEY_2", "PAYMENT_PROVIDER_API_KEY", "prod/db/password:2024"])
def test_the_record_says_which_secret_was_given_and_denied_whatever_its_name(
    actions: Any, configured: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    @actions("call")
    def call(**given: Any) -> None: ...

    monkeypatch.setitem(resolver._given, "secret", MemoryBackend(SecretSettings(), {name: KEY}))
    run(define({"key": f"$secret:{name}"}))
    configured(SECRETS={"allow": []})
    run(define({"key": f"$secret:{name}"}, slug="denied"))
    assert [entry[:2] for entry in trail()] == [
        ("secret.read", f"secret:$secret:{name}"),
        ("secret.denied", f"secret:$secret:{name}"),
    ]


def test_every_attempt_is_on_record(actions: Any) -> None:
    @actions("call")
    def call(key: str) -> None:
        raise TransientError(f"no answer for {key}")

    definition = define({"key": "$secret:API_KEY"}, retry={"max_attempts": 2, "initial": 0.01, "jitter": False})
    found = run(definition)
    assert found.steps.count() == 2
    assert trail() == [("secret.read", "secret:$secret:API_KEY", f"run:{found.pk}")] * 2
    for entry in AuditLogEntry.objects.filter(action="secret.read"):
        assert entry.details == {
            "reference": "$secret:API_KEY", "workflow": "w", "step": "f", "action": "test.call",
        }  # fmt: skip
    assert KEY not in everything()


@pytest.mark.parametrize("transactional", [True, False])
def test_the_record_outlives_what_is_rolled_back(actions: Any, work: Any, transactional: bool) -> None:
    Group.objects.all().delete()

    @actions("call", transactional=transactional)
    def call(key: str) -> None:
        with transaction.atomic():
            Group.objects.create(name="written")
            raise ValueError(f"{key} is wrong")

    publish(define({"key": "$secret:API_KEY"}))
    run_workflow("w", {})
    work()
    found = ExecutionRun.objects.get()
    assert (found.status, Group.objects.count()) == ("FAILED", 0)
    assert trail() == [("secret.read", "secret:$secret:API_KEY", f"run:{found.pk}")]
    assert KEY not in everything()


def test_the_record_is_there_before_the_action_is_called(actions: Any, work: Any) -> None:
    seen: list[int] = []

    @actions("call", transactional=True)
    def call(key: str) -> None:
        seen.append(len(trail()))

    publish(define({"key": "$secret:API_KEY"}))
    run_workflow("w", {})
    work()
    assert seen == [1]


def test_what_cannot_be_recorded_is_not_handed_out(actions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []

    @actions("call")
    def call(key: str) -> None:
        called.append(key)

    def fail(record: Any) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(resolver, "on_access", fail)
    result = execute(attempt(define({"key": "$secret:API_KEY"})))
    assert isinstance(result, Result)
    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("secret_backend_unavailable", True)
    assert not called


# -- the policy -------------------------------------------------------------------------------------------------------

RULE = {"refs": ["$secret:API_KEY"], "workflows": ["billing-*"], "connectors": ["test.call"], "tenants": ["acme"]}


def test_only_the_step_that_a_rule_names_gets_the_secret(actions: Any, configured: Any) -> None:
    called: list[str] = []
    for name in ("call", "other"):

        @actions(name)
        def call(key: str) -> None:
            called.append(key)

    configured(SECRETS={"access": [RULE], "shared": ["*"]})
    params = {"key": "$secret:API_KEY"}
    denied = [
        run(define(params, slug="billing-a")),
        run(define(params, slug="billing-b"), tenant="globex"),
        run(define(params, slug="news"), tenant="acme"),
        run(define(params, "test.other", "billing-c"), tenant="acme"),
        run(define({"key": "Bearer $env:AUTOMATE_API_KEY"}, slug="news"), tenant="acme"),
    ]
    for found in denied:
        assert (found.status, error_of(found)["code"]) == ("FAILED", "secret_access_denied")
        assert found.steps.count() == 1  # it is not tried again
    assert not called
    assert {action for action, _, _ in trail()} == {"secret.denied"}
    assert len(trail()) == len(denied)
    allowed = run(define(params, slug="billing-d"), tenant="acme")
    assert allowed.status == "SUCCESS"
    assert called == [KEY]
    entry = AuditLogEntry.objects.get(action="secret.read")
    assert (entry.tenant, entry.resource, entry.actor) == ("acme", "secret:$secret:API_KEY", f"run:{allowed.pk}")
    refused = AuditLogEntry.objects.filter(action="secret.denied").order_by("pk")[2]
    assert refused.tenant == "acme"
    assert "SECRETS.access" in refused.details["reason"]


@pytest.mark.parametrize("before", range(270, 300, 5))
def test_no_half_of_a_secret_stays_where_a_long_reference_is_cut(before: int) -> None:
    redaction.remember(KEY)
    ref = SecretRef("$secret:API_KEY/" + "x" * (before - len("secret:$secret:API_KEY/")) + f"/{KEY}")
    access = SecretAccess("w", "test", "test.call", run_id="1", step_id="f")
    record_access(AccessRecord(ref, access))
    ((_, resource, _),) = trail()
    assert KEY[:5] not in resource


def test_a_tenant_gets_its_own_secret(actions: Any, configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[str] = []

    @actions("call")
    def call(key: SecretValue) -> None:
        got.append(key.reveal())

    backend = MemoryBackend(SecretSettings())
    backend.put("KEY", "of the installation")
    backend.put("KEY", "of the tenant acme", tenant="acme")
    monkeypatch.setitem(resolver._given, "secret", backend)
    definition = define({"key": "$secret:KEY"})
    for tenant in ("", "acme"):
        assert run(definition, tenant=tenant).status == "SUCCESS"
    found = run(definition, tenant="globex")
    assert error_of(found)["code"] == "secret_not_found"
    assert "SECRETS.shared" in error_of(found)["message"]
    configured(SECRETS={"shared": ["$secret:KEY"]})
    assert run(definition, tenant="globex").status == "SUCCESS"
    assert got == ["of the installation", "of the tenant acme", "of the installation"]
    owners = [entry.details.get("owner") for entry in AuditLogEntry.objects.filter(action="secret.read").order_by("pk")]
    assert owners == [None, None, "installation"]
    (denied,) = AuditLogEntry.objects.filter(action="secret.denied")
    assert (denied.actor, denied.tenant) == (f"run:{found.pk}", "globex")
    assert "SECRETS.shared does not list" in denied.details["reason"]


def test_the_doctor_says_what_would_be_denied(actions: Any, configured: Any) -> None:
    from automate.doctor import examine

    @actions("call")
    def call(key: str) -> None: ...

    publish(define({"key": "$secret:API_KEY"}, slug="news"))

    def problems() -> list[str]:
        return [finding.message for finding in examine() if finding.level == "error" and "API_KEY" in finding.message]

    assert problems() == []
    configured(SECRETS={"access": [{**RULE, "workflows": ["news"]}]})
    assert problems() == []
    configured(SECRETS={"access": [RULE]})
    assert ["SECRETS.access" in problem for problem in problems()] == [True]
    assert trail() == [("secret.read", "secret:$secret:API_KEY", "installation")] * 2  # no step was given it or denied


def test_a_rule_that_names_nothing_is_an_error_of_the_settings(configured: Any) -> None:
    from automate.conf import get_settings

    configured(SECRETS={"access": [{"refs": ["secret:API_KEY"]}]})
    with pytest.raises(ConfigurationError, match=r"SECRETS\.access\.0\.refs"):
        get_settings()


class Broken(MemoryBackend):
    def get(self, path: str, **options: Any) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM there_is_no_such_table")
        return ""


def test_within_a_transaction_of_the_caller_nothing_breaks_it_and_denials_stay(
    actions: Any, configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @actions("call")
    def call(key: str, more: str = "") -> None: ...

    configured(SECRETS={"access": [RULE]})
    monkeypatch.setitem(resolver._given, "vault", Broken(SecretSettings()))
    monkeypatch.setitem(resolver._given, "aws", MemoryBackend(SecretSettings()))
    with transaction.atomic():
        missing = run(define({"key": "$aws:kv/a"}, slug="missing"), tenant="acme")
        broken = run(define({"key": "$vault:kv/a"}, slug="broken", retry={"max_attempts": 1}))
        denied = run(define({"key": "$secret:OTHER", "more": "$secret:API_KEY"}, slug="news"))
        codes = [error_of(found)["code"] for found in (broken, denied)]
        assert codes == ["secret_backend_unavailable", "secret_access_denied"]
    assert trail() == [
        ("secret.denied", "secret:$aws:kv/a", f"run:{missing.pk}"),
        ("secret.read", "secret:$secret:OTHER", f"run:{denied.pk}"),
        ("secret.denied", "secret:$secret:API_KEY", f"run:{denied.pk}"),
    ]


def test_what_is_read_within_a_transaction_of_the_caller_is_on_record_with_it(actions: Any) -> None:
    @actions("call")
    def call(key: str) -> None: ...

    with transaction.atomic():
        found = run(define({"key": "$secret:API_KEY"}))
        assert trail() == [("secret.read", "secret:$secret:API_KEY", f"run:{found.pk}")]
        transaction.set_rollback(True)
    assert trail() == []


# -- what an action lets out ------------------------------------------------------------------------------------------


class Answer(BaseModel):
    sent: int


def nested(key: str) -> None:
    try:
        raise KeyError(key)
    except KeyError as error:
        error.add_note(f"while {key} was sent")
        raise ValueError(f"refused {key}", {"key": key}) from error


def grouped(key: str) -> None:
    errors = [ValueError(f"refused {key}"), RuntimeError(key.encode().hex())]
    raise ExceptionGroup(f"with {key}", errors)


def noted(key: str) -> None:
    error = RuntimeError("no secret here")
    error.add_note(f"but {key} here")
    error.__notes__.append(key)
    raise error


def invalid(key: str) -> None:
    Answer.model_validate({"sent": f"{key} {'x' * 80} {key}"})


def leaving(key: str) -> None:
    raise SystemExit(f"leaving with {key}")


FAILURES = [nested, grouped, noted, invalid]


@pytest.mark.parametrize(
    ("fail", "asynchronous"),
    [*((fail, asynchronous) for fail in FAILURES for asynchronous in (False, True)), (leaving, False)],
)
def test_whatever_an_action_raises_shows_no_secret(
    actions: Any, work: Any, fail: Callable[[str], None], asynchronous: bool
) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter())
    logger = logging.getLogger("automate")
    logger.addHandler(handler)

    @actions("call")
    def call(key: str) -> None:
        fail(key)

    @actions("acall")
    async def acall(key: str) -> None:
        fail(key)

    publish(define({"key": "$secret:API_KEY"}, "test.acall" if asynchronous else "test.call"))
    run_workflow("w", {})
    try:
        work()
    finally:
        logger.removeHandler(handler)
    assert ExecutionRun.objects.get().status == "FAILED"
    assert "Step f failed" in stream.getvalue()
    for shown in (everything(), stream.getvalue()):
        assert KEY not in shown
        assert KEY[:12] not in shown
        assert KEY.encode().hex() not in shown


def test_the_debug_page_of_django_shows_no_secret() -> None:
    def fail(token: SecretValue) -> None:
        kept = {"value": token, "list": [token]}
        raise ValueError(f"with {kept}")

    try:
        fail(SecretValue(KEY))
    except ValueError:
        reporter = ExceptionReporter(None, *sys.exc_info())
    for shown in (reporter.get_traceback_html(), reporter.get_traceback_text(), repr(reporter.get_traceback_data())):
        assert "SecretValue([REDACTED])" in shown
        assert KEY not in shown


# -- a process of its own ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_denies_what_no_rule_allows_and_shows_it_to_nobody(workers: Workers) -> None:  # noqa: F811 - a fixture
    workers.automate = {**workers.automate, "SECRETS": {"access": [{"refs": ["$env:THE_KEY"], "workflows": ["may"]}]}}
    for slug in ("may", "may-not"):
        publish(define({"name": "$env:THE_KEY"}, "crash.trace", slug))
        run_workflow(slug, {})
    process = workers.start("--drain", THE_KEY=KEY)
    said = b"".join(process.communicate(timeout=60)).decode()
    runs = {run.execution.version.workflow.slug: run for run in ExecutionRun.objects.all()}
    wait_for(lambda: runs["may-not"].status == "FAILED")
    denied = runs["may-not"]
    assert error_of(denied)["code"] == "secret_access_denied"
    assert runs["may"].status == "SUCCESS"
    assert workers.trace() == [KEY]  # the one that may has called the action, and nobody else
    step = denied.steps.get()
    assert (step.status, step.input) == ("FAILED", {"name": "$env:THE_KEY"})
    assert "$env:THE_KEY may not be used by 'crash.trace' in workflow 'may-not'" in error_of(step)["message"]
    assert sorted(trail()) == [
        ("secret.denied", "secret:$env:THE_KEY", f"run:{denied.pk}"),
        ("secret.read", "secret:$env:THE_KEY", f"run:{runs['may'].pk}"),
    ]
    assert "$env:THE_KEY may not be used" in said
    assert KEY not in said + everything()
