"""A shadow is asked about every event, and never runs; which decisions are stored, of it and of others."""

# The fixture that decorates is Any, and a JSON column that may be null is known to be filled where it is read.
# mypy: disable-error-code="untyped-decorator, index"

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from automate.builder import definitions, workflow
from automate.doctor import examine
from automate.errors import InvalidDefinitionError, WorkflowNotFound
from automate.events import emit_event, run_workflow
from automate.matching import listeners
from automate.models import AuditLogEntry, Decision, Event, Execution, Workflow, WorkflowVersion
from automate.publish import drop_shadow, promote, publish
from automate.signals import workflow_completed, workflow_started
from automate.worker.loop import Worker, WorkerOptions
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.usefixtures("db")

LOG = {"id": "note", "action": "flow.log", "params": {"message": "x"}}


def refunds(at_least: Any, **more: Any) -> dict[str, Any]:
    rule = {">=": [{"var": "amount"}, at_least]}
    return {
        "slug": "refunds",
        "trigger": {"type": "event", "event": "order.paid", "rule": rule},
        "steps": [LOG],
        **more,
    }


def standing() -> dict[str, int]:
    rows = WorkflowVersion.objects.exclude(live=None, shadow=None)
    return {"live" if row.live else "shadow": row.version_num for row in rows}


def said() -> list[tuple[int, bool, bool]]:
    """Version, whether as a shadow, whether it matched; of each decision."""
    return sorted(Decision.objects.values_list("version__version_num", "shadow", "matched"))


# -- what is the shadow ------------------------------------------------------------------------------------------------


def test_a_shadow_stands_beside_the_live_version_until_the_next_one_or_its_promotion() -> None:
    publish(refunds(100))
    shadow, new = publish(refunds(50), shadow=True)
    assert (new, shadow.shadow, shadow.live) == (True, True, None)
    assert standing() == {"live": 1, "shadow": 2}
    assert publish(refunds(50), shadow=True) == (shadow, False)
    assert publish(refunds(100), shadow=True)[1] is False  # it is live already
    assert standing() == {"live": 1, "shadow": 2}
    publish(refunds(60), shadow=True)
    assert standing() == {"live": 1, "shadow": 3}
    publish(refunds(70))
    assert standing() == {"live": 4, "shadow": 3}
    version, changed = publish(refunds(60))
    assert (version.version_num, version.live, version.shadow, changed) == (3, True, None, True)
    assert standing() == {"live": 3}
    assert publish(refunds(60))[1] is False
    assert Workflow.objects.get().live_version == version


def test_promote_and_drop_are_done_by_name_and_audited() -> None:
    publish(refunds(100), actor="ann")
    with pytest.raises(WorkflowNotFound, match=r"'refunds' has no shadow: publish one with publish\("):
        promote("refunds")
    with pytest.raises(WorkflowNotFound, match=r"There is no workflow 'nobody'\. Known: refunds"):
        drop_shadow("nobody")
    publish(refunds(50), shadow=True, actor="ben")
    assert drop_shadow("refunds", actor="cid").version_num == 2
    assert standing() == {"live": 1}
    publish(refunds(50), shadow=True)
    assert promote("refunds", actor="dan").version_num == 3
    assert standing() == {"live": 3}
    assert not Workflow.objects.exclude(slug="refunds").exists()
    trail = AuditLogEntry.objects.order_by("pk").values_list("actor", "action", "details__version", "resource")
    assert [row[:3] for row in trail] == [
        ("ann", "workflow.published", 1),
        ("ben", "workflow.shadow_published", 2),
        ("cid", "workflow.shadow_dropped", 2),
        ("system", "workflow.shadow_published", 3),
        ("dan", "workflow.shadow_promoted", 3),
    ]
    assert {row[3] for row in trail} == {"workflow:refunds"}


def test_a_promoted_version_is_checked_again_and_remembers_what_its_actions_are_then(actions: Any) -> None:
    from automate_core.registry import registry

    @actions("send", version="1")
    def send(to: str) -> None: ...

    steps = [{"id": "s", "action": "test.send", "params": {"to": "x"}}]
    publish(refunds(50, steps=steps), shadow=True)
    registry.remove("connectors", "test")
    with pytest.raises(InvalidDefinitionError, match="connector 'test'"):
        promote("refunds")
    assert standing() == {"shadow": 1}

    @actions("send", version="2")
    def send_it(to: str, subject: str = "") -> None: ...

    old = WorkflowVersion.objects.get().lock
    assert promote("refunds").lock == WorkflowVersion.objects.get().lock != old
    assert WorkflowVersion.objects.get().lock["test.send"]["version"] == "2"


def test_a_version_keeps_in_which_dialect_its_rules_were_published(configured: Any) -> None:
    plain = {**refunds(50), "slug": "plain", "trigger": {"type": "manual"}}
    first, _ = publish(refunds(50))
    publish(plain)
    assert first.lock["rules"] == {"dialect": "classic"}
    assert [found for found in examine() if "RULES" in found.message + found.remedy] == []

    configured(RULES={"dialect": "community"})
    (told,) = [found for found in examine() if "RULES" in found.message]
    assert (told.level, str(first) in told.message, "'classic'" in told.message) == ("warning", True, True)
    assert publish(plain)[1] is False  # it has no rules
    second, changed = publish(refunds(50))
    assert (changed, second.version_num, second.hash == first.hash) == (True, 2, True)
    assert publish(refunds(50)) == (second, False)
    assert [found for found in examine() if "RULES" in found.message] == []


def test_the_doctor_tells_rules_that_the_settings_have_no_operators_for_any_more(configured: Any) -> None:
    configured(RULES={"extensions": ["text"]})
    rule = {"==": [{"lower": {"var": "plan"}}, "gold"]}
    publish(refunds(0, trigger={"type": "event", "event": "order.paid", "rule": rule}))
    configured(RULES={})
    (told,) = [found for found in examine() if "RULES" in found.message]
    assert told.level == "error"
    assert "The extension 'text' has it" in told.message


def test_the_database_allows_one_shadow() -> None:
    first, _ = publish(refunds(50), shadow=True)
    twin = WorkflowVersion(workflow=first.workflow, version_num=2, trigger_spec={}, steps=[], hash="other", shadow=True)
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()


def test_a_workflow_that_is_only_a_shadow_cannot_be_run() -> None:
    publish(refunds(50), shadow=True)
    with pytest.raises(WorkflowNotFound, match=r"only a shadow version, v1, .*automate workflows promote refunds"):
        run_workflow("refunds", {})
    with pytest.raises(WorkflowNotFound, match="only a shadow"):
        Workflow.objects.get().live_version  # noqa: B018 - it raises
    promote("refunds")
    run_workflow("refunds", {"amount": 1})


def test_automate_sync_publishes_what_is_marked_as_a_shadow(fresh_definitions: None) -> None:
    def define(at_least: int, *, shadow: bool = False) -> None:
        definitions.clear()
        with workflow("w", on="order.paid", when={">=": [{"var": "amount"}, at_least]}, shadow=shadow) as w:
            w.step("a", "flow.log", message="x")

    def sync(**options: Any) -> Any:
        out = io.StringIO()
        call_command("automate_sync", stdout=out, json=True, **options)
        (row,) = json.loads(out.getvalue())
        return row["version"], row["shadow"], row["changed"]

    define(100)
    assert sync() == (1, False, True)
    define(50, shadow=True)
    with pytest.raises(CommandError, match="not published"):
        sync(check=True)
    assert sync() == (2, True, True)
    assert sync() == sync(check=True) == (2, True, False)
    assert standing() == {"live": 1, "shadow": 2}
    out = io.StringIO()
    call_command("automate_sync", stdout=out)
    assert out.getvalue() == "w  v2  unchanged as shadow\n"
    promote("w")
    assert sync() == sync(check=True) == (2, False, False)  # still marked, and live by now
    define(60, shadow=True)
    sync()
    define(60)
    with pytest.raises(CommandError, match="not published"):
        sync(check=True)
    assert sync() == (3, False, True)
    assert standing() == {"live": 3}


def test_the_doctor_knows_shadows(fresh_definitions: None) -> None:
    from automate.doctor import examine

    def told() -> list[str]:
        return [finding.message for finding in examine() if finding.name == "workflows"]

    with workflow("w", on="order.paid", shadow=True) as w:
        w.step("a", "flow.log", message="x")
    assert told() == ["not published: w", "0 live, 0 in shadow"]
    call_command("automate_sync", stdout=io.StringIO())
    assert told() == ["0 live, 1 in shadow"]
    promote("w")
    assert told() == ["1 live, 0 in shadow"]


# -- what it does ------------------------------------------------------------------------------------------------------


def test_a_shadow_decides_and_never_runs(work: Any) -> None:
    started: list[Any] = []

    def note(sender: Any, run: Any, **_: Any) -> None:
        started.append(run.execution.version.version_num)

    workflow_started.connect(note)
    workflow_completed.connect(note)
    try:
        publish(refunds(100))
        publish(refunds(50), shadow=True)
        for amount in (120, 70, 10):
            emit_event("order.paid", {"amount": amount})
        work()
    finally:
        workflow_started.disconnect(note)
        workflow_completed.disconnect(note)
    assert said() == [(1, False, False)] * 2 + [(1, False, True)] + [(2, True, False)] + [(2, True, True)] * 2
    assert list(Execution.objects.values_list("version__version_num", flat=True)) == [1]
    assert started == [1, 1]
    explained = Decision.objects.filter(shadow=True).order_by("-pk").values_list("explanation", flat=True)
    assert [tree["reason"] for tree in explained][-1:] == ["amount is 120, which is at least 50"]
    assert all(explained)


def test_a_shadow_of_what_is_not_there_or_is_disabled(work: Any) -> None:
    publish(refunds(50), shadow=True)
    emit_event("order.paid", {"amount": 70})
    work()
    assert said() == [(1, True, True)]
    Workflow.objects.update(enabled=False)
    emit_event("order.paid", {"amount": 70})
    work()
    assert said() == [(1, True, True)]
    assert not Execution.objects.exists()


def test_what_was_decided_in_the_shadow_stays_so_after_the_promotion(work: Any) -> None:
    publish(refunds(50), shadow=True)
    emit_event("order.paid", {"amount": 70})
    work()
    promote("refunds")
    emit_event("order.paid", {"amount": 80})
    work()
    assert said() == [(1, False, True), (1, True, True)]
    assert Execution.objects.count() == 1


def test_a_shadow_takes_no_place_of_a_concurrency_key(work: Any) -> None:
    one = {"key": "{{ event.payload.customer }}", "mode": "skip"}
    publish(refunds(100, concurrency=one))
    publish(refunds(50, concurrency=one), shadow=True)
    for amount in (70, 120):
        emit_event("order.paid", {"amount": amount, "customer": 7})
    work()
    assert not Decision.objects.exclude(reason="").exists()
    assert Execution.objects.filter(status="SUCCESS").count() == 1
    broken = {"key": "{{ event.payload.nobody.home }}", "mode": "skip"}
    publish(refunds(50, concurrency=broken), shadow=True)
    emit_event("order.paid", {"amount": 70})
    work()
    shadowed = Decision.objects.filter(shadow=True).latest("pk")
    assert (shadowed.matched, "nobody" in shadowed.error) == (False, True)  # as it would be if it were live


def dispatching(count: int) -> list[str]:
    """Return the first words of the statements that a worker needs to decide about events."""
    for _ in range(count):
        emit_event("order.paid", {"amount": 10})
    with CaptureQueriesContext(connection) as captured:
        Worker(WorkerOptions.from_settings(concurrency=count)).run(once=True)
    return [query["sql"].split()[0] for query in captured]


def test_a_shadow_costs_no_statement_and_no_commit() -> None:
    publish(refunds(100))
    dispatching(5)
    alone = dispatching(5)
    publish(refunds(50), shadow=True)
    dispatching(5)  # what listens now is looked up once
    assert dispatching(5) == alone
    assert Decision.objects.filter(shadow=True).count() == 10
    event = Event.objects.first()
    assert event is not None
    with CaptureQueriesContext(connection) as captured:
        assert [str(version) for version in listeners().all_for(event)] == ["refunds v1", "refunds v2"]
    assert len(captured) == 1


def test_the_admin_tells_shadows_apart(work: Any) -> None:
    from django.contrib.auth.models import User

    publish(refunds(100))
    publish(refunds(50), shadow=True)
    emit_event("order.paid", {"amount": 70})
    work()
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x"))
    listed = client.get("/admin/automate/decision/", {"shadow__exact": 1})
    assert b"1 decision\n" in listed.content
    assert b"amount is 70, which is at least 50" in listed.content
    versions = client.get("/admin/automate/workflowversion/", {"shadow__exact": 1})
    assert b"1 workflow version\n" in versions.content
    page = client.get(f"/admin/automate/decision/{Decision.objects.get(shadow=True).pk}/change/")
    assert b"Shadow" in page.content


# -- which decisions are stored ----------------------------------------------------------------------------------------


def test_sampling_stores_all_that_did_not_match_of_some_events_or_none(configured: Any, work: Any) -> None:
    publish(refunds(100))
    publish(refunds(50), shadow=True)
    publish({**refunds(1000), "slug": "large"})
    configured(DECISIONS={"non_matches": "sampled", "sample_rate": 0.4})
    events = [emit_event("order.paid", {"amount": 70}) for _ in range(60)]
    work()
    by_event: dict[str, set[tuple[str, int]]] = {}
    for decision in Decision.objects.select_related("version__workflow"):
        key = decision.version.workflow.slug, decision.version.version_num
        by_event.setdefault(str(decision.event_id), set()).add(key)
    assert set(by_event) == set(events)  # the shadow matched each of them, and a match is always stored
    kinds = {frozenset(found) for found in by_event.values()}
    everything = {("refunds", 1), ("refunds", 2), ("large", 1)}
    assert kinds == {frozenset(everything), frozenset({("refunds", 2)})}


def test_a_repeated_dispatch_samples_the_same_events(configured: Any) -> None:
    from automate.dispatch import _keeps_non_matches
    from automate_core.ids import uuid7

    ids = [uuid7() for _ in range(4000)]
    configured(DECISIONS={"non_matches": "sampled", "sample_rate": 0.25})
    kept = [_keeps_non_matches(key) for key in ids]
    assert kept == [_keeps_non_matches(key) for key in ids]
    assert 0.2 < sum(kept) / len(kept) < 0.3
    configured(DECISIONS={"non_matches": "sampled", "sample_rate": 0.5})
    assert all(_keeps_non_matches(key) for key, was in zip(ids, kept, strict=True) if was)  # a larger share holds it
    for rate, share in ((0, 0), (1, 1)):
        configured(DECISIONS={"non_matches": "sampled", "sample_rate": rate})
        assert sum(map(_keeps_non_matches, ids)) == share * len(ids)


@pytest.mark.parametrize("policy", [{"non_matches": "none"}, {"non_matches": "sampled", "sample_rate": 0}])
def test_a_rule_that_cannot_be_evaluated_is_always_stored(configured: Any, work: Any, policy: Any) -> None:
    configured(DECISIONS=policy)
    doubled = {"cat": [{"var": "accumulator"}, {"var": "accumulator"}]}
    rule = {"reduce": [{"var": "items"}, doubled, "x"]}
    trigger = {"type": "event", "event": "order.paid", "rule": rule}
    publish({"slug": "costly", "trigger": trigger, "steps": [LOG]}, shadow=True)
    publish(refunds(100))
    emit_event("order.paid", {"amount": 1, "items": list(range(100))})
    work()
    stored = Decision.objects.get()
    assert (stored.matched, stored.shadow, stored.explanation) == (False, True, None)
    assert "1,000,000" in stored.error
