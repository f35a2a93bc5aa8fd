"""Sizes, growth and forecasts are right to within an estimate, and no large table is read for them."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from automate import size
from automate.models import Decision, Event
from automate.size import TableSize, measure
from automate_outbox.models import OutboxJob
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from history import ago, events_at, execution_at, job_at, version

pytestmark = pytest.mark.usefixtures("db")


def table(name: str) -> TableSize:
    return next(table for table in measure().tables if table.table == name)


def test_rows_bytes_growth_and_forecast_of_each_table(configured: Any) -> None:
    configured(RETENTION={"events_days": 20})
    events = events_at([ago(n / 20) for n in range(400)])  # 20 a day for 20 days
    rows = [
        Decision(event_id=e.id, version=version(), matched=n % 4 == 0, created_at=e.created_at)
        for n, e in reversed(list(enumerate(events)))
    ]
    Decision.objects.bulk_create(rows)
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE TABLE automate_event, automate_decision")
            cursor.fetchall()
    found = table("automate_event")
    assert (found.rows, found.keep_days, found.window_seconds) == (400, 20, 7 * 86400)
    assert found.rows_per_day == pytest.approx(20, abs=0.5)
    if connection.vendor != "sqlite":  # where the library may be built without dbstat
        assert found.bytes is not None
    assert found.bytes is None or 400 * 50 < found.bytes < 400 * 5000
    assert [growth.days for growth in found.forecast] == [30, 90, 365]
    assert [growth.rows for growth in found.forecast] == pytest.approx([400] * 3, abs=10)
    assert [growth.rows_kept for growth in found.forecast] == pytest.approx([1000, 2200, 7700], abs=200)
    decisions = table("automate_decision")
    assert decisions.rows_per_day == pytest.approx(20, abs=0.5)  # by its numbers, not by counting
    configured(RETENTION={"events_days": 40, "non_matches_days": 20})
    assert table("automate_decision").keep_days == pytest.approx(0.25 * 40 + 0.75 * 20)
    configured(RETENTION={"enabled": False})
    kept = table("automate_event")
    assert kept.keep_days is None
    assert [growth.rows for growth in kept.forecast] == [growth.rows_kept for growth in kept.forecast]


def test_what_is_kept_follows_how_the_latest_rows_ended() -> None:
    for status in ("SUCCESS", "SUCCESS", "FAILED", "SUCCESS"):
        execution_at(ago(1), status)
    job_at(ago(1))
    job_at(ago(1), "FAILED")
    assert table("automate_steprun").keep_days == pytest.approx(0.75 * 30 + 0.25 * 90)
    assert table("automate_outbox_job").keep_days == pytest.approx(0.5 * 1 + 0.5 * 90)
    assert table("automate_auditlogentry").keep_days is None


def test_a_growth_that_takes_long_to_count_is_measured_over_a_shorter_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size, "_MOST_COUNTED", 70)
    events_at([timezone.now() - timedelta(minutes=n) for n in range(200)])
    with CaptureQueriesContext(connection) as captured:
        found = table("automate_event")
    assert found.window_seconds == 3600
    assert found.rows_per_day == pytest.approx(60 * 24, rel=0.05)
    counts = [query["sql"] for query in captured if "COUNT(*)" in query["sql"].upper()]
    assert counts
    assert all("LIMIT" in sql for sql in counts)  # none of them reads a whole table


def test_numbers_are_found_by_halving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size, "_SAMPLE", 0)
    OutboxJob.objects.bulk_create([OutboxJob(kind="k", created_at=ago(20 - n / 50)) for n in range(1000)])
    with CaptureQueriesContext(connection) as captured:
        rate, _ = size._rate(OutboxJob, "default", timezone.now())
    assert rate == pytest.approx(50, abs=1)
    assert len(captured) <= 2 + 24


def test_the_command_prints_a_table_and_json() -> None:
    events_at([ago(100)] * 3)

    def run(*arguments: str) -> str:
        out = io.StringIO()
        call_command("automate", "size", *arguments, stdout=out)
        return out.getvalue()

    printed = run()
    head, *lines = printed.splitlines()
    assert head.split()[:3] == ["table", "rows", "size"]
    assert [line for line in lines if line.startswith("automate_event ")]
    assert printed == "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    assert "would delete now: 3 events" in printed
    found = json.loads(run("--json"))
    assert found["prunable"]["events"] == 3
    assert found["total_bytes"] > 0
    assert {table["table"] for table in found["tables"]} >= {"automate_event", "automate_outbox_job"}
    assert Event.objects.count() == 3
