"""Large values: kept as files by content, verified when read, never lost while used, removed when not."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import math
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from automate import artifacts, retention
from automate.artifacts.files import PrivateStorage, file_name
from automate.artifacts.reference import MARK, Reference
from automate.doctor import examine
from automate.errors import (
    ArtifactCorrupt,
    ArtifactUnavailable,
    AutomateError,
    ConfigurationError,
    InvalidPayloadError,
)
from automate.models import Artifact, ArtifactUse, Event, ExecutionRun
from automate.payloads import ensure_storable
from automate.retention import walk
from django.core.checks import run_checks
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

pytestmark = pytest.mark.usefixtures("db", "location")

LARGE = {"text": "ä" * 200_000, "numbers": [0.1, 1.0, 1, 2**60, None, True]}
MIB = 2**20


@pytest.fixture
def location(tmp_path: Path, configured: Any) -> Path:
    configured(ARTIFACTS={"location": str(tmp_path / "private"), "grace_hours": 0})
    return tmp_path / "private"


def column_of(value: Any) -> Any:
    return artifacts.stored(value, ensure_storable(value, max_bytes=20 * MIB, require_object=False))


MARIADB_DEADLOCK = 1213


def add(payload: Any) -> Event:
    """Write an event as its rows are written everywhere."""
    event = Event(type="a.b", payload=column_of(payload), created_at=timezone.now())
    with transaction.atomic():
        artifacts.keep([(event.payload, artifacts.Owner.EVENT, event.id)])
        event.save()
    return event


def read_back(event: Event) -> Any:
    return artifacts.content(Event.objects.get(pk=event.pk).payload)


def remove_events() -> None:
    """As retention does: in bulk, without a look at what they use."""
    queryset: Any = Event.objects.all()
    queryset._raw_delete(queryset.db)


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def roll_back(value: Any) -> None:
    """Leave the file of a value and nothing else."""
    with transaction.atomic():
        artifacts.keep([(column_of(value), artifacts.Owner.RUN, uuid.uuid4())])
        transaction.set_rollback(True)


def add_again(payload: Any) -> Event:
    """Add an event as :func:`add` does; who was rolled back as one of two that wait for each other tries again."""
    while True:
        try:
            return add(payload)
        except OperationalError as error:
            if error.args[0] != MARIADB_DEADLOCK:
                raise


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Start something with a connection of its own; what it returns or raises is appended to the list."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            outcome.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


# -- what is kept, and how ---------------------------------------------------------------------------------------------


def test_a_large_value_is_one_private_compressed_file_named_by_its_content(location: Path) -> None:
    first, second = add(LARGE), add(dict(reversed(LARGE.items())))
    encoded = ensure_storable(LARGE, max_bytes=MIB)
    (file,) = files_below(location)
    assert file.name == f"{hashlib.sha256(encoded).hexdigest()}.json.gz"
    assert gzip.decompress(file.read_bytes()) == encoded
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert read_back(first) == read_back(second) == LARGE
    assert (Artifact.objects.get().bytes, ArtifactUse.objects.count()) == (len(encoded), 2)
    with connection.cursor() as cursor:
        cursor.execute("SELECT payload FROM automate_event")
        columns = cursor.fetchall()
    assert len(columns) == 2
    assert all(len(str(column)) < 200 for (column,) in columns)
    with pytest.raises(ValueError, match="no address"):
        artifacts.storage().url(file.name)


def test_execution_inline_bytes_is_the_largest_value_in_a_row(location: Path, configured: Any) -> None:
    configured(EXECUTION={"inline_bytes": 12}, ARTIFACTS={"location": str(location)})
    fits, larger = column_of({"a": "1234"}), column_of({"a": "12345"})
    assert (type(fits), type(larger)) == (dict, Reference)
    assert artifacts.content(fits) is fits


def test_small_values_cost_no_statement_and_no_storage(location: Path) -> None:
    values: list[Any] = [{}, [], "x", None, 1]
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        artifacts.keep([(column_of(value), artifacts.Owner.RUN, uuid.uuid4()) for value in values])
    assert [query for query in queries if "automate" in query["sql"]] == []
    assert not location.exists()


def test_many_large_values_take_as_many_statements_as_one(location: Path) -> None:
    def count(values: int) -> int:
        uses = [
            (column_of(["x" * 300_000, uuid.uuid4().hex]), artifacts.Owner.RUN, uuid.uuid4()) for _ in range(values)
        ]
        with CaptureQueriesContext(connection) as queries, transaction.atomic():
            artifacts.keep(uses)
        return len(queries)

    assert count(5) == count(1) <= 5  # with BEGIN and COMMIT, where those are counted


def test_keeping_needs_the_transaction_of_the_row() -> None:
    with pytest.raises(AutomateError, match="transaction"):
        artifacts.keep([(column_of(LARGE), artifacts.Owner.RUN, uuid.uuid4())])


@pytest.mark.parametrize("backend", ["FileSystemStorage", "InMemoryStorage"])
def test_any_storage_of_django_takes_its_place(tmp_path: Path, backend: str) -> None:
    options = {"location": str(tmp_path / "own")}
    entry = {"BACKEND": f"django.core.files.storage.{backend}", "OPTIONS": options}
    with override_settings(STORAGES={"automate": entry}):
        events = [add(LARGE), add(LARGE)]
        assert [read_back(event) for event in events] == [LARGE, LARGE]
        remove_events()
        assert artifacts.collect() == 1
        assert not artifacts.storage().exists(file_name(column_of(LARGE).sha256))
        roll_back(LARGE)
        assert artifacts.collect_orphans() == 1


def test_without_a_place_a_large_value_is_refused(configured: Any) -> None:
    configured(ARTIFACTS={"location": ""})
    with pytest.raises(ConfigurationError, match=r"ARTIFACTS\.location"):
        add(LARGE)
    assert not Event.objects.exists()


# -- a reference is never forged ---------------------------------------------------------------------------------------


def test_a_value_that_looks_like_a_reference_stays_what_it_is() -> None:
    add(LARGE)
    forged = dict(column_of(LARGE))
    assert forged == column_of(LARGE)
    event = add(forged)
    assert read_back(event) == forged
    inner = add({"a": forged, "b": [forged]})
    assert type(inner.payload) is dict
    assert read_back(inner) == {"a": forged, "b": [forged]}
    assert Event.objects.values_list("payload__a", flat=True).get(pk=inner.pk) == forged
    for broken in ({MARK: 1}, {MARK: {"sha256": "../../x", "bytes": 1}}, {MARK: {}, "more": 1}):
        assert read_back(add(broken)) == broken


def test_the_models_refuse_what_only_looks_like_a_reference() -> None:
    forged = dict(column_of(LARGE))
    with pytest.raises(InvalidPayloadError, match=r"\$artifact"):
        Event(type="a.b", payload=forged, created_at=timezone.now()).save()
    with pytest.raises(InvalidPayloadError):
        Event.objects.bulk_create([Event(type="a.b", payload=forged, created_at=timezone.now())])
    with pytest.raises(InvalidPayloadError):
        ExecutionRun.objects.update(outputs=forged)


@pytest.mark.parametrize("inner", [{}, {"sha256": "../../etc/passwd", "bytes": 9}, {"sha256": "0" * 64, "bytes": "9"}])
def test_a_reference_that_was_changed_by_hand_is_an_error(inner: Any) -> None:
    with pytest.raises(ArtifactCorrupt, match="changed by hand"):
        artifacts.content(artifacts.from_column({MARK: inner}))


# -- damage and outages ------------------------------------------------------------------------------------------------


def damaged(file: Path) -> dict[str, bytes]:
    packed = file.read_bytes()
    return {
        "cut": packed[:-20],
        "flipped": packed[:50] + bytes([packed[50] ^ 255]) + packed[51:],
        "other": gzip.compress(gzip.decompress(packed).replace(b"0.1", b"0.2")),
        "longer": gzip.compress(gzip.decompress(packed) + b" " * 10 * MIB),
        "empty": b"",
    }


def test_a_damaged_file_is_a_typed_error_and_the_next_writer_mends_it(location: Path) -> None:
    event = add(LARGE)
    (file,) = files_below(location)
    for name, content in damaged(file).items():
        file.write_bytes(content)
        with pytest.raises(ArtifactCorrupt, match="damaged") as caught:
            read_back(event)
        assert caught.value.context["sha256"] in caught.value.context["file"], name
        assert not caught.value.retryable
        add(LARGE)
        assert read_back(event) == LARGE, name


def test_a_missing_file_may_come_back(location: Path) -> None:
    event = add(LARGE)
    (file,) = files_below(location)
    file.unlink()
    with pytest.raises(ArtifactUnavailable, match="has no file") as caught:
        read_back(event)
    assert caught.value.retryable


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Exception], None]:
    """Let one method of the storage fail: ``failing("save", error)``."""

    def fail(method: str, error: Exception) -> None:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise error

        monkeypatch.setattr(PrivateStorage, method, refuse)

    return fail


def test_what_a_storage_raises_is_a_typed_error(failing: Any) -> None:
    event = add(LARGE)
    failing("_open", PermissionError("no"))
    with pytest.raises(ArtifactUnavailable, match="PermissionError: no"):
        read_back(event)


def test_a_full_disk_leaves_nothing(location: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        location.mkdir()
        (location / "artifacts").mkdir()
        (location / file_name(column_of(LARGE).sha256)).parent.mkdir()
        with pytest.raises(ArtifactUnavailable, match="No space left"):
            add(LARGE)
    assert files_below(location) == []
    assert (Event.objects.count(), Artifact.objects.count(), ArtifactUse.objects.count()) == (0, 0, 0)
    assert read_back(add(LARGE)) == LARGE


# -- collection --------------------------------------------------------------------------------------------------------


def test_what_nothing_uses_is_removed_and_nothing_else(location: Path) -> None:
    gone, kept = add(LARGE), add({"text": "b" * 300_000})
    shared = add({"text": "c" * 300_000})
    run_id = uuid.uuid4()
    with transaction.atomic():
        artifacts.keep([(Event.objects.get(pk=gone.pk).payload, artifacts.Owner.RUN, run_id)])
    assert artifacts.collect() == 0, "its run was not looked for"
    queryset: Any = Event.objects.filter(pk=shared.pk)
    queryset._raw_delete(queryset.db)
    assert artifacts.collect() == 1
    assert len(files_below(location)) == 2
    assert (read_back(gone), read_back(kept)) == (LARGE, {"text": "b" * 300_000})
    remove_events()
    assert [artifacts.collect(1), artifacts.collect(1), artifacts.collect(1)] == [1, 1, 0]
    assert files_below(location) == []
    assert not ArtifactUse.objects.exists()


def test_a_sweep_looks_at_uses_once_and_in_windows_of_their_key(location: Path, configured: Any) -> None:
    configured(ARTIFACTS={"location": str(location), "grace_hours": 0}, RETENTION={"batch_size": 2, "pause_seconds": 0})
    for n in range(5):
        add({"text": str(n) * 300_000})

    def looks() -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            assert retention.sweep(math.inf).complete
        plain = [query["sql"].replace('"', "").replace("`", "") for query in queries]
        return [sql for sql in plain if "FROM automate_artifactuse" in sql and "FROM automate_artifact " not in sql]

    found = looks()
    assert len(found) == 3
    assert all("WHERE automate_artifactuse.id > " in sql and "LIMIT 2" in sql for sql in found)
    remove_events()
    found = looks()
    by_key = [sql.split()[0] for sql in found if "WHERE automate_artifactuse.id " in sql]
    assert by_key == ["SELECT", "DELETE"] * 3
    assert files_below(location) == []
    assert not ArtifactUse.objects.exists()


def test_sweeps_that_follow_at_once_share_the_chance_of_a_look_for_orphans(
    location: Path, configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(ARTIFACTS={"location": str(location), "grace_hours": 0}, RETENTION={"interval_seconds": 60})
    monkeypatch.setattr(walk, "_drawn", {})
    monkeypatch.setattr("random.random", lambda: 50 / 86_400)
    removed = []
    for n in range(2):
        roll_back([str(n) * 300_000])
        removed.append(retention.sweep(math.inf).pruned["artifacts"])
    assert removed == [1, 0]


def test_artifacts_grace_hours_keeps_what_is_young(location: Path, configured: Any) -> None:
    add(LARGE)
    remove_events()
    roll_back(["x" * 300_000])
    configured(ARTIFACTS={"location": str(location), "grace_hours": 1})
    assert (artifacts.collect(), artifacts.collect_orphans()) == (0, 0)
    configured(ARTIFACTS={"location": str(location), "grace_hours": 0})
    assert (artifacts.collect(), artifacts.collect_orphans()) == (1, 1)
    assert files_below(location) == []


def test_retention_collects_and_about_once_a_day_lists_the_storage(
    location: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(120):
        with transaction.atomic():
            artifacts.keep([(column_of(["x" * 300_000, number]), artifacts.Owner.RUN, uuid.uuid4())])
    roll_back(LARGE)
    monkeypatch.setattr("random.random", lambda: 0.5)
    report = retention.sweep(math.inf, force=True)
    assert (report.pruned["artifacts"], len(files_below(location))) == (120, 1)
    monkeypatch.setattr("random.random", lambda: 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(PrivateStorage, "listdir", PrivateStorage.open)  # any error will do
        (notice,) = retention.sweep(math.inf, force=True).notices
        assert notice.startswith("artifacts: The storage of artifacts could not list")
    assert retention.sweep(math.inf, force=True).pruned["artifacts"] == 1
    assert files_below(location) == []


def test_what_a_killed_writer_left_is_removed(location: Path) -> None:
    event = add(LARGE)
    (file,) = files_below(location)
    old, young = file.with_name(f"{file.name}.abc.tmp"), file.with_name(f"{file.name}.def.tmp")
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    artifacts.collect_orphans()
    assert files_below(location) == [file, young], "somebody may be writing the young one"
    assert read_back(event) == LARGE


def test_a_file_that_cannot_be_deleted_keeps_no_other(location: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [["x" * 300_000, number] for number in range(3)]
    for value in values:
        add({"value": value})
    remove_events()
    stuck, delete = file_name(column_of({"value": values[0]}).sha256), PrivateStorage.delete

    def refuse(self: Any, name: str) -> None:
        if name == stuck:
            raise PermissionError("stuck")
        delete(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(PrivateStorage, "delete", refuse)
        with pytest.raises(ArtifactUnavailable, match="stuck"):
            artifacts.collect()
    assert len(files_below(location)) == Artifact.objects.count() == 1
    assert artifacts.collect() == 1


@pytest.mark.parametrize("written_again", [True, False])
def test_a_collector_that_dies_between_file_and_commit_harms_nobody(
    location: Path, monkeypatch: pytest.MonkeyPatch, written_again: bool
) -> None:
    add(LARGE)
    remove_events()
    delete = PrivateStorage.delete

    def die(self: Any, name: str) -> None:
        delete(self, name)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PrivateStorage, "delete", die)
        with pytest.raises(KeyboardInterrupt):
            artifacts.collect()
    assert (files_below(location), Artifact.objects.count()) == ([], 1)
    if written_again:
        assert read_back(add(LARGE)) == LARGE
    else:
        assert artifacts.collect() == 1


def test_a_share_of_an_artifact_that_is_gone_is_refused() -> None:
    event = Event.objects.get(pk=add(LARGE).pk)
    remove_events()
    artifacts.collect()
    with pytest.raises(ArtifactUnavailable, match="removed"), transaction.atomic():
        artifacts.keep([(event.payload, artifacts.Owner.EXECUTION, uuid.uuid4())])


# -- writers against the collection ------------------------------------------------------------------------------------


@pytest.mark.parametrize("collect", [artifacts.collect, artifacts.collect_orphans])
def test_a_writer_that_comes_while_the_file_is_deleted_ends_with_a_file(
    monkeypatch: pytest.MonkeyPatch, collect: Callable[[], int]
) -> None:
    add(LARGE)
    remove_events()
    if collect is artifacts.collect_orphans:
        ArtifactUse.objects.all().delete()
        Artifact.objects.all().delete()
    deleting, done, delete = threading.Event(), threading.Event(), PrivateStorage.delete

    def write() -> Event:
        deleting.wait(10)
        try:
            return add(LARGE)
        finally:
            done.set()

    def delete_slowly(self: Any, name: str) -> None:
        deleting.set()
        done.wait(0.5)  # a writer that does not wait for the row would take the file for granted now
        delete(self, name)

    monkeypatch.setattr(PrivateStorage, "delete", delete_slowly)
    writer, outcome = in_thread(write)
    assert collect() == 1
    writer.join(30)
    assert read_back(outcome[0]) == LARGE
    assert (Artifact.objects.count(), ArtifactUse.objects.count()) == (1, 1)


@pytest.mark.parametrize("left", ["an unused artifact", "a file without a row", "nothing"])
def test_what_an_open_transaction_uses_is_not_collected(left: str) -> None:
    if left != "nothing":
        add(LARGE)
        remove_events()
        ArtifactUse.objects.all().delete()
    if left == "a file without a row":
        Artifact.objects.all().delete()
    event = Event(type="a.b", payload=column_of(LARGE), created_at=timezone.now())
    with transaction.atomic():
        artifacts.keep([(event.payload, artifacts.Owner.EVENT, event.id)])
        collector, outcome = in_thread(lambda: artifacts.collect() + artifacts.collect_orphans())
        collector.join(0.5)  # it passes by, or waits for this transaction
        event.save()
    collector.join(30)
    assert outcome == [0]
    assert read_back(event) == LARGE


def test_writers_and_collectors_at_once_never_leave_a_use_without_a_file(location: Path) -> None:
    ends: list[bool] = []
    removed: list[int] = []

    def begin_round() -> None:
        ends.append(len(ends) >= 25 and (sum(removed) > 0 or len(ends) >= 500))

    start = threading.Barrier(4, action=begin_round)

    def rounds() -> Iterator[None]:
        while True:
            start.wait(60)
            if ends[-1]:  # nobody begins another round before all have seen this
                return
            yield

    def write() -> None:
        for _ in rounds():
            event = add_again(LARGE)
            assert artifacts.content(Event.objects.get(pk=event.pk).payload) == LARGE
            queryset: Any = Event.objects.filter(pk=event.pk)
            queryset._raw_delete(queryset.db)

    def collect() -> None:
        for _ in rounds():
            removed.append(artifacts.collect() + artifacts.collect_orphans() + artifacts.collect())

    threads = [in_thread(work) for work in (write, write, collect, collect)]
    for thread, _ in threads:
        thread.join(300)
    assert [outcome for _, outcome in threads] == [[None]] * 4
    assert sum(removed) > 0, "nothing was collected meanwhile"
    artifacts.collect()
    artifacts.collect_orphans()
    assert (files_below(location), Artifact.objects.count()) == ([], 0)


def test_a_storage_that_writes_in_place_and_was_killed_is_mended(tmp_path: Path) -> None:
    entry = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path / "own")}}
    with override_settings(STORAGES={"automate": entry}):
        reference = column_of(LARGE)
        FileSystemStorage(tmp_path / "own").save(file_name(reference.sha256), ContentFile(reference.packed[:100]))
        assert read_back(add(LARGE)) == LARGE
        assert json.loads(json.dumps(Event.objects.get().payload)) == dict(reference)


# -- looking after it --------------------------------------------------------------------------------------------------


def found_by_checks(*, deploy: bool = False) -> list[str]:
    return [str(message.id) for message in run_checks(include_deployment_checks=deploy) if "rtifacts" in message.msg]


def test_checks_tell_where_artifacts_must_not_be(location: Path, configured: Any) -> None:
    assert found_by_checks(deploy=True) == []
    with override_settings(MEDIA_ROOT=str(location.parent)):
        assert found_by_checks() == ["automate.E005"]
    with override_settings(STATIC_ROOT=str(location)):
        assert found_by_checks() == ["automate.E005"]
    media = {"BACKEND": "django.core.files.storage.FileSystemStorage"}  # which writes to MEDIA_ROOT
    with override_settings(STORAGES={"automate": media}, MEDIA_ROOT=str(location.parent)):
        assert found_by_checks(deploy=True) == ["automate.E005"]
    with override_settings(STORAGES={"automate": {"BACKEND": "no.such.Storage"}}):
        assert found_by_checks() == ["automate.W002"]
    configured(ARTIFACTS={"location": ""})
    assert found_by_checks() == ["automate.W002"]
    with override_settings(BASE_DIR=location):
        assert found_by_checks() == []
        assert found_by_checks(deploy=True) == ["automate.W003"]
        assert files_below(location) == []


def test_the_doctor_tries_the_storage(location: Path, configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked() -> tuple[str, str]:
        (finding,) = [finding for finding in examine() if finding.name == "artifacts"]
        return finding.level, finding.message

    assert looked() == ("ok", "large values go to PrivateStorage")
    assert files_below(location) == []
    with monkeypatch.context() as patch:
        patch.setattr(PrivateStorage, "_open", lambda *args: ContentFile(b"something else"))
        assert looked()[0] == "error"
    location.joinpath("artifacts", "00").rmdir()
    location.joinpath("artifacts", "00").write_text("in the way")
    assert looked()[0] == "error"
    configured(ARTIFACTS={"location": ""})
    assert looked()[0] == "warning"
