"""PostgreSQL: whoever writes an item that is due rings, in the same statement."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from automate_core import settings
from automate_core.outbox import NewJob
from automate_core.testing.databases import require_database
from automate_outbox.dead import DeadLetters, requeue
from automate_outbox.models import OutboxJob
from automate_outbox.reaper import OutboxReaper
from automate_outbox.store import DatabaseOutboxStore, get_store
from django.db import connections, transaction
from django.utils import timezone

HOUR = timedelta(hours=1)


@pytest.fixture
def store() -> Iterator[DatabaseOutboxStore]:
    using = require_database("postgres")
    with connections[using].cursor() as cursor:
        cursor.execute("LISTEN automate_outbox")
    yield get_store(using)
    with connections[using].cursor() as cursor:
        cursor.execute("UNLISTEN *")
    OutboxJob.objects.using(using).all().delete()


def rung(store: DatabaseOutboxStore) -> list[tuple[str, str]]:
    """The notifications of what was committed so far; a connection hears its own, in order, after each statement."""
    connection = connections[store.using]
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    heard = connection.connection.notifies(timeout=0)
    return [(one.channel, one.payload) for one in heard]


def test_a_due_item_rings_once_whatever_their_number(store: DatabaseOutboxStore) -> None:
    store.add([NewJob("test") for _ in range(50)])
    assert rung(store) == [("automate_outbox", "")]
    store.add([NewJob("test", due=timezone.now() + HOUR), NewJob("test", due=timezone.now() - HOUR)])
    assert rung(store) == [("automate_outbox", "")]


def test_what_is_taken_from_dead_workers_rings_once(store: DatabaseOutboxStore) -> None:
    store.add_claimed_many("dead", [NewJob("test") for _ in range(3)])
    assert rung(store) == []
    assert OutboxReaper(using=store.using).reap_stale_items("dead") == 3
    assert rung(store) == [("automate_outbox", "")]
    store.add_claimed("dead", NewJob("test", max_attempts=1))
    assert OutboxReaper(using=store.using).reap_stale_items("dead") == 1  # FAILED, which is work for nobody
    assert rung(store) == []


def test_nobody_is_woken_for_later(store: DatabaseOutboxStore) -> None:
    store.add([NewJob("test", due=HOUR), NewJob("test", due=timezone.now() + HOUR)])
    assert rung(store) == []


def test_the_bell_rings_with_the_commit(store: DatabaseOutboxStore) -> None:
    with transaction.atomic(using=store.using):
        store.add([NewJob("test")])
        transaction.set_rollback(True, using=store.using)
    assert rung(store) == []
    with transaction.atomic(using=store.using):
        store.add([NewJob("test")])
        assert rung(store) == []
    assert rung(store) == [("automate_outbox", "")]


def test_requeued_dead_letters_ring(store: DatabaseOutboxStore) -> None:
    store.add([NewJob("test")])
    (item,) = store.claim_batch("w")
    store.mark_failed(item.id, "w", "boom")
    rung(store)
    assert requeue(DeadLetters(), actor="me", using=store.using).requeued == 1
    assert rung(store) == [("automate_outbox", "")]


def test_the_setting_notify_turns_it_off(store: DatabaseOutboxStore) -> None:
    settings.configure(settings.parse({"OUTBOX": {"notify": False}}))
    try:
        (job_id,) = store.add([NewJob("test")])
    finally:
        settings.configure(None)
    assert rung(store) == []
    assert [item.id for item in store.claim_batch("w")] == [job_id]
