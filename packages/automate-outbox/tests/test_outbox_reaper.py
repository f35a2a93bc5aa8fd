from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from automate_core import settings
from automate_core.errors import ConfigurationError, DuplicateKeyError, NotRegisteredError
from automate_core.outbox import JobStatus, NewJob, OutboxItem
from automate_outbox import handlers
from automate_outbox.models import OutboxJob
from automate_outbox.reaper import OutboxReaper
from automate_outbox.store import DatabaseOutboxStore, get_store
from django.core.management import CommandError, call_command
from django.utils import timezone


def test_each_item_is_judged_once(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = get_store(using)
    store.add([NewJob("a", max_attempts=attempts) for attempts in (1, 2, 3)])
    assert len(store.claim_batch("gone", 3)) == 3
    OutboxJob.objects.using(using).update(lease_expires_at=timezone.now() - timedelta(minutes=1))
    judged: list[int] = []
    judge = OutboxReaper._verdict

    def counted(self: OutboxReaper, row: Any) -> str:
        judged.append(row[0])
        return judge(self, row)

    monkeypatch.setattr(OutboxReaper, "_verdict", counted)
    assert sorted(one.status for one in OutboxReaper(using=using).reap()) == ["FAILED", "RETRY", "RETRY"]
    assert len(judged) == len(set(judged)) == 3


class Handler:
    """Writes a row when an item dies, then fails if it is told to."""

    kind = "fragile"

    def __init__(self, using: str) -> None:
        self.using = using
        self.broken: set[int] = set()
        self.told: list[tuple[int, str]] = []

    def handle(self, item: OutboxItem) -> None:
        raise AssertionError("the reaper handles nothing")

    def on_dead(self, item: OutboxItem, error: str) -> None:
        get_store(self.using).add([NewJob("epitaph", {"of": item.payload["n"], "error": error})])
        if item.id in self.broken:
            raise LookupError("cannot write: password=hunter2")
        self.told.append((item.id, error))

    def on_requeue(self, payloads: Mapping[int, dict[str, Any]]) -> Mapping[int, Mapping[str, Any]]:
        return payloads


@pytest.fixture
def handler(using: str) -> Iterator[Handler]:
    one = Handler(using)
    handlers.register_handler(one)
    yield one
    handlers.unregister_handler(one.kind)


def lose(store: DatabaseOutboxStore, count: int, **fields: Any) -> list[OutboxItem]:
    """Items whose workers died, a minute ago."""
    store.add([NewJob(**{"kind": "fragile", "payload": {"n": n}, **fields}) for n in range(count)])
    items = store.claim_batch("lost-worker", count)
    rows = OutboxJob.objects.using(store.using).filter(pk__in=[item.id for item in items])
    rows.update(lease_expires_at=timezone.now() - timedelta(minutes=1))
    return items


def epitaphs(using: str) -> list[dict[str, Any]]:
    return list(OutboxJob.objects.using(using).filter(kind="epitaph").values_list("payload", flat=True))


def test_the_handler_hears_of_a_death_in_the_same_transaction(using: str, handler: Handler) -> None:
    items = lose(get_store(using), 2, max_attempts=1)
    handler.broken = {items[0].id}
    (reaped,) = OutboxReaper(using=using).reap()
    assert (reaped.item.id, reaped.status, reaped.item.crashes) == (items[1].id, JobStatus.FAILED, 1)
    assert handler.told == [(items[1].id, reaped.error)]
    assert "lost-worker" in reaped.error
    assert epitaphs(using) == [{"of": 1, "error": reaped.error}]
    kept = OutboxJob.objects.using(using).get(pk=items[0].id)
    assert (kept.status, kept.crashes, kept.lease_token) == ("CLAIMED", 0, items[0].lease_token)
    handler.broken = set()
    assert OutboxReaper(using=using).reap_stale_items() == 1
    assert sorted(note["of"] for note in epitaphs(using)) == [0, 1]


def test_what_a_broken_handler_says_is_logged_without_its_secrets(
    using: str, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    handler.broken = {item.id for item in lose(get_store(using), 1, max_attempts=1)}
    assert OutboxReaper(using=using).reap() == []
    assert "LookupError" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_revived_item_has_no_epitaph_and_a_dead_one_keeps_its_last_error(using: str, handler: Handler) -> None:
    store = get_store(using)
    (item,) = lose(store, 1)
    assert [one.status for one in OutboxReaper(using=using).reap()] == [JobStatus.RETRY]
    assert (handler.told, epitaphs(using)) == ([], [])
    (item,) = store.claim_batch("w")
    store.mark_retry(item.id, "w", timedelta(), "the shop is closed")
    (item,) = store.claim_batch("w")
    OutboxJob.objects.using(using).update(lease_expires_at=timezone.now() - timedelta(minutes=1))
    (reaped,) = OutboxReaper(using=using, max_crashes=2).reap()
    assert reaped.error.startswith("crashed")
    assert reaped.error.endswith("the shop is closed")
    assert OutboxJob.objects.using(using).get(pk=item.id).last_error == reaped.error


def test_more_than_one_batch_is_reaped_around_what_cannot_be(using: str, handler: Handler) -> None:
    store = get_store(using)
    handler.broken = {item.id for item in lose(store, 120, max_attempts=1)}
    fine = {item.id for item in lose(store, 130)}
    assert {one.item.id for one in OutboxReaper(using=using).reap()} == fine
    assert OutboxJob.objects.using(using).filter(status="CLAIMED").count() == len(handler.broken)


def held_by(using: str, owner: str, count: int, **fields: Any) -> list[OutboxItem]:
    """Items whose leases hold for long."""
    store = get_store(using)
    store.add([NewJob(**{"kind": "fragile", "payload": {"n": n}, **fields}) for n in range(count)])
    return store.claim_batch(owner, count)


def test_of_a_dead_worker_everything_is_taken_and_of_a_live_one_nothing(
    using: str, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    alive = held_by(using, "host.1-b", 3)
    dead = {item.id for item in held_by(using, "host.1-a", 230)}
    buried = {item.id for item in held_by(using, "host.1-a", 2, max_attempts=1)}
    handler.broken = set(list(buried)[:1])
    reaper = OutboxReaper(using=using, stale_threshold_seconds=600)
    reaped = reaper.reap("host.1-a")
    assert {one.item.id for one in reaped if one.status is JobStatus.RETRY} == dead
    assert {one.item.id for one in reaped if one.status is JobStatus.FAILED} == buried - handler.broken
    assert all(one.item.lease_owner == "host.1-a" and one.item.crashes == 1 for one in reaped)
    assert "Worker host.1-a died over item" in caplog.text
    assert reaper.reap_stale_items("host.1-a") == 0
    handler.broken = set()
    assert reaper.reap_stale_items("host.1-a") == 1
    assert get_store(using).renew_many({item.id: item.lease_token for item in alive}, "host.1-b") == set()


def test_what_was_claimed_anew_since_the_look_is_not_taken_from_its_worker(
    using: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (item,) = held_by(using, "dead", 1)
    judge = OutboxReaper._verdict

    def taken_over(self: OutboxReaper, row: Any) -> str:
        """Between the look and the write another reaper was faster, and the item has a worker again."""
        with monkeypatch.context() as patch:
            patch.setattr(OutboxReaper, "_verdict", judge)
            assert OutboxReaper(using=using).reap_stale_items("dead") == 1
        assert len(get_store(using).claim_batch("alive")) == 1
        return judge(self, row)

    monkeypatch.setattr(OutboxReaper, "_verdict", taken_over)
    assert OutboxReaper(using=using).reap("dead") == []
    row = OutboxJob.objects.using(using).get(pk=item.id)
    assert (row.status, row.crashes, row.lease_owner) == ("CLAIMED", 1, "alive")


def test_the_threshold_counts_from_the_end_of_the_lease(using: str) -> None:
    lose(get_store(using), 1)
    assert OutboxReaper(600, using=using).reap_stale_items() == 0
    assert OutboxReaper(stale_threshold_seconds=30, using=using).reap_stale_items() == 1
    for wrong in ({"stale_threshold_seconds": -1}, {"stale_threshold_seconds": float("nan")}, {"max_crashes": 0}):
        with pytest.raises(ConfigurationError):
            OutboxReaper(**wrong)


def test_the_command_reaps_by_the_settings(using: str, handler: Handler) -> None:
    settings.configure(settings.parse({"OUTBOX": {"max_crashes": 1}}))
    try:
        (item,) = lose(get_store(using), 1)
        out = StringIO()
        call_command("outbox_reap", "--stale-threshold=600", "--json", f"--database={using}", stdout=out)
        assert json.loads(out.getvalue()) == {"reaped": 0, "items": []}
        out = StringIO()
        call_command("outbox_reap", "--json", f"--database={using}", stdout=out)
        (told,) = handler.told
        expected = {"id": item.id, "kind": "fragile", "status": "FAILED", "worker": "lost-worker", "crashes": 1}
        assert json.loads(out.getvalue()) == {"reaped": 1, "items": [{**expected, "error": told[1]}]}
        lose(get_store(using), 2)
        out = StringIO()
        call_command("outbox_reap", f"--database={using}", stdout=out)
        assert out.getvalue().endswith("Recovered 2 stuck items.\n")
    finally:
        settings.configure(None)


def test_the_command_says_what_it_cannot_reap_by() -> None:
    with pytest.raises(CommandError, match=r"no database 'nope'\. DATABASES of the settings has: default\b"):
        call_command("outbox_reap", "--database", "nope")
    with pytest.raises(CommandError, match="-1"):
        call_command("outbox_reap", "--stale-threshold=-1")


def test_a_handler_that_lacks_a_method_is_refused_before_it_is_missed() -> None:
    class Half:
        kind = "half"

        def handle(self, item: OutboxItem) -> None:
            raise NotImplementedError

    half: Any = Half()
    with pytest.raises(ConfigurationError, match="'half', Half, lacks on_dead and on_requeue: write them as"):
        handlers.register_handler(half)
    assert handlers.registered_kinds() == []


def test_a_kind_has_one_handler() -> None:
    one, two = Handler("default"), Handler("default")
    handlers.register_handler(one)
    try:
        handlers.register_handler(one)
        found: object = handlers.get_handler("fragile")
        assert found is one
        assert handlers.registered_kinds() == ["fragile"]
        with pytest.raises(DuplicateKeyError, match="fragile"):
            handlers.register_handler(two)
        with pytest.raises(NotRegisteredError, match="Did you mean 'fragile'"):
            handlers.get_handler("fragil")
    finally:
        handlers.unregister_handler("fragile")
    assert handlers.registered_kinds() == []
