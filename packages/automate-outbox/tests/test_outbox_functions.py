"""PostgreSQL: a session that writes item after item calls a function, which writes what the statement writes."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from automate_core.outbox import NewJob
from automate_core.testing.databases import require_database
from automate_outbox.models import OutboxJob, WorkerBeat
from automate_outbox.store import DatabaseOutboxStore, get_store
from automate_outbox.store.functions import FEW, call_of
from django.core.management import call_command
from django.db import ProgrammingError, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

MANY = FEW + 5
BUSY = [
    NewJob("test"),
    NewJob("test", {"n": [1, "é'\\%s"]}, "slow", -5, "key'", "t%", max_attempts=9),
    NewJob("test", priority=True, max_attempts=5.0),  # type: ignore[arg-type]
    NewJob("test", due=timedelta(hours=1)),
    NewJob("test", due=timedelta(0)),
    NewJob("test", due=timezone.now() - timedelta(hours=1)),
]


@pytest.fixture
def store() -> Iterator[DatabaseOutboxStore]:
    """Over a session of its own."""
    using = require_database("postgres")
    connections[using].close()
    yield get_store(using)
    connections[using].close()
    OutboxJob.objects.using(using).all().delete()


def words(store: DatabaseOutboxStore, work: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connections[store.using]) as captured:
        work()
    return [query["sql"].split(maxsplit=1)[0] for query in captured]


def settle(store: DatabaseOutboxStore) -> None:
    """Let the session come to the function."""
    for _ in range(MANY):
        store.add([NewJob("test")])
    OutboxJob.objects.using(store.using).all().delete()


def test_after_a_few_items_one_costs_a_call_and_still_one_statement(store: DatabaseOutboxStore) -> None:
    connections[store.using].ensure_connection()
    assert words(store, lambda: [store.add([NewJob("test")]) for _ in range(MANY)]) == FEW * ["INSERT"] + 5 * ["SELECT"]
    assert words(store, lambda: store.add([NewJob("test"), NewJob("test")])) == ["INSERT"]
    connections[store.using].close()
    assert words(store, lambda: store.add([NewJob("test")])) == ["INSERT"]


def test_both_write_the_same_row(store: DatabaseOutboxStore) -> None:
    def written(job: NewJob) -> dict[str, Any]:
        (job_id,) = store.add([job])
        row: dict[str, Any] = dict(**OutboxJob.objects.using(store.using).filter(pk=job_id).values().get())
        times = row.pop("next_attempt_at"), row.pop("created_at")
        assert row.pop("id") == job_id
        return {**row, "waits": round((times[0] - times[1]).total_seconds() / 60)}

    by_statement = [written(job) for job in BUSY]
    settle(store)
    assert [written(job) for job in BUSY] == by_statement
    assert words(store, lambda: [store.add([job]) for job in BUSY]) == len(BUSY) * ["SELECT"]


def test_it_is_of_the_callers_transaction_and_rings_for_what_is_due(store: DatabaseOutboxStore) -> None:
    settle(store)
    connection = connections[store.using]

    def rung() -> int:
        with connection.cursor() as cursor:
            cursor.execute("LISTEN automate_outbox")
        return len(list(connection.connection.notifies(timeout=0)))

    rung()
    with transaction.atomic(using=store.using):
        store.add([NewJob("test")])
        transaction.set_rollback(True, using=store.using)
    store.add([NewJob("test", due=timedelta(hours=1))])
    assert rung() == 0
    assert OutboxJob.objects.using(store.using).count() == 1
    store.add([NewJob("test")])
    assert rung() == 1


def test_the_migration_goes_both_ways_under_a_session(store: DatabaseOutboxStore) -> None:
    settle(store)
    call_command("migrate", "automate_outbox", "0001", database=store.using, verbosity=0)
    try:
        with pytest.raises(ProgrammingError, match="automate_outbox_add_v1"):
            store.add([NewJob("test")])  # once, in a session that called it before
        assert words(store, lambda: store.add([NewJob("test")])) == ["INSERT"]
        connections[store.using].close()
        assert "SELECT" not in words(store, lambda: settle(store))
    finally:
        call_command("migrate", "automate_outbox", database=store.using, verbosity=0)
    connections[store.using].close()
    settle(store)
    assert words(store, lambda: store.add([NewJob("test")])) == ["SELECT"]


def test_who_may_not_call_it_writes_by_the_statement(store: DatabaseOutboxStore) -> None:
    connection = connections[store.using]
    with connection.cursor() as cursor:
        cursor.execute("REVOKE EXECUTE ON FUNCTION automate_outbox_add_v1 FROM PUBLIC")
        cursor.execute("CREATE ROLE automate_weak")
        cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO automate_weak")
        cursor.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO automate_weak")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE automate_weak")
        assert words(store, lambda: [store.add([NewJob("test")]) for _ in range(MANY)]) == MANY * ["INSERT"]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
            cursor.execute("GRANT EXECUTE ON FUNCTION automate_outbox_add_v1 TO PUBLIC")
            cursor.execute("DROP OWNED BY automate_weak")
            cursor.execute("DROP ROLE automate_weak")


def test_rows_that_go_along_by_a_statement_alone_stay_one_statement(store: DatabaseOutboxStore) -> None:
    settle(store)
    beat = "INSERT INTO automate_outbox_worker "
    beat += "(id, worker_id, host, pid, mode, wake, in_hand, counters, started_at, beat_at) "
    beat += "VALUES (%s, '', '', 1, '', '', 0, '{}', now(), now())"
    assert words(store, lambda: store.add([NewJob("test")], along=(beat, ["b"]))) == ["WITH"]
    assert WorkerBeat.objects.using(store.using).filter(pk="b").delete()[0] == 1
    assert OutboxJob.objects.using(store.using).count() == 1


def test_what_is_empty_and_of_another_type_stays_a_parameter() -> None:
    text, params = call_of("f", ["", 0, None, False, [], b"", "x"])
    assert text == "f('', 0, NULL, %s, %s, %s, %s"
    assert params == [False, [], b"", "x"]
