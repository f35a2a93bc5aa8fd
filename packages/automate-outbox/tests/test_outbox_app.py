from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from io import StringIO
from typing import Any
from unittest.mock import Mock

import pytest
from automate_core import settings
from automate_core.errors import ConfigurationError, InvalidPayloadError, LeaseLostError
from automate_core.outbox import NewJob
from automate_core.registry import Registry
from automate_core.testing.databases import require_database
from automate_outbox import plugin
from automate_outbox.admin import OutboxJobAdmin
from automate_outbox.checks import check_databases, check_time_zone
from automate_outbox.models import OutboxJob
from automate_outbox.store import (
    OptimisticClaimOutboxStore,
    SkipLockedClaimOutboxStore,
    get_store,
    leases,
)
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connections, transaction
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- choosing a store -------------------------------------------------------------------------------------------------


def test_the_store_fits_the_database(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(get_store(using)) is SkipLockedClaimOutboxStore
    assert get_store(using).lease_seconds == settings.current().outbox.lease_seconds
    assert get_store(using, lease_seconds=2).lease_seconds == 2
    monkeypatch.setattr(connections[using].features, "has_select_for_update_skip_locked", False)
    if using != "default":
        assert type(get_store(using)) is OptimisticClaimOutboxStore
        store = SkipLockedClaimOutboxStore(using=using)
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="OptimisticClaimOutboxStore"):
                store.claim_batch("w")


@pytest.mark.parametrize("was_away", [False, True])
def test_a_server_without_skip_locked_is_never_asked_for_it(
    using: str, was_away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if using == "default":
        pytest.skip("SQLite locks no rows")
    monkeypatch.setattr(connections[using].features, "has_select_for_update_skip_locked", False)
    with monkeypatch.context() as away:
        if was_away:
            away.setattr("automate_outbox.store._fitting", Mock(side_effect=OperationalError("gone away")))
        store = get_store(using)
    store.add([NewJob("a", ordering_key=key) for key in ("", "k") for _ in range(4)])
    with CaptureQueriesContext(connections[using]) as queries:
        items = store.claim_batch("w", 2, kinds=["a"])
        done = len(items)
        while items:
            lost, items = store.complete_and_claim([item.id for item in items], "w", 2, kinds=["a"])
            assert not lost
            done += len(items)
    assert done == 8
    assert [query["sql"] for query in queries if "SKIP LOCKED" in query["sql"].upper()] == []


def test_a_lease_has_a_length() -> None:
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ConfigurationError):
            SkipLockedClaimOutboxStore(wrong)


def test_an_unknown_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connections["default"]), "vendor", "oracle")
    with pytest.raises(ConfigurationError, match="oracle"):
        OptimisticClaimOutboxStore().claim_batch("w")


def test_both_stores_are_registered() -> None:
    registry = Registry([plugin], load_entry_points=False)
    assert registry.keys("outbox_stores") == ["optimistic", "skip_locked"]
    assert registry.load("outbox_stores", "optimistic") is OptimisticClaimOutboxStore
    assert registry.load("outbox_stores", "skip_locked") is SkipLockedClaimOutboxStore


def nested(levels: int) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    for _ in range(levels - 1):
        payload = {"x": payload}
    return payload


def test_a_payload_is_as_deep_as_the_database_takes(using: str) -> None:
    store = get_store(using)
    most = 31 if using == "mariadb" else 100
    with transaction.atomic(using=using):
        store.add([NewJob("test", nested(most))])
        with pytest.raises(InvalidPayloadError, match=f"deeper than {most}"):
            store.add([NewJob("test", nested(most + 1))])
    (item,) = store.claim_batch("w")
    assert item.payload == nested(most)


# -- what the store remembers -----------------------------------------------------------------------------------------


def test_tokens_are_forgotten_when_their_claim_ends() -> None:
    store = get_store()
    store.add([NewJob("test") for _ in range(7)])
    one, two, three, four, five, six, seven = (item.id for item in store.claim_batch("w", 10))
    held = store._leases
    assert len(held) == 7
    store.mark_success(one, "w")
    store.mark_failed(two, "w")
    store.mark_retry(three, "w", timedelta(hours=1))
    store.release(four, "w")
    assert len(held) == 3
    OutboxJob.objects.filter(pk__in=[five, six]).update(lease_token="taken")
    with pytest.raises(LeaseLostError):
        store.mark_success(five, "w")
    assert store.renew_many([six, seven], "w") == {six}
    assert len(held) == 1
    with transaction.atomic():
        store.mark_success(seven, "w")
        transaction.set_rollback(True)
    assert len(held) == 1
    with pytest.raises(LeaseLostError):
        store.mark_success(seven, "w", lease_token="0" * 32)
    with transaction.atomic():
        store.mark_success(seven, "w")
    assert len(held) == 0
    OutboxJob.objects.all().delete()


def test_what_a_caller_dropped_is_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("automate_outbox.store.leases.time.monotonic", lambda: now[0])
    held = leases.HeldLeases(keep_seconds=100)
    held.remember([1, 2, 3], "w", "first")
    now[0] += 60
    held.touch({2: "first", 3: "another"}, "w")
    now[0] += 60
    held.remember([4], "w", "second")
    assert held.tokens([1, 2, 3, 4], "w") == {2: "first", 4: "second"}
    held.forget({4: "first"}, "w")
    assert held.tokens([4, 4], "w") == {4: "second"}
    assert len(held) == 2


def test_ids_are_worked_out_where_the_server_does_not_return_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL, played by MariaDB."""
    using = require_database("mariadb")
    monkeypatch.setattr(type(connections[using].features), "can_return_rows_from_bulk_insert", False)
    store = get_store(using)
    ids = store.add([NewJob("test", {"n": n}) for n in range(5)])
    items = store.claim_batch("w", 10)
    assert [(item.id, item.payload["n"]) for item in items] == list(zip(ids, range(5), strict=True))
    assert store.add_claimed("w", NewJob("test")).id == ids[-1] + 1
    OutboxJob.objects.using(using).all().delete()


# -- the model --------------------------------------------------------------------------------------------------------


def test_rows_made_by_the_orm_are_claimed(using: str) -> None:
    job = OutboxJob.objects.using(using).create(kind="test", payload={"a": [1, "ü"]})
    (item,) = get_store(using).claim_batch("w")
    assert (item.id, item.payload) == (job.pk, {"a": [1, "ü"]})
    job.refresh_from_db()
    assert job.lease_expires_at == item.lease_expires_at
    assert str(job) == f"test #{job.pk} (CLAIMED)"


def test_the_migration_says_what_the_model_says() -> None:
    call_command("makemigrations", "automate_outbox", check=True, dry_run=True, stdout=StringIO())


def test_the_indexes_are_partial_where_they_can_be(using: str) -> None:
    with connections[using].cursor() as cursor:
        found = connections[using].introspection.get_constraints(cursor, OutboxJob._meta.db_table)
    lead = ["status"] if using == "mariadb" else []
    lane = ["priority", "queue", "tenant", "kind", "next_attempt_at", "id"]
    assert found["automate_outbox_claim"]["columns"] == [*(["status", "ordering_key"] if lead else []), *lane]
    assert found["automate_outbox_order"]["columns"] == [*lead, "queue", "tenant", "ordering_key", "id"]
    assert found["automate_outbox_held"]["columns"] == [*lead, "id"]
    assert found["automate_outbox_dead"]["columns"] == [*lead, "fingerprint", "id"]
    assert ("automate_outbox_turn" in found) == (not lead)
    # A renewal is cheap where no index has the column that it changes.
    assert not any("lease_expires_at" in one["columns"] for one in found.values())


# -- checks, admin ----------------------------------------------------------------------------------------------------


def test_local_times_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_time_zone() == check_databases() == []
    with override_settings(USE_TZ=False):
        assert [problem.id for problem in check_time_zone()] == ["automate_outbox.E001"]
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 35, 0))
    assert [problem.id for problem in check_databases()] == ["automate_outbox.E003"]


def test_a_database_with_a_time_zone_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connections["default"]
    monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", "Asia/Tokyo")
    monkeypatch.delitem(connection.__dict__, "timezone", raising=False)
    try:
        assert [problem.id for problem in check_databases()] == ["automate_outbox.E002"]
    finally:
        monkeypatch.undo()
        connection.__dict__.pop("timezone", None)


@override_settings(ROOT_URLCONF=(path("admin/", admin.site.urls),))
def test_the_admin_shows_and_does_not_touch() -> None:
    store = get_store()
    (job_id, _) = store.add([NewJob("billing.invoice", {"order": 7}), NewJob("other")])
    (item, _) = store.claim_batch("worker-7")
    user = User.objects.create_superuser("admin", password="for tests alone")
    client = Client()
    client.force_login(user)
    listing = client.get("/admin/automate_outbox/outboxjob/", {"q": "billing", "status__exact": "CLAIMED"})
    assert listing.status_code == 200
    page = listing.content.decode()
    assert "billing.invoice" in page
    assert "/outboxjob/add/" not in page
    detail = client.get(f"/admin/automate_outbox/outboxjob/{job_id}/change/").content.decode()
    assert "worker-7" in detail
    assert item.lease_token not in page + detail
    assert 'name="_save"' not in detail
    for action in ("add/", f"{job_id}/delete/"):
        assert client.post(f"/admin/automate_outbox/outboxjob/{action}").status_code == 403
    assert client.post(f"/admin/automate_outbox/outboxjob/{job_id}/change/", {"kind": "x"}).status_code == 403
    assert OutboxJobAdmin.list_filter
    user.delete()
    OutboxJob.objects.all().delete()


# -- imports ----------------------------------------------------------------------------------------------------------


def test_public_modules_import_before_django_is_set_up() -> None:
    code = (
        "from automate_core.outbox import OutboxReaper, OutboxStore, SkipLockedClaimOutboxStore\n"
        "from automate_core.outbox.store import SkipLockedClaimOutboxStore, OptimisticClaimOutboxStore, get_store\n"
        "import automate_outbox.handlers, automate_outbox.plugin\n"
        "store, reaper = SkipLockedClaimOutboxStore(lease_seconds=300), OutboxReaper(stale_threshold_seconds=600)\n"
        "print(store, reaper.stale_threshold_seconds)\n"
        "import sys; assert 'psycopg' not in sys.modules and 'django.contrib' not in sys.modules"
    )
    assert run(code).split() == ["SkipLockedClaimOutboxStore(lease_seconds=300,", "using='default')", "600.0"]


@pytest.mark.parametrize("module", ["store", "reaper"])
def test_the_facade_names_the_missing_package(module: str) -> None:
    name: dict[str, Any] = {"store": "SkipLockedClaimOutboxStore", "reaper": "OutboxReaper"}
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'automate_outbox':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import automate_core.outbox\n"
        "for load in (\n"
        f"    lambda: __import__('automate_core.outbox.{module}'),\n"
        f"    lambda: automate_core.outbox.{name[module]},\n"
        "):\n"
        "    try:\n"
        "        load()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    lines = run(code).splitlines()
    assert len(lines) == 2
    assert all("pip install automate-outbox" in line for line in lines)
