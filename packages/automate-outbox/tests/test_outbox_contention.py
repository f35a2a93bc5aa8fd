"""Another writer in the way: tried again outside a transaction, reported inside one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from automate_core.outbox import NewJob, OutboxItem
from automate_outbox.models import OutboxJob
from automate_outbox.store import DatabaseOutboxStore, get_store
from django.db import OperationalError, connections, transaction

IMPATIENT = {
    "default": ("PRAGMA busy_timeout = 20", "PRAGMA busy_timeout = 20000"),
    "postgres": ("SET lock_timeout = '20ms'", "SET lock_timeout = 0"),
    "mariadb": ("SET innodb_lock_wait_timeout = 1", "SET innodb_lock_wait_timeout = 50"),
}


@pytest.fixture(autouse=True)
def _impatient(using: str) -> Iterator[None]:
    impatient, patient = IMPATIENT[using]
    with connections[using].cursor() as cursor:
        cursor.execute(impatient)
    yield
    with connections[using].cursor() as cursor:
        cursor.execute(patient)


class Writer:
    """Holds a write lock on an item in another connection until it is told to let go."""

    def __init__(self, using: str, item_id: int) -> None:
        self.holds, self.let_go = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, args=(using, item_id))

    def _run(self, using: str, item_id: int) -> None:
        try:
            with transaction.atomic(using=using):
                OutboxJob.objects.using(using).filter(pk=item_id).update(tenant="x")
                self.holds.set()
                self.let_go.wait(60)
        finally:
            connections[using].close()

    def __enter__(self) -> Writer:
        self.thread.start()
        assert self.holds.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self.let_go.set()
        self.thread.join(60)


def claimed(store: DatabaseOutboxStore) -> OutboxItem:
    store.add([NewJob("test")])
    (item,) = store.claim_batch("w")
    return item


def test_it_is_tried_again(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = get_store(using)
    item = claimed(store)
    waits: list[float] = []
    with Writer(using, item.id) as writer:

        def wait(seconds: float) -> None:
            waits.append(seconds)
            writer.let_go.set()
            writer.thread.join(60)

        monkeypatch.setattr("automate_outbox.store.dialect.time.sleep", wait)
        store.mark_success(item.id, "w")
    assert len(waits) == 1
    assert OutboxJob.objects.using(using).get(pk=item.id).status == "COMPLETED"


@pytest.mark.parametrize("using", ["default", "postgres"], indirect=True)  # MariaDB waits whole seconds each time
def test_it_ends(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = get_store(using)
    item = claimed(store)
    waits: list[float] = []
    monkeypatch.setattr("automate_outbox.store.dialect.time.sleep", waits.append)
    with Writer(using, item.id), pytest.raises(OperationalError):
        store.mark_success(item.id, "w")
    assert 3 <= len(waits) <= 10
    store.mark_success(item.id, "w")


@pytest.mark.parametrize("using", ["postgres", "mariadb"], indirect=True)  # SQLite locks the whole database
def test_a_claim_passes_what_is_locked(using: str) -> None:
    store = get_store(using)
    first, second = store.add([NewJob("test"), NewJob("test")])
    with Writer(using, first):
        assert [item.id for item in store.claim_batch("w")] == [second]
    assert [item.id for item in store.claim_batch("w")] == [first]


def test_inside_a_transaction_it_is_the_callers_to_retry(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = get_store(using)
    item = claimed(store)
    waits: list[float] = []
    monkeypatch.setattr("automate_outbox.store.dialect.time.sleep", waits.append)

    def work() -> Any:
        with transaction.atomic(using=using):
            store.mark_success(item.id, "w")

    with Writer(using, item.id), pytest.raises(OperationalError):
        work()
    assert waits == []
    work()
    assert OutboxJob.objects.using(using).get(pk=item.id).status == "COMPLETED"
