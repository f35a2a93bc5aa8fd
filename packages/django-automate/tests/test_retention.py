"""Old history goes in bounded batches; what is live, referred to or young stays, and nothing else may delete it."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import io
import json
import math
import threading
from datetime import timedelta
from typing import Any

import pytest
from automate import retention
from automate.doctor import examine
from automate.errors import AutomateError
from automate.events import emit_event
from automate.models import AuditLogEntry, Decision, DedupeKey, Event, Execution, ExecutionRun, StepRun
from automate_outbox.models import OutboxJob
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from history import ago, decision_about, event_at, events_at, execution_at, id_at, job_at, version

pytestmark = pytest.mark.usefixtures("db", "unpaused")


@pytest.fixture
def unpaused(configured: Any) -> Any:
    """Set RETENTION without pauses, and forget where another test left a walk."""
    retention._positions.clear()
    configured(RETENTION={"pause_seconds": 0})
    return lambda **policy: configured(RETENTION={"pause_seconds": 0, **policy})


def sweep() -> dict[str, int]:
    report = retention.sweep(math.inf)
    assert report.complete
    return {kind: rows for kind, rows in report.pruned.items() if rows}


def key_until(days: float, key: str) -> DedupeKey:
    expires_at = timezone.now() + timedelta(days=days)
    return DedupeKey.objects.create(key=key, event_id=id_at(ago(1)), payload_hash="", expires_at=expires_at)


class TestWhatGoes:
    def test_outbox_items_go_by_status_and_age_and_live_ones_never(self) -> None:
        gone = {job_at(ago(2)).pk, job_at(ago(91), "FAILED").pk}
        late = job_at(ago(100), completed_at=ago(0.5))  # old, and done only now
        kept = {late.pk, job_at(ago(0.9)).pk, job_at(ago(89), "FAILED").pk}
        kept |= {job_at(ago(400), status).pk for status in ("PENDING", "RETRY", "CLAIMED")}
        assert retention.preview()["completed_jobs"] == 1
        assert sweep() == {"completed_jobs": 1, "dead_letters": 1}
        assert set(OutboxJob.objects.values_list("pk", flat=True)) == kept
        assert not gone & kept

    def test_executions_go_by_outcome_and_age_with_their_runs_and_steps(self) -> None:
        execution_at(ago(31), "SUCCESS")
        execution_at(ago(91), "FAILED")
        execution_at(ago(91), "CANCELLED")
        kept = {execution_at(ago(29), "SUCCESS").pk, execution_at(ago(31), "FAILED").pk}
        kept |= {execution_at(ago(400), status).pk for status in ("QUEUED", "RUNNING", "WAITING")}
        replayed = execution_at(ago(400), "FAILED")
        ExecutionRun.objects.create(execution=replayed, number=2, trace_id="1" * 32, status="RUNNING")
        dead = execution_at(ago(400), "FAILED")
        ExecutionRun.objects.filter(execution=dead).update(job_id=job_at(ago(30), "FAILED").pk)
        done = execution_at(ago(400), "FAILED")
        ExecutionRun.objects.filter(execution=done).update(job_id=job_at(ago(0.1), "COMPLETED").pk)
        expected = {"executions": 4, "runs": 4, "steps": 8}
        preview = retention.preview()
        assert {kind: rows for kind, rows in preview.items() if rows} == expected
        assert sweep() == expected
        assert set(Execution.objects.values_list("pk", flat=True)) == kept | {replayed.pk, dead.pk}
        assert ExecutionRun.objects.count() == len(kept) + 3
        assert StepRun.objects.count() == 2 * (len(kept) + 2)

    def test_events_go_with_their_decisions_unless_something_refers_to_them(self) -> None:
        old = event_at(ago(91))
        decision_about(old, matched=True)
        young = event_at(ago(89))
        decision_about(young, matched=True)
        waiting, dead, running, failed = (event_at(ago(200 + n)) for n in range(4))
        job_at(ago(200), "PENDING", {"event_id": str(waiting.pk)})
        job_at(ago(20), "FAILED", {"event_id": str(dead.pk)})
        job_at(ago(0.1), "COMPLETED", {"event_id": str(old.pk)})
        execution_at(ago(200), "WAITING", event_id=running.pk)
        execution_at(ago(50), "FAILED", event_id=failed.pk)
        both = event_at(ago(95))
        execution_at(ago(92), "SUCCESS", event_id=both.pk)
        decision_about(both, matched=False, slug="x")
        preview = {kind: rows for kind, rows in retention.preview().items() if rows}
        assert preview == {"executions": 1, "runs": 1, "steps": 2, "decisions": 2, "events": 2}
        assert sweep() == preview
        kept = {young.pk, waiting.pk, dead.pk, running.pk, failed.pk}
        assert set(Event.objects.values_list("pk", flat=True)) == kept
        assert set(Decision.objects.values_list("event_id", flat=True)) == {young.pk}

    def test_decisions_without_a_match_go_before_their_event(self) -> None:
        event = event_at(ago(31))
        decision_about(event, matched=False, slug="a")
        kept = decision_about(event, matched=True, slug="b")
        decision_about(event_at(ago(29)), matched=False, slug="a")
        assert sweep() == {"decisions": 1}
        assert Decision.objects.filter(pk=kept.pk).exists()
        assert Event.objects.count() == 2

    def test_keys_go_when_they_expire_and_audit_rows_never(self) -> None:
        key_until(-1, "old")
        key_until(1, "young")
        entry = AuditLogEntry.objects.create(actor="a", action="b", resource="c")
        AuditLogEntry.objects.filter(pk=entry.pk)._raw_delete("default")
        AuditLogEntry.objects.bulk_create([AuditLogEntry(actor="a", action="b", resource="c", created_at=ago(4000))])
        assert sweep() == {"dedupe_keys": 1}
        assert DedupeKey.objects.get().key == "young"
        assert AuditLogEntry.objects.count() == 1

    def test_every_age_is_a_setting(self, unpaused: Any) -> None:
        job_at(ago(0.5))
        job_at(ago(2), "FAILED")
        execution_at(ago(2), "SUCCESS", steps=0)
        execution_at(ago(2), "FAILED", steps=0)
        decision_about(event_at(ago(2)), matched=False)
        assert sweep() == {}
        ages = {"dead_letters_days": 1, "runs_days": 1, "failed_runs_days": 1, "non_matches_days": 1, "events_days": 1}
        unpaused(completed_jobs_hours=11, **ages, enabled=False)
        assert sweep() == {}
        report = retention.sweep(math.inf, force=True)
        expected = {"completed_jobs": 1, "dead_letters": 1, "executions": 2, "runs": 2, "decisions": 1, "events": 1}
        assert {kind: rows for kind, rows in report.pruned.items() if rows} == expected

    def test_decisions_of_shadows_go_as_those_of_others(self) -> None:
        event, of_shadow = event_at(ago(40)), version("shadowed")
        for matched, about in ((True, event), (False, event_at(ago(40)))):
            Decision.objects.create(
                event_id=about.pk, version=of_shadow, matched=matched, shadow=True, created_at=about.created_at
            )
        assert sweep() == {"decisions": 1}
        assert Decision.objects.get().event_id == event.pk


class TestBatches:
    def test_a_transaction_deletes_no_more_than_a_batch_and_no_window_is_read_twice(self, unpaused: Any) -> None:
        unpaused(batch_size=10)
        OutboxJob.objects.bulk_create(
            [OutboxJob(kind="k", status="COMPLETED", created_at=ago(3), completed_at=ago(2)) for _ in range(45)]
        )
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert sweep() == {"completed_jobs": 45}
        statements = [query["sql"] for query in captured]
        table = [sql for sql in statements if "automate_outbox_job" in sql]
        assert len([sql for sql in table if sql.startswith("DELETE")]) == 5
        assert not any("OFFSET" in sql or "FROM (SELECT" in sql for sql in table)
        walks = [sql for sql in table if "ORDER BY" in sql and "COMPLETED" in sql]
        assert len(walks) == 6
        assert all("LIMIT 10" in sql for sql in walks)

    def test_a_large_execution_goes_in_parts_and_small_ones_go_together(self, unpaused: Any) -> None:
        unpaused(batch_size=10)
        execution_at(ago(40), steps=35)
        for _ in range(6):
            execution_at(ago(39), steps=3)
        with CaptureQueriesContext(connection) as captured:
            assert sweep() == {"executions": 7, "runs": 7, "steps": 53}
        deletes = [query["sql"] for query in captured if query["sql"].startswith("DELETE")]
        assert len([sql for sql in deletes if "automate_steprun" in sql]) == 4 + 2
        assert (
            len([sql for sql in deletes if "automate_execution" in sql and "run" not in sql.split("WHERE")[0]]) == 1 + 2
        )

    def test_many_decisions_of_one_event_go_in_parts(self, unpaused: Any) -> None:
        unpaused(batch_size=5, non_matches_days=4000)
        event = event_at(ago(91))
        for number in range(12):
            decision_about(event, matched=True, slug=f"w{number}")
        with CaptureQueriesContext(connection) as captured:
            assert sweep() == {"decisions": 12, "events": 1}
        assert len([q for q in captured if q["sql"].startswith("DELETE") and "automate_decision" in q["sql"]]) == 3

    def test_it_goes_on_where_its_time_was_up(self, unpaused: Any) -> None:
        unpaused(batch_size=5)
        kept = events_at([ago(120 - n * 0.001) for n in range(20)])
        for event in kept:
            execution_at(ago(1), "WAITING", steps=0, event_id=event.pk)
        events_at([ago(100)] * 7)
        pruned = []
        for _ in range(20):
            report = retention.sweep(0)
            pruned.append(report.pruned["events"])
            if report.complete:
                break
        # Four windows of events that stay, then two of those that go; never the first windows again and again.
        assert sum(pruned) == 7
        assert len(pruned) <= 7
        assert Event.objects.count() == 20

    def test_rows_of_a_failed_transaction_stay_whole(self, unpaused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from automate.retention import walk

        execution_at(ago(40), steps=3)
        real = walk.delete

        def failing(rows: Any) -> int:
            if rows.model is Execution:
                raise RuntimeError("cut")
            return real(rows)

        monkeypatch.setattr(walk, "delete", failing)
        with pytest.raises(RuntimeError, match="cut"):
            sweep()
        assert (Execution.objects.count(), ExecutionRun.objects.count(), StepRun.objects.count()) == (1, 1, 3)
        monkeypatch.undo()
        assert sweep() == {"executions": 1, "runs": 1, "steps": 3}


class TestOthers:
    def test_of_two_sweeps_one_prunes(self) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("SQLite: one writes at a time anyway")
        from automate.retention.turns import Turns

        job_at(ago(2))
        has_turn, done = threading.Event(), threading.Event()

        def hold() -> None:
            has_turn.set()
            done.wait(20)

        def other() -> None:
            turns = Turns("default")
            with turns.taken():
                turns.run(hold)
            connections.close_all()

        thread = threading.Thread(target=other)
        thread.start()
        try:
            assert has_turn.wait(20)
            report = retention.sweep(math.inf)
            assert (report.busy, report.complete, report.pruned["completed_jobs"]) == (True, False, 0)
        finally:
            done.set()
            thread.join()
        assert sweep() == {"completed_jobs": 1}

    def test_an_execution_that_somebody_works_on_stays_whole(self) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has no row locks: whoever works on it is the one writer")
        execution = execution_at(ago(40), steps=3)
        execution_at(ago(40), steps=1)
        locked, done = threading.Event(), threading.Event()

        def other() -> None:
            with transaction.atomic():
                Execution.objects.select_for_update().get(pk=execution.pk)
                locked.set()
                done.wait(20)
            connections.close_all()

        thread = threading.Thread(target=other)
        thread.start()
        try:
            assert locked.wait(20)
            assert sweep() == {"executions": 1, "runs": 1, "steps": 1}
            assert StepRun.objects.filter(run__execution=execution).count() == 3
        finally:
            done.set()
            thread.join()
        assert sweep() == {"executions": 1, "runs": 1, "steps": 3}

    def test_nothing_else_changes_or_deletes_what_is_append_only(self) -> None:
        event = event_at(ago(1))
        rows: list[Any] = [event, decision_about(event, matched=True)]
        rows.append(AuditLogEntry.objects.create(actor="a", action="b", resource="c"))
        for row in rows:
            everything = type(row).objects.all()
            for forbidden in (
                row.delete,
                row.save,
                everything.delete,
                lambda rows=everything: rows.update(created_at=ago(2)),
                lambda rows=everything, row=row: rows.bulk_update([row], ["created_at"]),
            ):
                with pytest.raises(AutomateError, match=r"append-only|immutable"):
                    forbidden()
            assert everything.get().pk == row.pk

    def test_a_key_that_is_pruned_while_an_emitter_asks_for_it_is_free(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from automate import dedupe

        key_until(-1, "k")
        real = dedupe._rows

        def late(*args: Any) -> Any:
            DedupeKey.objects.filter(key="k", expires_at__lt=timezone.now()).delete()
            return real(*args)

        monkeypatch.setattr(dedupe, "_rows", late)
        event_id = emit_event("order.paid", {}, dedupe_key="k")
        assert str(DedupeKey.objects.get().event_id) == event_id
        assert str(Event.objects.get().pk) == event_id

    def test_the_doctor_tells_what_is_kept_and_that_nothing_is_pruned(self, unpaused: Any) -> None:
        def told() -> list[tuple[str, str]]:
            return [(f.level, f.message) for f in examine() if f.name == "retention"]

        assert told() == [("ok", "events 90 days, runs 30 (90 failed)")]
        unpaused(enabled=False)
        assert told() == [("warning", "RETENTION.enabled is False: history grows without end")]

    def test_too_many_held_events_keep_them_all_and_say_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from automate.retention import due

        monkeypatch.setattr(due, "MOST_HELD", 1)
        events = events_at([ago(100)] * 3)
        for event in events[:2]:
            job_at(ago(100), "PENDING", {"event_id": str(event.pk)})
        report = retention.sweep(math.inf)
        assert report.pruned["events"] == 0
        assert "are kept" in report.notices[0]
        assert retention.preview()["events"] == 0


class TestCommand:
    def run(self, *arguments: str) -> str:
        out = io.StringIO()
        call_command("automate", "retention", *arguments, stdout=out)
        return out.getvalue()

    def test_a_dry_run_counts_and_deletes_nothing(self) -> None:
        job_at(ago(2))
        assert json.loads(self.run("--dry-run", "--json"))["would_prune"]["completed_jobs"] == 1
        assert "completed jobs" in self.run("--dry-run")
        assert OutboxJob.objects.count() == 1

    def test_it_prunes_even_where_workers_do_not(self, unpaused: Any) -> None:
        unpaused(enabled=False, interval_seconds=5)
        version()
        job_at(ago(2))
        report = json.loads(self.run("--json", "--budget", "30"))
        assert (report["pruned"]["completed_jobs"], report["complete"]) == (1, True)
        assert "transactions" in self.run()
