"""Large values on every path: emitted, decided about, rendered, called with, returned, resumed, and shown."""

# The fixture that decorates is Any, and a JSON column that may be null is known to be filled where it is read.
# mypy: disable-error-code="untyped-decorator, index"

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from automate import artifacts
from automate.artifacts.files import PrivateStorage
from automate.artifacts.reference import MARK, Reference
from automate.errors import ArtifactUnavailable, DuplicateEventError, InvalidPayloadError, TransientError
from automate.events import emit_event, emit_events, run_workflow
from automate.models import Artifact, ArtifactUse, Decision, Event, Execution, ExecutionRun, StepRun, Workflow
from automate.publish import publish
from automate.runtime import Runtime
from automate_outbox.dead import DeadLetters, Requeued, requeue
from automate_outbox.models import OutboxJob
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.usefixtures("db", "location")


def test_a_context_without_large_values_is_not_copied() -> None:
    context = {"event": {"payload": {"a": 1}}, "steps": {"one": {"output": [1]}}, "execution": {}}
    assert artifacts.reveal(context, None) is context


MIB = 2**20
LARGE = {"plan": "trial", "text": "ä" * 200_000, "rows": [{"id": 1}, {"id": 2.5}]}
HUGE = {**LARGE, "text": "ä" * 4_000_000, "rows": [{"id": n, "name": f"n{n}"} for n in range(70_000)]}


@pytest.fixture
def location(tmp_path: Path, configured: Any) -> Path:
    configured(ARTIFACTS={"location": str(tmp_path / "private"), "grace_hours": 0})
    return tmp_path / "private"


@pytest.fixture
def echo(actions: Any) -> list[Any]:
    """A workflow that takes a payload in and gives it back, and what its action was called with."""
    seen: list[Any] = []

    @actions("echo")
    def echo(data: Any) -> Any:
        seen.append(data)
        return data

    @actions("size")
    def size(text: str) -> int:
        return len(text)

    publish(
        {
            "slug": "echo",
            "trigger": {"type": "event", "event": "a.b", "rule": {"==": [{"var": "rows.1.id"}, 2.5]}},
            "steps": [
                {"id": "echo", "action": "test.echo", "params": {"data": "{{ event.payload }}"}},
                {
                    "id": "size",
                    "action": "test.size",
                    "if": {"==": [{"var": "steps.echo.output.plan"}, "trial"]},
                    "params": {"text": "<{{ steps.echo.output.text }}>"},
                },
            ],
            "output": {"back": "{{ steps.echo.output }}", "size": "{{ steps.size.output }}"},
        }
    )
    return seen


@pytest.fixture
def admin_pages() -> Iterator[Any]:
    """Log a member of staff with some permissions in: ``admin_pages("view_event")``."""

    def log_in(*permissions: str) -> Client:
        user = User.objects.create_user(f"user{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    yield log_in
    User.objects.all().delete()


def largest_columns() -> int:
    """Return the length of the longest JSON text in any row of the tables that hold values."""
    longest = 0
    with connection.cursor() as cursor:
        for model, names in (
            (Event, "payload"),
            (Execution, "context"),
            (ExecutionRun, "outputs"),
            (StepRun, "input, output"),
        ):
            cursor.execute(f"SELECT {names} FROM {model._meta.db_table}")
            longest = max([longest, *(len(str(value)) for row in cursor.fetchall() for value in row)])
    return longest


def refuse(monkeypatch: pytest.MonkeyPatch, method: str, error: Exception, times: int = 10**9) -> None:
    """Let a method of the storage fail so many times."""
    left, original = [times], getattr(PrivateStorage, method)

    def call(*args: Any, **kwargs: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(PrivateStorage, method, call)


# -- the way through ---------------------------------------------------------------------------------------------------


def test_ten_megabytes_through_rule_template_and_back(
    echo: list[Any], work: Any, configured: Any, location: Path
) -> None:
    configured(
        EVENTS={"max_payload_bytes": 12 * MIB},
        EXECUTION={"max_output_bytes": 12 * MIB},
        ARTIFACTS={"location": str(location), "grace_hours": 0},
    )
    huge = {**HUGE, "rows": [{"id": 1}, {"id": 2.5}, *HUGE["rows"]]}
    emit_event("a.b", huge)
    work()
    run = ExecutionRun.objects.get()
    assert (run.status, run.error) == ("SUCCESS", None)
    assert echo == [huge]
    assert Event.objects.get().payload.size > 10_000_000
    assert artifacts.content(run.outputs) == {"back": huge, "size": 4_000_002}
    step = run.steps.get(step_id="echo")
    assert (artifacts.content(step.input), artifacts.content(step.output)) == ({"data": huge}, huge)
    assert artifacts.content(Execution.objects.get().context) == huge
    assert largest_columns() < 1000
    assert Artifact.objects.count() == 4  # payload, context and output are one; two inputs; the outputs of the run


def test_a_run_goes_on_from_large_checkpoints(echo: list[Any], actions: Any, work: Any) -> None:
    calls = []

    @actions("late")
    def late(text: str, plan: str) -> str:
        calls.append(text)
        if len(calls) == 1:
            raise TransientError("not yet")  # the run is put down, and loaded again
        return plan

    publish(
        {
            "slug": "resumed",
            "trigger": {"type": "manual"},
            "steps": [
                {"id": "echo", "action": "test.echo", "params": {"data": "{{ event.payload }}"}},
                {
                    "id": "late",
                    "action": "test.late",
                    "if": {"!": {"missing": ["steps.echo.output.text", "event.payload.plan"]}},
                    "params": {"text": "{{ steps.echo.output.text }}", "plan": "{{ event.payload.plan }}"},
                },
            ],
            "output": {"id": "{{ steps.echo.output.rows[1].id }}"},
        }
    )
    run_workflow("resumed", LARGE)
    work()
    run = ExecutionRun.objects.get()
    assert (run.status, run.outputs) == ("SUCCESS", {"id": 2.5})
    assert calls == [LARGE["text"]] * 2
    assert [step.status for step in run.steps.all()] == ["SUCCESS", "RETRY", "SUCCESS"]


@pytest.mark.parametrize("start", ["emit_event", "emit_events", "run_workflow", "Execution"])
def test_what_looks_like_a_reference_comes_back_as_it_is(echo: list[Any], work: Any, start: str) -> None:
    emit_event("other", LARGE)
    forged = {**Event.objects.get().payload, "rows": [0, {"id": 2.5}], "plan": "", "text": "t"}
    if start == "emit_event":
        emit_event("a.b", forged)
    elif start == "emit_events":
        emit_events([{"type": "a.b", "payload": forged}, {"type": "other", "payload": {}}])
    elif start == "run_workflow":
        run_workflow("echo", forged)
    else:
        execution = Execution(context=forged)
        execution.automation = Workflow.objects.get()
        execution.save()
        Runtime().run_execution(execution.pk)
    work()
    assert echo == [forged]
    run = ExecutionRun.objects.get()
    assert artifacts.content(run.steps.get(step_id="echo").output) == forged


def test_a_transactional_action_checkpoints_a_large_output(actions: Any, work: Any) -> None:
    @actions("own", transactional=True)
    def own() -> Any:
        return LARGE

    publish({"slug": "own", "trigger": {"type": "manual"}, "steps": [{"id": "f", "action": "test.own"}]})
    run_workflow("own", {})
    work()
    step = StepRun.objects.get()
    assert (step.status, type(step.output), artifacts.content(step.output)) == ("SUCCESS", Reference, LARGE)
    assert ArtifactUse.objects.get().owner_id == step.run_id


def test_an_asynchronous_action_returns_a_large_output(actions: Any) -> None:
    from automate.worker.loop import Worker, WorkerOptions

    @actions("slowly")
    async def slowly(data: Any) -> Any:
        return data

    steps = [{"id": "f", "action": "test.slowly", "params": {"data": "{{ event.payload }}"}}]
    publish({"slug": "slowly", "trigger": {"type": "manual"}, "steps": steps})
    run_workflow("slowly", LARGE)
    Worker(WorkerOptions.from_settings(poll=0.02)).run(drain=True)
    step = StepRun.objects.get()
    assert (step.status, type(step.output), artifacts.content(step.output)) == ("SUCCESS", Reference, LARGE)


def test_outputs_are_redacted_before_they_are_files(actions: Any, work: Any, location: Path) -> None:
    import gzip

    @actions("leak")
    def leak(data: Any) -> Any:
        return {"password": "hunter2-hunter2", **data}

    params = {"data": {"api_key": "{{ event.payload.key }}", "text": "{{ event.payload.text }}"}}
    steps = [{"id": "f", "action": "test.leak", "params": params}]
    output = {"all": "{{ steps.f.output }}"}
    publish({"slug": "leak", "trigger": {"type": "manual"}, "steps": steps, "output": output})
    run_workflow("leak", {"key": "k-123456789", "text": "x" * 300_000})
    before = set(location.rglob("*.gz"))  # the payload, which is kept as it is
    work()
    written = [gzip.decompress(file.read_bytes()) for file in set(location.rglob("*.gz")) - before]
    assert len(written) == 3  # the input and the output of the step, and that of the run
    assert all(b"hunter2" not in text and b"k-123456789" not in text and b"[REDACTED]" in text for text in written)


def test_dedupe_keys_tell_large_payloads_apart(configured: Any, location: Path) -> None:
    first = emit_event("a.b", LARGE, "k")
    assert emit_event("a.b", dict(reversed(LARGE.items())), "k") == first
    with pytest.raises(DuplicateEventError):
        emit_event("a.b", {**LARGE, "plan": "paid"}, "k")
    configured(EXECUTION={"inline_bytes": MIB}, ARTIFACTS={"location": str(location)})
    assert emit_event("a.b", LARGE, "k") == first
    assert Event.objects.count() == 1


def test_small_values_pay_nothing(echo: list[Any], work: Any, location: Path) -> None:
    with CaptureQueriesContext(connection) as queries:
        emit_event("a.b", {"plan": "trial", "text": "t", "rows": [0, {"id": 2.5}]})
        emit_events([{"type": "x", "payload": {}}] * 3)
        run_workflow("echo", {"plan": "", "text": "t"})
        work()
    assert ExecutionRun.objects.filter(status="SUCCESS").count() == 2
    assert len(queries) > 5
    assert [query["sql"] for query in queries if "automate_artifact" in query["sql"]] == []
    assert not location.exists()


def test_all_of_it_is_collected_when_its_owners_are_gone(echo: list[Any], work: Any, location: Path) -> None:
    emit_event("a.b", LARGE)
    work()
    assert artifacts.collect() == 0
    kept = len(list(location.rglob("*.gz")))
    assert kept == Artifact.objects.count() == 4
    events: Any = Event.objects.all()
    events._raw_delete(events.db)
    assert artifacts.collect() == 0, "the execution still uses its context"
    Execution.objects.all().delete()
    assert artifacts.collect() == 4
    assert list(location.rglob("*.gz")) == []


def test_an_execution_holds_its_context_beyond_its_event(work: Any) -> None:
    steps = [{"id": "f", "action": "flow.log", "params": {"message": "{{ event.payload.plan }}"}}]
    publish({"slug": "log", "trigger": {"type": "event", "event": "a.b"}, "steps": steps})
    emit_event("a.b", LARGE)
    work()
    events: Any = Event.objects.all()
    events._raw_delete(events.db)
    assert artifacts.collect() == 0
    assert artifacts.content(Execution.objects.get().context) == LARGE
    Execution.objects.all().delete()
    assert artifacts.collect() == 1


def test_a_run_that_carries_on_a_dead_one_holds_its_checkpoints(actions: Any, work: Any) -> None:
    calls = []

    @actions("make")
    def make() -> Any:
        calls.append(1)
        return LARGE

    steps = [
        {"id": "make", "action": "test.make"},
        {"id": "use", "action": "flow.log", "params": {"message": "{{ steps.make.output.plan }}"}},
    ]
    publish({"slug": "make", "trigger": {"type": "manual"}, "steps": steps})
    run_workflow("make", {})
    work()
    # As if the worker had crashed over the second step too often.
    StepRun.objects.filter(step_id="use").delete()
    for model in (Execution, ExecutionRun):
        model._default_manager.update(status="FAILED")
    OutboxJob.objects.filter(kind="automate.run").update(status="FAILED")
    dead = ExecutionRun.objects.get()
    assert requeue(DeadLetters(), actor="me") == Requeued(1, 0)
    dead.delete()
    assert artifacts.collect() == 0
    work()
    run = ExecutionRun.objects.get()
    assert (run.status, run.number, len(calls)) == ("SUCCESS", 2, 1)
    assert artifacts.content(run.steps.get(step_id="make").output) == LARGE


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_the_largest_value_that_is_accepted(echo: list[Any], actions: Any, work: Any) -> None:
    over = {"text": "x" * 10 * MIB}
    emits: list[Callable[[], str]] = [lambda: emit_event("a.b", over), lambda: run_workflow("echo", over)]
    for emit in emits:
        with pytest.raises(InvalidPayloadError, match="larger than 10485760 bytes"):
            emit()
    assert (Event.objects.count(), Execution.objects.count(), OutboxJob.objects.count()) == (0, 0, 0)

    @actions("grow")
    def grow() -> Any:
        return over

    publish({"slug": "grow", "trigger": {"type": "manual"}, "steps": [{"id": "f", "action": "test.grow"}]})
    run_workflow("grow", {})
    work()
    assert ExecutionRun.objects.get().error["code"] == "invalid_payload"


# -- the admin ---------------------------------------------------------------------------------------------------------


def test_the_admin_links_to_a_large_value_and_sends_it_to_those_who_may_see_it(
    admin_pages: Any, location: Path
) -> None:
    event_id = emit_event("a.b", {**LARGE, "password": "hunter2-hunter2"})
    artifact = Artifact.objects.get()
    content = f"/admin/automate/artifact/{artifact.pk}/content/"
    owner = admin_pages("view_event", "view_artifact", "view_artifactuse")
    shown = owner.get(f"/admin/automate/event/{event_id}/change/").content.decode()
    assert f"{artifact.bytes} bytes" in shown
    assert artifact.pk in shown
    assert LARGE["text"] not in shown
    page = owner.get(f"/admin/automate/artifact/{artifact.pk}/change/").content.decode()
    assert content in page
    assert event_id in page
    answer = owner.get(content)
    assert answer.json() == {**LARGE, "password": "[REDACTED]"}
    assert answer["Content-Disposition"] == f'attachment; filename="{artifact.pk}.json"'
    assert admin_pages("view_event").get(content).status_code == 403
    assert owner.get(content.replace(artifact.pk, "0" * 64)).status_code == 404
    for file in location.rglob("*.gz"):
        file.unlink()
    assert "has no file" in owner.get(content, follow=True).content.decode()


# -- the storage fails -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["emit_event", "emit_events", "with a key", "run_workflow"])
def test_nothing_is_written_where_the_storage_takes_nothing(
    echo: list[Any], monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "emit_event": lambda: emit_event("a.b", LARGE),
        "emit_events": lambda: emit_events([{"type": "x", "payload": {}}, {"type": "a.b", "payload": LARGE}]),
        "with a key": lambda: emit_event("a.b", LARGE, "k"),
        "run_workflow": lambda: run_workflow("echo", LARGE),
    }
    full = OSError(errno.ENOSPC, "No space left on device")
    refuse(monkeypatch, "_save", full)
    with transaction.atomic():
        with pytest.raises(ArtifactUnavailable, match="No space left") as caught:
            calls[start]()
        assert caught.value.retryable
        emit_event("small", {})  # the caller's transaction can go on
    assert list(Event.objects.values_list("type", flat=True)) == ["small"]
    assert (Execution.objects.count(), OutboxJob.objects.count(), Artifact.objects.count()) == (0, 1, 0)


def test_a_storage_that_goes_away_within_the_transaction_leaves_it_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, exists = [], PrivateStorage.exists

    def once(self: Any, name: str) -> bool:
        calls.append(name)
        if len(calls) > 1:
            raise OSError("away")
        return exists(self, name)

    monkeypatch.setattr(PrivateStorage, "exists", once)
    with transaction.atomic():
        with pytest.raises(ArtifactUnavailable, match="away"):
            emit_event("a.b", LARGE)
        emit_event("small", {})
    assert list(Event.objects.values_list("type", flat=True)) == ["small"]
    assert (Artifact.objects.count(), ArtifactUse.objects.count()) == (0, 0)


def test_a_result_that_the_storage_does_not_take_stays_in_its_row(
    echo: list[Any], work: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    emit_event("a.b", LARGE)
    away = OSError("away")
    refuse(monkeypatch, "_save", away)
    with caplog.at_level(logging.WARNING, "automate.artifacts"):
        work()
    run = ExecutionRun.objects.get()
    assert (run.status, len(echo)) == ("SUCCESS", 1), "what was done is not done again"
    assert run.steps.get(step_id="size").input == {"text": f"<{LARGE['text']}>"}
    assert "kept in its row" in caplog.text


def test_a_storage_that_goes_away_before_the_checkpoint_does_not_repeat_a_step(
    echo: list[Any], work: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    emit_event("a.b", LARGE)

    def away(reference: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(PrivateStorage, "exists", lambda self, name: (_ for _ in ()).throw(OSError("away")))
            artifacts.save(reference)

    monkeypatch.setattr("automate.artifacts.uses.save", away)
    with caplog.at_level(logging.WARNING, "automate.artifacts"):
        work()
    run = ExecutionRun.objects.get()
    assert (run.status, len(echo)) == ("SUCCESS", 1), "what was done is not done again"
    assert run.steps.get(step_id="size").input == {"text": f"<{LARGE['text']}>"}
    assert set(OutboxJob.objects.values_list("attempts", flat=True)) == {1}
    assert "kept in its row" in caplog.text


def test_a_storage_that_cannot_be_read_is_waited_for(
    echo: list[Any], work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(
        {
            "slug": "plain",
            "trigger": {"type": "event", "event": "plain"},
            "steps": [{"id": "echo", "action": "test.echo", "params": {"data": "{{ event.payload }}"}}],
        }
    )
    emit_event("plain", LARGE)
    refuse(monkeypatch, "_open", OSError("away"), times=1)
    work()
    first, second = StepRun.objects.all()
    assert (first.status, first.error["code"]) == ("RETRY", "artifact_unavailable")
    assert (second.status, echo) == ("SUCCESS", [LARGE])


def test_a_rule_that_cannot_read_its_event_is_asked_again(
    echo: list[Any], work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit_event("a.b", LARGE)
    small = emit_event("a.b", {"rows": [0, {"id": 2.5}], "plan": "", "text": ""})
    refuse(monkeypatch, "_open", OSError("away"), times=1)
    work()
    assert len(echo) == 2
    assert sorted(Decision.objects.values_list("matched", "error")) == [(True, ""), (True, "")]
    assert Execution.objects.filter(event_id=small).exists()


def test_a_damaged_file_fails_the_step_for_good(echo: list[Any], work: Any, location: Path) -> None:
    publish(
        {
            "slug": "plain",
            "trigger": {"type": "event", "event": "plain"},
            "steps": [{"id": "echo", "action": "test.echo", "params": {"data": "{{ event.payload }}"}}],
        }
    )
    emit_event("plain", LARGE)
    emit_event("a.b", {**LARGE, "plan": "other"})
    for file in location.rglob("*.gz"):
        file.write_bytes(b"damaged")
    work()
    assert (StepRun.objects.get().error["code"], echo) == ("artifact_corrupt", [])
    assert ExecutionRun.objects.get().status == "FAILED"
    dead = OutboxJob.objects.get(status="FAILED")
    assert "ArtifactCorrupt" in dead.last_error, "its rule could not be asked: a dead letter, and no decision"
    assert Decision.objects.filter(event_id=dead.payload["event_id"]).count() == 0
    assert MARK not in dead.last_error
