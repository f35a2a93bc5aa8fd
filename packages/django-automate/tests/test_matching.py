"""Matching: what listens is known without asking twice, never out of date, and asked only where it can match."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest
from automate import dispatch, matching
from automate.dispatch import Verdict, decide
from automate.errors import InvalidPayloadError, PolicyError, WorkflowNotFound
from automate.events import emit_event, run_workflow
from automate.matching import listeners
from automate.models import Decision, Event, Execution, ListeningStamp, Workflow, WorkflowVersion
from automate.publish import promote, publish
from automate.runtime import versions
from automate.worker.engine import Engine
from automate_core.workflow.compiled import compile_trigger_rule
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.usefixtures("db")

LOG = {"id": "note", "action": "flow.log", "params": {"message": "x"}}


def definition(slug: str, rule: Any = None, *, event: str = "it.happened", message: str = "x") -> dict[str, Any]:
    trigger = {"type": "event", "event": event} | ({} if rule is None else {"rule": rule})
    return {"slug": slug, "trigger": trigger, "steps": [{**LOG, "params": {"message": message}}]}


def about(customer: Any) -> dict[str, Any]:
    return {"and": [{"==": [{"var": "kind"}, "paid"]}, {"==": [{"var": "customer"}, customer]}]}


def event(payload: dict[str, Any] | None = None, type: str = "it.happened", tenant: str = "") -> Event:
    return Event(type=type, payload=payload or {}, tenant=tenant)


def matching_slugs(*arguments: Any, **options: Any) -> list[str]:
    verdicts = decide(event(*arguments, **options), listeners())
    return [verdict.version.workflow.slug for verdict in verdicts if verdict.matched]


def install(count: int, rule_of: Callable[[int], Any], **columns: Any) -> None:
    """Install many workflows at the cost of few statements."""
    made = Workflow.objects.bulk_create([Workflow(slug=f"w-{number:05}", **columns) for number in range(count)])
    workflows = made if made[0].pk else list(Workflow.objects.order_by("slug"))
    WorkflowVersion.objects.bulk_create(
        [
            WorkflowVersion(
                workflow=workflow,
                version_num=1,
                trigger_spec=definition(workflow.slug, rule_of(number))["trigger"],
                steps=[LOG],
                hash=f"{number:064}",
                trigger_event="it.happened",
                live=True,
            )
            for number, workflow in enumerate(workflows)
        ],
        batch_size=1000,
    )


@contextmanager
def statements() -> Iterator[list[str]]:
    found: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        yield found
    found += [query["sql"] for query in captured]


@pytest.fixture(autouse=True)
def only_matches(configured: Any) -> None:
    """Decisions that did not match are not kept, so those that cannot match need not be made."""
    configured(DECISIONS={"non_matches": "none"})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The slugs of the versions whose rules are evaluated."""
    slugs: list[str] = []
    judge = dispatch._judge

    def count(version: WorkflowVersion, event: Event, keep: bool) -> Verdict | None:
        slugs.append(version.workflow.slug)
        return judge(version, event, keep)

    monkeypatch.setattr(dispatch, "_judge", count)
    return slugs


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_a_turn_costs_one_statement_about_what_listens(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []
    decide_all = Engine._decide

    def count(self: Engine, items: Any) -> None:
        turns.extend([len(items)] if items else [])
        decide_all(self, items)

    monkeypatch.setattr(Engine, "_decide", count)
    publish(definition("first"))
    publish(definition("second", event="it.*"))
    emit_event("it.happened", {})
    work()
    turns.clear()
    for _ in range(9):
        emit_event("it.happened", {})
    with statements() as seen:
        work()
    table = ListeningStamp._meta.db_table
    selects = [sql for sql in seen if sql.startswith("SELECT")]
    asked = [sql for sql in selects if table in sql or "enabled" in sql.partition("WHERE")[2]]
    assert sum(turns) == 9
    assert len(asked) == len(turns)
    assert all(table in sql and "JOIN" not in sql for sql in asked)
    assert Execution.objects.count() == 20


def test_only_what_has_changed_is_loaded() -> None:
    for slug in ("first", "second"):
        publish(definition(slug))
    with statements() as seen:
        assert len(listeners()) == 2
    assert len(seen) == 4  # the stamp, which versions there are, what is new of them, the stamp again
    with statements() as seen:
        listeners()
    assert len(seen) == 1
    publish(definition("first"))  # the same again
    with statements() as seen:
        listeners()
    assert len(seen) == 1
    version, _ = publish(definition("first", message="y"))
    with statements() as seen:
        assert len(listeners()) == 2
    assert [str(version.pk) in sql for sql in seen] == [False, False, True, False]
    Workflow.objects.filter(slug="second").update(enabled=False)
    with statements() as seen:
        assert len(listeners()) == 1
    assert len(seen) == 3
    Workflow.objects.update(enabled=False)
    assert len(listeners()) == 0
    with statements() as seen:
        listeners()
    assert len(seen) == 1


def test_of_10000_versions_those_are_asked_whose_equality_holds(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(10_000, lambda number: about(number // 10))
    compiled: list[Any] = []

    def count(spec: Any, engine: Any) -> Any:
        compiled.append(spec)
        return compile_trigger_rule(spec, engine)

    monkeypatch.setattr(matching, "compile_trigger_rule", count)
    verdicts = decide(event({"kind": "paid", "customer": 77}), listeners())
    assert asked == [f"w-{number:05}" for number in range(770, 780)]
    assert all(verdict.matched for verdict in verdicts)
    assert len(compiled) == 10_000
    asked.clear()
    assert decide(event({"kind": "paid"}), listeners()) == []
    publish(definition("one-more", about(77)))
    compiled.clear()
    assert len(decide(event({"kind": "paid", "customer": "77"}), listeners())) == 11
    assert len(asked) == 11
    assert compiled == [about(77)]


def test_compiled_versions_leave_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_MOST", 3)
    versions._cache.clear()
    made = [publish(definition(f"w-{number}"))[0] for number in range(4)]
    first, second, third = (versions.compiled(version) for version in made[:3])
    assert versions.compiled(made[0]) is first
    versions.compiled(made[3])
    assert versions.compiled(made[0]) is first
    assert versions.compiled(made[2]) is third
    assert versions.compiled(made[1]) is not second


def test_a_packed_version_is_the_same_version() -> None:
    publish({**definition("all"), "output": {"a": 1}, "retry": {"max_attempts": 2}})
    stored = WorkflowVersion.objects.select_related("workflow").get()
    (kept,) = listeners().all_for(event())
    with statements() as seen:
        assert kept.definition == stored.definition
        assert versions.compiled(kept) is not None
    assert seen == []
    assert (kept.steps, kept.lock, kept.trigger_spec) == (stored.steps, stored.lock, stored.trigger_spec)


# -- what is decided ---------------------------------------------------------------------------------------------------


def test_patterns_and_rules() -> None:
    publish(definition("exact", {"==": [{"var": "a"}, 1]}))
    publish(definition("below", {"in": [{"var": "a"}, [1, 2]]}, event="it.*"))
    publish(definition("all", event="*"))
    publish({**definition("manual"), "trigger": {"type": "manual"}})
    assert matching_slugs({"a": 1}) == ["all", "below", "exact"]
    assert matching_slugs({"a": "1"}) == ["all", "exact"]
    assert matching_slugs({"a": 2}, type="it.happened.again") == ["all", "below"]
    assert matching_slugs({"a": 2}, type="It.happened") == ["all"]


def test_every_version_of_the_type_and_tenant_is_explained_where_all_decisions_are_kept(
    asked: list[str], configured: Any, work: Any
) -> None:
    for number in range(3):
        publish(definition(f"w-{number}", about(number)))
    publish(definition("other", about(1), event="it.else"))
    publish(definition("of-t", about(1)), tenant="t")
    emit_event("it.happened", {"kind": "paid", "customer": 1})
    work()
    assert asked == ["w-1"]
    assert Decision.objects.count() == 1
    configured(DECISIONS={"non_matches": "all"})
    emit_event("it.happened", {"kind": "paid", "customer": 1})
    work()
    assert asked == ["w-1", "w-0", "w-1", "w-2"]
    assert Decision.objects.filter(matched=False, explanation__isnull=False).count() == 2


def test_a_version_that_cannot_be_compiled_is_asked_and_says_so() -> None:
    publish(definition("sound", {"==": [{"var": "a"}, 1]}))
    publish(definition("broken", {"==": [{"var": "a"}, 1]}))
    broken = WorkflowVersion.objects.filter(workflow__slug="broken")
    broken.update(trigger_spec={**broken.get().trigger_spec, "rule": {"of_a_newer_release": [1]}}, hash="0" * 64)
    (verdict,) = decide(event({"a": 2}), listeners())
    assert "of_a_newer_release" in verdict.error
    assert matching_slugs({"a": 1}) == ["sound"]


# -- tenants -----------------------------------------------------------------------------------------------------------


def test_a_tenants_workflow_is_for_its_events_and_any_other_for_all() -> None:
    publish(definition("shared"))
    for tenant in ("a", "b"):
        publish(definition(f"of-{tenant}"), tenant=tenant)
    assert matching_slugs() == ["shared"]
    assert matching_slugs(tenant="a") == ["of-a", "shared"]
    assert matching_slugs(tenant="c") == ["shared"]
    Workflow.objects.filter(slug="of-b").update(tenant="c")
    assert matching_slugs(tenant="b") == ["shared"]
    assert matching_slugs(tenant="c") == ["of-b", "shared"]


def test_a_slug_of_another_tenant_is_not_taken_over() -> None:
    first, _ = publish(definition("hello"), tenant="a")
    assert first.workflow.tenant == "a"
    for tenant in ("b", ""):
        with pytest.raises(PolicyError, match="for tenant 'a'"):
            publish(definition("hello", message="y"), tenant=tenant)
    assert publish(definition("hello", message="for a"), tenant="a")[1]
    assert publish(definition("hello", message="as before"))[1]
    publish(definition("shared"))
    with pytest.raises(PolicyError, match="every tenant"):
        publish(definition("shared"), tenant="a")
    with pytest.raises(InvalidPayloadError, match="tenant"):
        publish(definition("new"), tenant="x" * 101)
    assert set(Workflow.objects.values_list("slug", "tenant")) == {("hello", "a"), ("shared", "")}


def test_a_tenants_workflow_is_run_for_that_tenant() -> None:
    publish(definition("hello"), tenant="a")
    run_workflow("hello", {})
    run_workflow("hello", {}, tenant="a")
    assert set(Execution.objects.values_list("tenant", flat=True)) == {"a"}
    for other in ("b", ""):
        with pytest.raises(WorkflowNotFound, match="another tenant"):
            run_workflow("hello", {}, tenant=other)
    assert Execution.objects.count() == 2


def test_the_admin_shows_tenants_and_filters_by_them() -> None:
    publish(definition("of-a"), tenant="acme")
    publish(definition("of-b"), tenant="other")
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    page = client.get("/admin/automate/workflow/", {"tenant": "acme"}).content.decode()
    assert "of-a" in page
    assert "of-b" not in page
    assert client.get("/admin/automate/workflowversion/", {"workflow__tenant": "acme"}).status_code == 200


# -- what is seen ------------------------------------------------------------------------------------------------------


def workflow() -> Workflow:
    return Workflow.objects.get(slug="hello")


def disable() -> None:
    row = workflow()
    row.enabled = False
    row.save()


def disable_in_bulk() -> None:
    row = workflow()
    row.enabled = False
    Workflow.objects.bulk_update([row], ["enabled"])


def delete_in_the_admin() -> None:
    Workflow.objects.all().delete()


CHANGES: dict[str, Callable[[], Any]] = {
    "publish": lambda: publish(definition("hello", event="it.else")),
    "save": disable,
    "update": lambda: Workflow.objects.update(enabled=False),
    "bulk_update": disable_in_bulk,
    "delete": lambda: workflow().delete(),
    "delete many": lambda: Workflow.objects.all().delete(),
    "versions": lambda: workflow().versions.update(live=None),
    "a version": lambda: WorkflowVersion.objects.get().delete(),
    "tenant": lambda: Workflow.objects.update(tenant="a"),
    "update_or_create": lambda: Workflow.objects.update_or_create({"enabled": False}, slug="hello"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_with_its_commit_and_not_without(change: str) -> None:
    publish(definition("hello"))
    assert matching_slugs() == ["hello"]
    with transaction.atomic():
        CHANGES[change]()
        assert matching_slugs() == []  # in its own transaction
        assert seen_by_another() == ["hello"] or connection.vendor == "sqlite"
        transaction.set_rollback(True)
    assert matching_slugs() == ["hello"]
    CHANGES[change]()
    assert matching_slugs() == []


def seen_by_another() -> list[str]:
    """What another connection decides; what it has loaded is of no use to us."""
    found: list[list[str]] = []

    def look() -> None:
        with suppress(Exception):  # SQLite in memory shares its cache and its locks
            found.append(matching_slugs())
        connection.close()

    if connection.vendor == "sqlite":
        return []
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("how", ["create", "bulk_create"])
def test_a_row_that_comes_is_seen(how: str) -> None:
    assert matching_slugs() == []
    if how == "create":
        row = Workflow.objects.create(slug="w-00000")
        WorkflowVersion.objects.create(
            workflow=row,
            version_num=1,
            trigger_spec=definition("w-00000")["trigger"],
            steps=[LOG],
            hash="1",
            trigger_event="it.happened",
            live=True,
        )
    else:
        install(1, lambda number: None)
    assert matching_slugs() == ["w-00000"]


def test_a_stamp_that_was_rolled_back_is_never_taken_for_another() -> None:
    publish(definition("hello"))
    for slug in ("rolled-back", "another"):
        with transaction.atomic():
            publish(definition(slug))
            assert slug in matching_slugs()
            transaction.set_rollback(True)
        assert matching_slugs() == ["hello"]
    publish(definition("kept"))
    assert matching_slugs() == ["hello", "kept"]


def test_without_the_row_of_the_stamp_nothing_is_missed() -> None:
    publish(definition("hello"))
    ListeningStamp.objects.all().delete()
    assert matching_slugs() == ["hello"]
    assert ListeningStamp.objects.count() == 1
    ListeningStamp.objects.all().delete()
    Workflow.objects.update(enabled=False)
    assert matching_slugs() == []


def test_what_sql_changes_is_seen_after_a_while_or_with_the_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    publish(definition("hello"))
    assert matching_slugs() == ["hello"]
    with statements() as seen:
        listeners()
    assert len(seen) == 1
    execute("UPDATE automate_workflow SET enabled = %s", [False])
    assert matching_slugs() == ["hello"]
    execute("UPDATE automate_listeningstamp SET stamp = %s", [str(uuid4()) if _has_uuids() else uuid4().hex])
    assert matching_slugs() == []
    execute("UPDATE automate_workflow SET enabled = %s", [True])
    assert matching_slugs() == []
    monkeypatch.setattr(matching, "_LONGEST", -1.0)
    assert matching_slugs() == ["hello"]


def _has_uuids() -> bool:
    return bool(connection.features.has_native_uuid_field)


def execute(sql: str, params: list[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def test_publishers_of_several_workflows_wait_for_each_other_and_not_crosswise() -> None:
    orders = (("a", "b"), ("b", "a"))
    for slug in ("a", "b"):
        publish(definition(slug))
    barrier, problems = threading.Barrier(len(orders)), []

    def several(order: tuple[str, ...]) -> None:
        try:
            for turn in range(10):
                barrier.wait()
                with transaction.atomic():
                    for slug in order:
                        publish(definition(slug, message=f"{order} {turn}"))
        except Exception as error:  # whatever it is, the test is about it
            problems.append(error)
            barrier.abort()
        finally:
            connection.close()

    threads = [threading.Thread(target=several, args=[order]) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert WorkflowVersion.objects.filter(live=True).count() == 2


def test_a_promotion_between_two_looks_leaves_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else both would count as live, and one event would run twice."""
    publish(definition("one"))
    publish(definition("one", message="y"), shadow=True)
    look, promoted = matching._facts, list[WorkflowVersion]()

    def look_and_promote(using: str) -> Any:
        facts = look(using)
        if not promoted:
            promoted.append(promote("one"))
        return facts

    monkeypatch.setattr(matching, "_facts", look_and_promote)
    found = listeners().all_for(event({"kind": "paid"}))
    assert [(version.version_num, version.live, version.shadow) for version in found] == [(2, True, None)]
