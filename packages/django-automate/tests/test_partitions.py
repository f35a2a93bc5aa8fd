"""Events become partitions while emitters write, whenever the conversion is killed, and old months go as a whole."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import io
import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from automate import partitions, retention
from automate.errors import AuditChainBroken, AutomateError, ConfigurationError
from automate.events import emit_event
from automate.models import AuditLogEntry, Decision, Event
from automate.partitions import conversion, locks, upkeep
from automate.partitions.catalog import BOUND, DEFAULT, LEGACY, SHADOW, Catalog, time_of
from automate.partitions.months import bounds, month_of, months, name_of, next_month
from automate.size import measure
from automate_core.ids import uuid7_floor
from automate_outbox.store.functions import FEW
from django.core.management import CommandError, call_command
from django.db import IntegrityError, ProgrammingError, connection, connections, transaction
from django.utils import timezone
from history import ago, decision_about, event_at, events_at, execution_at, id_at, job_at

on_postgres = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="partitions are PostgreSQL's")
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)


def execute(*statements: str) -> None:
    Catalog("default").execute(*statements)


def query(statement: str) -> list[Any]:
    return Catalog("default").query(statement)


def names() -> list[str]:
    return [part.name for part in Catalog("default").partitions()]


def convert() -> list[str]:
    steps: list[str] = []
    partitions.convert(steps.append)
    return steps


def sweep() -> retention.Report:
    return retention.sweep(math.inf)


@pytest.fixture
def plain(db: None, configured: Any) -> Iterator[None]:
    """The plain table of events, which is put back after the test."""
    configured(EVENTS={"partition": True}, RETENTION={"pause_seconds": 0})
    saved = query("SELECT pg_get_viewdef('automate_event_change'::regclass)")[0][0]
    execute("CREATE TABLE automate_event_saved (LIKE automate_event INCLUDING ALL)")
    indexes = query("SELECT indexname FROM pg_indexes WHERE tablename = 'automate_event' ORDER BY indexdef")
    yield
    execute("DROP VIEW automate_event_change", "DROP TABLE automate_event CASCADE")
    execute(f"DROP TABLE IF EXISTS {SHADOW}", f"DROP TABLE IF EXISTS {LEGACY}")
    execute("ALTER TABLE automate_event_saved RENAME TO automate_event")
    now = query("SELECT indexname FROM pg_indexes WHERE tablename = 'automate_event' ORDER BY indexdef")
    for (old,), (new,) in zip(indexes, now, strict=True):
        execute(f'ALTER INDEX "{new}" RENAME TO "{old}"')
    execute(f"ALTER TABLE automate_event DROP CONSTRAINT IF EXISTS {BOUND}")
    execute(f"CREATE VIEW automate_event_change AS {saved}")


def called_functions(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    assert "INSERT INTO automate_event" not in sql
    return execute(sql, params, many, context)


@contextmanager
def holding_the_events() -> Iterator[None]:
    """Somebody reads the events in a transaction that does not end."""
    held, done = threading.Event(), threading.Event()

    def reader() -> None:
        with transaction.atomic():
            Event.objects.exists()
            held.set()
            done.wait(30)
        connections.close_all()

    thread = threading.Thread(target=reader)
    thread.start()
    try:
        assert held.wait(20)
        yield
    finally:
        done.set()
        thread.join(20)


class TestMonths:
    def test_a_month_is_a_range_of_ids(self) -> None:
        lower, upper = bounds(JANUARY)
        assert lower <= id_at(JANUARY) < upper
        assert id_at(JANUARY - timedelta(milliseconds=1)) < lower
        assert upper == uuid7_floor(datetime(2026, 2, 1, tzinfo=UTC))
        assert time_of(lower) == JANUARY
        assert [name_of(month) for month in months(datetime(2026, 11, 1, tzinfo=UTC), 3)] == [
            "automate_event_p202611", "automate_event_p202612", "automate_event_p202701",
        ]  # fmt: skip
        assert month_of(datetime(2026, 1, 31, 23, 30, tzinfo=UTC)) == JANUARY


@pytest.mark.usefixtures("db")
class TestRefusals:
    def test_other_databases_are_refused(self, configured: Any) -> None:
        configured(EVENTS={"partition": True})
        if connection.vendor == "postgresql":
            pytest.skip("this is PostgreSQL")
        with pytest.raises(ConfigurationError, match="PostgreSQL alone"):
            convert()
        assert not partitions.is_partitioned()
        assert "not partitioned" in partitions.examine().problems[0]

    @on_postgres
    def test_the_setting_must_allow_it(self) -> None:
        with pytest.raises(ConfigurationError, match=r"EVENTS\.partition is False"):
            convert()

    @on_postgres
    def test_what_cannot_be_carried_over_is_named_and_nothing_is_changed(self, plain: None) -> None:
        execute("CREATE TABLE other (event_id uuid CONSTRAINT other_event REFERENCES automate_event (id))")
        execute("CREATE MATERIALIZED VIEW other_view AS SELECT id FROM automate_event")
        execute("CREATE UNIQUE INDEX other_unique ON automate_event (subject, created_at)")
        try:
            with pytest.raises(ConfigurationError) as caught:
                convert()
            for name in ("other_event", "other_view", "other_unique"):
                assert name in str(caught.value)
            assert not Catalog("default").kind(SHADOW)
        finally:
            execute("DROP TABLE other", "DROP MATERIALIZED VIEW other_view", "DROP INDEX other_unique")

    @on_postgres
    def test_ids_of_the_future_are_refused_before_anything_is_changed(self, plain: None) -> None:
        event_at(timezone.now() + timedelta(days=200))
        with pytest.raises(ConfigurationError, match="which no clock gave them"):
            convert()
        assert Catalog("default").bound() is None


@on_postgres
class TestConversion:
    def test_the_old_table_becomes_the_first_partition_and_code_stays_as_it_is(self, plain: None) -> None:
        before = query("SELECT indexname FROM pg_indexes WHERE tablename = 'automate_event' ORDER BY 1")
        old = [event.pk for event in events_at([ago(n) for n in range(100)])]
        file = query("SELECT pg_relation_filenode('automate_event')")
        convert()
        assert query(f"SELECT pg_relation_filenode('{LEGACY}')") == file  # no row was moved
        assert names()[0] == LEGACY
        assert names()[-1] == DEFAULT
        assert set(Event.objects.values_list("pk", flat=True)) == set(old)
        assert query("SELECT indexname FROM pg_indexes WHERE tablename = 'automate_event' ORDER BY 1") == before
        new = emit_event("order.paid", {"n": 1}, dedupe_key="k")
        assert emit_event("order.paid", {"n": 1}, dedupe_key="k") == new
        assert str(Event.objects.get(pk=new).pk) == new
        with pytest.raises(IntegrityError):
            Event.objects.bulk_create([Event(id=new, type="x", payload={}, created_at=timezone.now())])
        assert partitions.examine().problems == []
        assert next(table.rows for table in measure().tables if table.table == "automate_event") == 101
        assert convert() == ["the events are partitioned already"]

    def test_a_session_that_calls_functions_goes_on_with_the_new_table(self, plain: None) -> None:
        for _ in range(FEW + 5):
            emit_event("order.paid", {})
        with connection.execute_wrapper(called_functions):
            emit_event("order.paid", {})
            convert()
            emit_event("order.paid", {})
        assert Event.objects.count() == FEW + 7
        assert query(f"SELECT count(*) FROM {LEGACY}") == [(FEW + 7,)]

    def test_reading_one_event_reads_one_partition(self, plain: None) -> None:
        event = event_at(ago(1))
        convert()
        plan = "\n".join(row[0] for row in query(f"EXPLAIN SELECT * FROM automate_event WHERE id = '{event.pk}'"))
        assert f"on {LEGACY}" in plan
        assert plan.count(" on automate_event") == 1

    def test_views_rights_triggers_and_publications_move_along(self, plain: None) -> None:
        execute(
            "CREATE VIEW own_view WITH (security_barrier=true) AS SELECT id, type FROM automate_event",
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'append-only'; END$$",
            "CREATE TRIGGER keep BEFORE UPDATE ON automate_event FOR EACH ROW EXECUTE FUNCTION refuse()",
            "ALTER TABLE automate_event ENABLE ALWAYS TRIGGER keep",
            "CREATE PUBLICATION automate_test FOR TABLE automate_event",
            "GRANT SELECT ON automate_event TO pg_monitor WITH GRANT OPTION",
        )
        try:
            old = event_at(ago(1))
            convert()
            new = emit_event("order.paid", {})
            far = event_at(timezone.now() + timedelta(days=80)).pk
            assert {str(row[0]) for row in query("SELECT id FROM own_view")} == {str(old.pk), new, str(far)}
            assert {row[0] for row in query("SELECT aggregatetype FROM automate_event_change")} == {"order"}
            assert len(query("SELECT 1 FROM automate_event_change")) == 3
            for key in (old.pk, new, far):
                with pytest.raises(ProgrammingError, match="append-only"):
                    execute(f"UPDATE automate_event SET type = 'x' WHERE id = '{key}'")
            assert query("SELECT reloptions FROM pg_class WHERE relname = 'own_view'") == [(["security_barrier=true"],)]
            assert query("SELECT DISTINCT tgenabled::text FROM pg_trigger WHERE tgname = 'keep'") == [("A",)]
            assert query("SELECT tablename FROM pg_publication_tables WHERE pubname = 'automate_test'") == [
                ("automate_event",)
            ]
            rights = "SELECT has_table_privilege('pg_monitor', 'automate_event', 'SELECT WITH GRANT OPTION')"
            assert query(rights) == [(True,)]
        finally:
            execute("DROP PUBLICATION automate_test", "DROP VIEW own_view", "DROP FUNCTION refuse CASCADE")

    def test_migrations_work_on_it(self, plain: None) -> None:
        from django.db.migrations.executor import MigrationExecutor
        from django.db.models import CharField

        convert()
        emit_event("order.paid", {})
        executor = MigrationExecutor(connection)
        assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
        call_command("makemigrations", "automate", check=True, dry_run=True, verbosity=0)
        call_command("migrate", verbosity=0)
        field = CharField(max_length=5, default="x", db_index=True)
        field.set_attributes_from_name("extra")
        with connection.schema_editor() as editor:
            editor.add_field(Event, field)
        assert query("SELECT DISTINCT extra FROM automate_event") == [("x",)]
        with connection.schema_editor() as editor:
            editor.remove_field(Event, field)
            old, new = Event._meta.get_field("type"), CharField(max_length=200)
            new.set_attributes_from_name("type")
            editor.alter_field(Event, old, new)
            editor.alter_field(Event, new, old)
        call_command("migrate", "automate", "0001", verbosity=0)
        call_command("migrate", "automate", verbosity=0)
        assert len(query("SELECT 1 FROM automate_event_change")) == 1

    @pytest.mark.parametrize("step", ["_make_shadow", "_add_bound", "_validate", "_swap"])
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_it_goes_on_when_it_was_killed_at_any_step(
        self, plain: None, monkeypatch: pytest.MonkeyPatch, step: str, when: str
    ) -> None:
        event_at(ago(1))
        real = getattr(conversion.Conversion, step)

        def killed(self: Any, *args: Any) -> None:
            if when == "after":
                real(self, *args)
            raise KeyboardInterrupt(step)

        monkeypatch.setattr(conversion.Conversion, step, killed)
        with pytest.raises(KeyboardInterrupt):
            convert()
        connection.close()
        emit_event("order.paid", {})  # nobody notices
        monkeypatch.undo()
        convert()
        assert names()[0] == LEGACY
        assert Event.objects.count() == 2
        assert not Catalog("default").kind(SHADOW)

    def test_a_transaction_that_holds_the_table_makes_it_try_again_and_give_up(
        self, plain: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(locks, "LOCK_SECONDS", 0.02)
        monkeypatch.setattr(conversion, "locking", lambda using, work: locks.locking(using, work, tries=2))
        with holding_the_events():
            with pytest.raises(AutomateError, match="pg_stat_activity") as caught:
                convert()
            assert caught.value.retryable
        convert()
        assert partitions.is_partitioned()

    def test_nothing_is_lost_while_emitters_write(self, plain: None) -> None:
        events_at([ago(n / 1000) for n in range(20_000)])
        stop, emitted, longest, failed = threading.Event(), [], [0.0], []

        def emitter(number: int) -> None:
            try:
                while not stop.is_set():
                    started = time.monotonic()
                    with transaction.atomic():
                        mine = [emit_event("order.paid", {"emitter": number}) for _ in range(2)]
                    longest[0] = max(longest[0], time.monotonic() - started)
                    emitted.extend(mine)
            except BaseException as error:
                failed.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=emitter, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            while len(emitted) < 50 and not failed:
                time.sleep(0.01)
            convert()
            after = len(emitted)
            while len(emitted) < after + 50 and not failed:
                time.sleep(0.01)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert failed == []
        assert {str(pk) for pk in Event.objects.filter(payload__has_key="emitter").values_list("pk", flat=True)} == set(
            emitted
        )
        assert Event.objects.count() == 20_000 + len(emitted)


@on_postgres
class TestUpkeep:
    @pytest.fixture
    def converted(self, plain: None) -> None:
        convert()

    def test_months_are_made_ahead_and_take_what_came_early(self, converted: None) -> None:
        month = next_month(next_month(month_of(timezone.now())))
        early = event_at(month + timedelta(days=3))
        execute(f"DROP TABLE IF EXISTS {name_of(month)}")
        early = event_at(month + timedelta(days=3))
        state = partitions.examine()
        assert f"{month:%Y-%m}" in state.problems[1]
        assert "1 events (or more) are in automate_event_default" in state.problems[0]
        report = sweep()
        assert report.partitions_created == [name_of(month)]
        assert partitions.examine().problems == []
        assert query(f"SELECT id FROM {name_of(month)}") == [(early.pk,)]
        assert sweep().partitions_created == []
        now = month_of(timezone.now()) + timedelta(days=40)
        missing = upkeep.missing_months(Catalog("default").partitions(), now)
        assert [f"{each:%Y-%m}" for each in missing]

    def test_a_month_is_made_while_its_events_are_emitted(self, converted: None) -> None:
        month = next_month(next_month(month_of(timezone.now())))
        execute(f"DROP TABLE {name_of(month)}")
        stop, emitted, failed = threading.Event(), [], []

        def emitter() -> None:
            try:
                while not stop.is_set():
                    emitted.append(event_at(month + timedelta(days=3)).pk)
            except BaseException as error:
                failed.append(error)
            finally:
                connections.close_all()

        def slow_move(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            """Leave time between the move of what came early and the ATTACH."""
            result = run(sql, params, many, context)
            if sql.startswith("WITH early"):
                time.sleep(0.1)
            return result

        threads = [threading.Thread(target=emitter) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            deadline = time.monotonic() + 20
            while len(emitted) < 5 and not failed and time.monotonic() < deadline:
                time.sleep(0.01)
            with connection.execute_wrapper(slow_move):
                report = sweep()
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
        assert failed == []
        assert (report.partitions_created, report.notices) == ([name_of(month)], [])
        assert {row[0] for row in query(f"SELECT id FROM {name_of(month)}")} == set(emitted)

    def old_month(self, back: int) -> tuple[datetime, list[Event]]:
        """Split a month off the old table, with three events in it."""
        month = month_of(ago(30 * back))
        lower, upper = bounds(month)
        execute(f"ALTER TABLE automate_event DETACH PARTITION {LEGACY}")
        if not query(f"SELECT 1 FROM pg_inherits WHERE inhrelid = to_regclass('{name_of(month)}')"):
            with transaction.atomic():
                conversion.attach_month(Catalog("default"), month)
        execute(f"ALTER TABLE {LEGACY} RENAME TO automate_event_old")
        execute("DROP TABLE automate_event_old")
        assert lower < upper
        return month, events_at([month + timedelta(days=n) for n in (1, 2, 3)])

    def test_an_old_month_is_dropped_as_a_whole_with_the_decisions_about_it(self, converted: None) -> None:
        month, events = self.old_month(6)
        for event in events:
            decision_about(event, matched=True)
        kept = decision_about(event_at(ago(1)), matched=True)
        execute("ANALYZE")
        assert retention.preview()["events"] == 3
        with CapturedDeletes() as deletes:
            report = sweep()
        assert report.partitions_dropped == [name_of(month)]
        assert (report.pruned["events"], report.pruned["decisions"]) == (3, 3)
        assert not any("automate_event" in sql.split("WHERE")[0] for sql in deletes.seen)
        assert name_of(month) not in names()
        assert not Catalog("default").kind(f"{name_of(month)}_pruned")
        assert Decision.objects.get() == kept

    @pytest.mark.parametrize("by", ["execution", "job"])
    def test_a_month_that_something_refers_to_stays(self, converted: None, by: str) -> None:
        month, events = self.old_month(6)
        if by == "execution":
            execution_at(ago(1), "WAITING", event_id=events[1].pk)
        else:
            job_at(ago(1), "FAILED", {"event_id": str(events[1].pk)})
        report = sweep()
        assert report.partitions_dropped == []
        assert f"{name_of(month)} stays" in report.notices[0]
        assert Event.objects.count() == 3

    def test_a_drop_that_was_killed_is_finished_and_no_other_table_is_touched(
        self, converted: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        month, _ = self.old_month(6)
        with monkeypatch.context() as patch:
            patch.setattr(Catalog, "pruned", lambda self: [])
            sweep()
        assert Catalog("default").kind(f"{name_of(month)}_pruned")
        execute("CREATE TABLE automate_event_p201901 (LIKE automate_event)")  # somebody detached it to keep it
        try:
            assert sweep().partitions_dropped == [name_of(month)]
            assert Catalog("default").kind("automate_event_p201901") == "r"
        finally:
            execute("DROP TABLE automate_event_p201901")

    def test_an_abandoned_conversion_is_told_and_never_stops_emitters(
        self, plain: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*args: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(conversion.Conversion, "_validate", killed)
        with pytest.raises(KeyboardInterrupt):
            convert()
        assert "was not finished" in partitions.examine().problems[0]
        assert sweep().notices == []
        bound = Catalog("default").bound()
        assert bound is not None
        soon = time_of(bound[0]) - timedelta(days=2)
        monkeypatch.setattr(retention, "_database_time", lambda using: soon)
        job_at(soon - timedelta(days=400))
        with monkeypatch.context() as patch, holding_the_events():
            patch.setattr(locks, "LOCK_SECONDS", 0.02)
            report = sweep()
        assert "could not be removed" in report.notices[0]
        assert report.pruned["completed_jobs"] == 1  # it keeps nothing else from being pruned
        assert "abandoned" in sweep().notices[0]
        assert Catalog("default").bound() is None

    def test_the_command_converts_checks_and_says_what_is_wrong(self, plain: None) -> None:
        def run(*arguments: str) -> str:
            out = io.StringIO()
            call_command("automate", "partition", "events", *arguments, stdout=out)
            return out.getvalue()

        with pytest.raises(CommandError):
            run("--check")
        assert not AuditLogEntry.objects.exists()
        assert "swapped the tables" in run()
        begun, entry = AuditLogEntry.objects.order_by("position")
        assert begun.action == "events.partitioning"
        assert (entry.action, entry.details["steps"][-1]) == ("events.partitioned", "analyzed")
        checked = json.loads(run("--check", "--json"))
        assert checked["partitioned"]
        assert checked["problems"] == []
        assert checked["partitions"][0]["name"] == LEGACY
        head, *lines = run("--check").splitlines()
        assert head.split() == ["partition", "from", "to", "rows", "bytes"]
        assert any(line.startswith(DEFAULT) for line in lines)

    def test_what_cannot_be_put_on_record_is_not_begun(self, plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: Any, **kwargs: Any) -> None:
            raise AuditChainBroken("the head was changed")

        monkeypatch.setattr("automate.audit.record", refuse)
        with pytest.raises(CommandError):
            call_command("automate", "partition", "events", stdout=io.StringIO())
        assert not Catalog("default").kind(SHADOW)


class CapturedDeletes:
    """The DELETE statements that Django sends."""

    def __enter__(self) -> CapturedDeletes:
        from django.test.utils import CaptureQueriesContext

        self._context = CaptureQueriesContext(connection)
        self._context.__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        self._context.__exit__(*args)
        self.seen = [q["sql"] for q in self._context.captured_queries if q["sql"].startswith("DELETE")]
