"""The chain of the audit log: whatever is done to it past the application is found, and nothing else is."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from audit_log import COLUMNS, HEAD, KEYS, LOG, empty, execute, head, insert, kinds, rows, set_head, write
from automate.audit import Anchor, AuditEntry, appending, record, record_many, verify
from automate.audit.appending import reseal
from automate.audit.chain import FIELDS, GENESIS, KeyRing, code_of, seal_of
from automate.audit.keys import current_ring
from automate.errors import AuditChainBroken, AuditError, ConfigurationError, InvalidPayloadError
from automate.models import AuditHead, AuditLogEntry, Workflow
from automate.publish import publish
from automate_core.settings import AuditSettings
from automate_core.testing.databases import chosen_database
from django.db import IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext, override_settings
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("db")

HERE = Path(__file__).parent
LOG_STEP = {"id": "note", "action": "flow.log", "params": {"message": "x"}}
NAMES = COLUMNS.split(", ")


@pytest.fixture
def keyed(configured: Any) -> None:
    configured(AUDIT={"keys": {"k1": KEYS["k1"]}})


def test_the_code_covers_every_column() -> None:
    columns = {field.name for field in AuditLogEntry._meta.concrete_fields}
    assert columns - {"mac"} == set(FIELDS)
    assert set(NAMES) == columns


# -- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("keyed")
def test_an_append_takes_three_statements_however_many_entries() -> None:
    record("a.b", "c:d", actor="me")
    for number in (1, 50):
        with CaptureQueriesContext(connection) as queries:
            record_many([AuditEntry("a.b", "c:d", "me")] * number)
        kept = [query["sql"] for query in queries if not query["sql"].startswith(("BEGIN", "COMMIT"))]
        assert len(kept) == 3, kept
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:  # no savepoint either
        record("a.b", "c:d", actor="me")
    assert len(queries) == 3
    record_many([])
    assert verify().checked == 53


@pytest.mark.usefixtures("keyed")
def test_what_is_rolled_back_leaves_no_gap() -> None:
    write(2)
    with transaction.atomic():
        write(3)
        transaction.set_rollback(True)
    write(1)
    assert list(AuditLogEntry.objects.order_by("pk").values_list("position", flat=True)) == [1, 2, 3]
    assert verify().intact


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.sets(st.integers()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(details=st.lists(st.dictionaries(st.text(), VALUES, max_size=4), min_size=1, max_size=8), text=st.text())
def test_what_is_written_is_what_the_database_gives_back(details: list[dict[str, Any]], text: str) -> None:
    empty()
    record_many(AuditEntry("a.b", text, text, text, one) for one in details)
    report = verify()
    assert report.findings == []
    assert report.checked == len(details)


@pytest.mark.usefixtures("keyed")
def test_numbers_times_and_texts_that_columns_would_change() -> None:
    odd = {
        "zero": -0.0,
        "large": 1e300,
        "small": 5e-324,
        "huge": 10**40,
        "one": 1.0,
        "nan": float("nan"),
        "\x00": "\ud800",
    }
    record("a.b", "c:d", actor="x" * 500, details={**odd, "at": datetime(2026, 1, 1, tzinfo=UTC), "none": None})
    assert verify().intact
    entry = AuditLogEntry.objects.get()
    assert entry.details["huge"] == str(10**40)
    assert entry.details["one"] == 1.0
    assert entry.details["\\x00"] == "\\ud800"
    assert len(entry.actor) == 200


def test_details_that_no_database_takes_are_refused_before_anything_is_written() -> None:
    deep: Any = 1
    for _ in range(60 if chosen_database() == "mariadb" else 99):
        deep = [deep]
    for details in ({"deep": [deep]}, {"large": "x" * 1_100_000}):
        with pytest.raises(InvalidPayloadError):
            record("a.b", "c:d", actor="me", details=details)
    assert not AuditLogEntry.objects.exists()


def test_everything_is_redacted_before_it_is_written() -> None:
    from automate_core.redaction import forget, remember

    remember("hunter2-hunter2")
    try:
        record("a.b", "c:hunter2-hunter2", actor="hunter2-hunter2", tenant="t", details={"x": "is hunter2-hunter2"})
        assert "hunter2" not in str(rows())
    finally:
        forget("hunter2-hunter2")


def failures_in_threads(work: Callable[[int], object]) -> list[BaseException]:
    """Do it in five threads at once, and return what they raised."""
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


@pytest.mark.usefixtures("keyed")
def test_many_threads_write_one_chain() -> None:
    def work(number: int) -> None:
        for turn in range(10):
            if number:
                record("secret.read", f"secret:{turn}", actor=f"thread {number}")
            else:
                publish({"slug": f"w{turn}", "trigger": {"type": "manual"}, "steps": [LOG_STEP]})

    assert failures_in_threads(work) == []
    report = verify()
    assert (report.findings, report.checked, report.last) == ([], 50, 50)


@pytest.mark.usefixtures("keyed")
def test_a_head_that_is_missing_is_made_once_whoever_misses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    AuditHead.objects.all().delete()
    all_have_looked = threading.Barrier(1 if chosen_database() == "sqlite" else 5)  # it lets one at a time look
    lock = appending._lock

    def look(using: str) -> AuditHead | None:
        head = lock(using)
        if head is None:
            all_have_looked.wait(60)
        return head

    monkeypatch.setattr(appending, "_lock", look)
    assert failures_in_threads(lambda _: record("a.b", "c:d", actor="me")) == []
    assert (verify().findings, verify().checked) == ([], 5)


@pytest.mark.usefixtures("keyed")
def test_many_processes_write_one_chain() -> None:
    names = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    database = {name: value for name, value in connection.settings_dict.items() if name in names}
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)]),
        "DJANGO_SETTINGS_MODULE": "worker_settings",
        "WORKER_DATABASE": json.dumps({**database, "NAME": str(database["NAME"])}),
        "WORKER_DATABASE_KIND": chosen_database(),
        "WORKER_AUTOMATE": json.dumps({"AUDIT": {"keys": {"k1": KEYS["k1"]}}}),
    }
    program = "import django; django.setup(); from audit_log import write; [write(2) for _ in range(10)]"
    writers = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    report = verify()
    assert (report.findings, report.checked, report.last) == ([], 60, 60)


# -- tampering --------------------------------------------------------------------------------------------------------


def edit(column: str, value: Any) -> Callable[[], None]:
    cast = "CAST(%s AS jsonb)" if column == "details" and connection.vendor == "postgresql" else "%s"
    return lambda: execute(f"UPDATE {LOG} SET {column} = {cast} WHERE position = 3", value)


def delete(*positions: int) -> Callable[[], None]:
    return lambda: execute(f"DELETE FROM {LOG} WHERE position IN ({', '.join(map(str, positions))})")


def swap() -> None:
    """Exchange all that two entries say, each keeping its place in the chain."""
    third, fifth = rows()[2], rows()[4]
    delete(3, 5)()
    insert((3, *fifth[1:7], *third[7:]))
    insert((5, *third[1:7], *fifth[7:]))


def swap_whole() -> None:
    third, fifth = rows()[2], rows()[4]
    delete(3, 5)()
    insert((3, *fifth[1:]))
    insert((5, *third[1:]))


def forge() -> None:
    last = rows()[-1]
    insert((7, "mallory", *last[2:8], last[9], "f" * 64))


def forge_with_head() -> None:
    forge()
    execute(f"UPDATE {HEAD} SET position = 7, mac = %s", "f" * 64)


def squeeze() -> None:
    """Take one out and close the gap."""
    delete(3)()
    for position in (4, 5, 6):
        execute(f"UPDATE {LOG} SET position = {position - 1} WHERE position = {position}")


def rewrite_without_key() -> None:
    rewrite(KeyRing())


def rewrite(ring: KeyRing) -> None:
    """Write all of it anew, by what somebody has who has these keys."""
    mac, position = GENESIS, 0
    for entry in AuditLogEntry.objects.order_by("position").values(*FIELDS):
        entry |= {"actor": "mallory", "previous": mac, "key_id": ring.active}
        mac, position = code_of(entry, ring), entry["position"]
        values = (entry["actor"], entry["previous"], ring.active, mac, position)
        execute(f"UPDATE {LOG} SET actor = %s, previous = %s, key_id = %s, mac = %s WHERE position = %s", *values)
    set_head((position, mac, ring.active, seal_of(position, mac, ring.active, ring)))


def cut_and_reseal_without_key() -> None:
    mac = rows()[3][9]
    delete(5, 6)()
    set_head((4, mac, "", seal_of(4, mac, "", KeyRing())))


def cut_and_move_head() -> None:
    delete(5, 6)()
    execute(f"UPDATE {HEAD} SET position = 4, mac = %s", rows()[3][9])


def empty_the_log() -> None:
    execute(f"DELETE FROM {LOG}")
    set_head((0, GENESIS, "", ""))


CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "actor": (lambda: edit("actor", "mallory")(), "edited"),
    "action": (lambda: edit("action", "workflow.enabled")(), "edited"),
    "resource": (lambda: edit("resource", "workflow:w9")(), "edited"),
    "tenant": (lambda: edit("tenant", "")(), "edited"),
    "details": (lambda: edit("details", '{"n": 2.0, "text": "é\u2028", "part": 0.5}')(), "edited"),
    "details become null": (lambda: edit("details", "null")(), "edited"),
    "time": (lambda: edit("created_at", "2026-01-01 00:00:00")(), "edited"),
    "key id": (lambda: edit("key_id", "k2")(), "unknown_key"),
    "key id taken away": (lambda: edit("key_id", "")(), "unkeyed"),
    "previous": (lambda: edit("previous", "0" * 64)(), "unlinked"),
    "code": (lambda: edit("mac", hashlib.sha256(b"").hexdigest())(), "edited"),
    "position": (lambda: edit("position", 9)(), "missing"),
    "first deleted": (lambda: delete(1)(), "missing"),
    "some deleted": (lambda: delete(2, 4, 5)(), "missing"),
    "last deleted": (lambda: delete(6)(), "truncated"),
    "cut": (lambda: delete(4, 5, 6)(), "truncated"),
    "all deleted": (lambda: delete(1, 2, 3, 4, 5, 6)(), "truncated"),
    "emptied, with the first head": (empty_the_log, "head"),
    "squeezed": (squeeze, "unlinked"),
    "swapped": (swap, "edited"),
    "swapped with their codes": (swap_whole, "unlinked"),
    "forged": (forge, "beyond_head"),
    "forged with the head": (forge_with_head, "head"),
    "rewritten with plain hashes": (rewrite_without_key, "unkeyed"),
    "cut, head moved back": (cut_and_move_head, "head"),
    "cut, head sealed without a key": (cut_and_reseal_without_key, "unkeyed"),
    "head deleted": (lambda: execute(f"DELETE FROM {HEAD}"), "head"),
    "head's seal": (lambda: execute(f"UPDATE {HEAD} SET seal = %s", "0" * 64), "head"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("keyed")
def test_tampering_is_found_and_named(name: str) -> None:
    write()
    anchor = verify().head
    assert verify(anchor=Anchor.parse(anchor)).intact
    tamper, kind = CASES[name]
    tamper()
    report = verify()
    assert kind in kinds(report), report.findings
    assert all(finding.message for finding in report.findings)


@pytest.mark.usefixtures("keyed")
def test_a_cut_with_the_head_of_that_time_needs_a_head_that_was_kept_elsewhere() -> None:
    write(4)
    old = head()
    write(2)
    kept = Anchor.parse(verify().head)
    delete(5, 6)()
    set_head(old)
    assert verify().intact
    assert kinds(verify(anchor=kept)) == {"truncated"}
    write(3)  # and it goes on
    assert verify().intact
    assert kinds(verify(anchor=kept)) == {"anchor"}


@pytest.mark.skipif(chosen_database() != "sqlite", reason="other databases refuse such values")
@pytest.mark.parametrize("column", ["created_at", "actor", "mac", "key_id"])
@pytest.mark.parametrize("value", ["2026-13-45 99:00:00", b"\xff\xfe", "{", 7])
@pytest.mark.usefixtures("keyed")
def test_values_of_another_type_are_found_and_break_nothing(column: str, value: Any) -> None:
    write()
    edit(column, value)()
    assert not verify().intact


@pytest.mark.skipif(chosen_database() == "postgres", reason="its binary JSON has each key once")
@pytest.mark.usefixtures("keyed")
def test_a_key_that_is_there_twice_is_found() -> None:
    record("a.b", "c:d", actor="me", details={"rows": [{"n": 2}]})
    write(2)
    execute(f"UPDATE {LOG} SET details = %s WHERE position = 1", '{"rows": [{"n": 999, "n": 2}]}')
    assert [(found.position, found.kind) for found in verify().findings] == [(1, "edited")]


EDITS = st.one_of(
    st.tuples(
        st.sampled_from(["actor", "action", "resource", "tenant", "key_id", "previous", "mac"]), st.text(max_size=9)
    ),
    st.tuples(st.just("created_at"), st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(str)),
    st.tuples(st.just("details"), VALUES.filter(lambda value: "\\u0000" not in json.dumps(value, default=str))),
)
HEADS = st.sampled_from(["mac", "key_id", "seal"])


@st.composite
def tampering(draw: st.DrawFn, size: int = 6) -> Callable[[], None]:
    """Draw something that is done to a log."""
    one, other = draw(st.lists(st.integers(1, size), min_size=2, max_size=2, unique=True))
    column, value = draw(EDITS)
    if column == "details":
        value = json.dumps(value, default=str)
    some = draw(st.sets(st.integers(1, size), min_size=1))
    cut = draw(st.integers(0, size - 1))
    swapped = draw(st.sampled_from([name for name in NAMES if name != "position"]))

    def cut_off() -> None:
        execute(f"DELETE FROM {LOG} WHERE position > {cut}")
        if with_head:
            last = rows()[-1][9] if cut else GENESIS
            execute(f"UPDATE {HEAD} SET position = {cut}, mac = %s", last)

    def exchange() -> None:
        at = NAMES.index(swapped)
        values = {row[0]: row[at] for row in rows()}
        for to, source in ((one, other), (other, one)):
            execute(f"UPDATE {LOG} SET {swapped} = %s WHERE position = {to}", values[source])

    def copy() -> None:
        row = rows()[one - 1]
        insert((size + 1, *row[1:]))

    with_head, column_of_head, value_of_head = draw(st.booleans()), draw(HEADS), draw(st.text(max_size=9))
    return draw(
        st.sampled_from(
            [
                lambda: execute(f"UPDATE {LOG} SET {column} = %s WHERE position = {one}", value),
                lambda: execute(f"DELETE FROM {LOG} WHERE position IN ({', '.join(map(str, some))})"),
                lambda: execute(f"UPDATE {HEAD} SET {column_of_head} = %s", value_of_head),
                cut_off,
                exchange,
                copy,
            ]
        )
    )


@pytest.mark.skipif(chosen_database() != "sqlite", reason="the cases above are tried on each")
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.usefixtures("keyed")
def test_whatever_is_done_to_a_log_is_found(data: st.DataObject) -> None:
    empty()
    write()
    before = stored()
    assert verify().intact
    try:
        data.draw(tampering())()
    except (UnicodeEncodeError, IntegrityError):  # the database does not take it
        assume(False)
    assume(stored() != before)
    assert not verify().intact


@pytest.mark.skipif(chosen_database() == "postgres", reason="it takes no NUL")
@pytest.mark.parametrize("column", ["mac", "seal"])
@pytest.mark.usefixtures("keyed")
def test_a_head_of_what_is_no_text_is_found_like_any_other(column: str) -> None:
    write()
    execute(f"UPDATE {HEAD} SET {column} = %s", "\x00")
    assert "head" in kinds()
    with pytest.raises(AuditChainBroken):
        write()


def stored() -> Any:
    """What the log says: JSON in another notation says the same."""
    at = NAMES.index("details")
    return head(), [(*row[:at], json.dumps(json.loads(row[at])), *row[at + 1 :]) for row in rows()]


@pytest.mark.skipif(chosen_database() != "postgres", reason="it alone waits for ever")
@pytest.mark.usefixtures("db")
def test_whoever_holds_the_end_of_the_log_does_not_hold_up_others_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appending, "LOCK_SECONDS", 1)
    other = connection.copy()
    with other.cursor() as cursor:
        made = f"INSERT INTO {HEAD} (id, position, mac, key_id, seal) VALUES (1, 0, %s, '', '') ON CONFLICT DO NOTHING"
        cursor.execute(made, [GENESIS])
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {HEAD} FOR UPDATE")
        with pytest.raises(AuditError, match="locked for too long") as caught, transaction.atomic():
            record("a.b", "c:d", actor="me")
        assert caught.value.retryable
    finally:
        other.rollback()
        other.close()
    record("a.b", "c:d", actor="me")


# -- the head, and going on -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tamper", [cut_and_move_head, cut_and_reseal_without_key, forge, CASES["head's seal"][0], CASES["head deleted"][0]]
)
@pytest.mark.usefixtures("keyed")
def test_nothing_is_recorded_behind_a_head_that_others_made_and_so_nothing_changed(tamper: Callable[[], None]) -> None:
    write()
    tamper()
    with pytest.raises(AuditChainBroken, match="automate audit verify"):
        publish({"slug": "w", "trigger": {"type": "manual"}, "steps": [LOG_STEP]})
    assert not Workflow.objects.exists()
    entry = reseal(actor="me", reason="restored from the backup of May")
    assert (entry.action, entry.details["reason"]) == ("audit.resealed", "restored from the backup of May")
    publish({"slug": "w", "trigger": {"type": "manual"}, "steps": [LOG_STEP]})
    assert Workflow.objects.exists()
    assert "resealed" in kinds()  # it is not forgotten
    assert verify(since=entry.position).intact


@pytest.mark.usefixtures("keyed")
def test_a_log_that_was_emptied_and_begun_anew_is_younger_than_the_workflows() -> None:
    def is_noted() -> bool:
        return any("is older than the log" in notice for notice in verify().notices)

    for slug in ("v", "w"):
        publish({"slug": slug, "trigger": {"type": "manual"}, "steps": [LOG_STEP]})
    assert not is_noted()
    empty_the_log()
    write(1)
    assert verify().intact
    assert is_noted()


def test_a_log_without_a_key_is_chained_and_says_so() -> None:
    write()
    report = verify()
    assert report.intact
    assert report.unkeyed == 6
    assert "without a key" in report.notices[0]
    edit("actor", "mallory")()
    assert kinds() == {"edited"}


def test_a_key_is_added_and_changed(configured: Any) -> None:
    write(2)
    configured(AUDIT={"keys": {"k1": KEYS["k1"]}})
    assert kinds() == {"unkeyed"}
    write(2)
    configured(AUDIT={"keys": {"k1": KEYS["k1"]}, "retired": {"": 2}})
    assert verify().intact
    configured(AUDIT={"keys": KEYS, "retired": {"": 2}})
    assert kinds() == {"old_key"}  # as after the entries of k2 were taken away
    write(1)
    report = verify()
    assert report.intact
    assert any("add 'k1': 4 to AUDIT.retired" in notice for notice in report.notices)
    configured(AUDIT={"keys": KEYS, "retired": {"": 2, "k1": 4}})
    write(1)
    report = verify()
    assert report.intact
    assert not any("retired" in notice for notice in report.notices)
    assert verify(since=4).intact
    assert [row[7] for row in rows()] == ["", "", "k1", "k1", "k2", "k2"]
    configured(AUDIT={"keys": {"k1": KEYS["k1"]}, "retired": {"": 2}})
    assert kinds() == {"unknown_key", "old_key"}
    configured(AUDIT={"keys": {"k1": KEYS["k1"], "k2": KEYS["k1"]}, "retired": {"": 2}})
    assert kinds() == {"edited", "head"}
    configured(AUDIT={"keys": {"k2": KEYS["k2"], "k1": KEYS["k1"]}, "retired": {"": 2}})
    with pytest.raises(AuditChainBroken, match="behind entries of the active key 'k1'"):
        write(1)


@pytest.mark.parametrize(
    ("retired", "found"),
    [({"": 3, "k1": 4}, "unkeyed"), ({"": 1, "k1": 4}, "unkeyed"), ({"": 2, "k1": 3}, "old_key"),
     ({"": 2, "k1": 5}, "old_key"), ({"": 2, "k1": 999}, "old_key"), ({"": 7, "k1": 4}, "unkeyed"),
     ({"k1": 4}, "unkeyed"), ({"": 2, "k1": 0}, "old_key")],
)  # fmt: skip
def test_each_key_ends_where_it_was_retired(configured: Any, retired: dict[str, int], found: str) -> None:
    write_with_each_key(configured)
    configured(AUDIT={"keys": KEYS, "retired": {"": 2, "k1": 4}})
    assert verify().intact
    configured(AUDIT={"keys": KEYS, "retired": retired})
    assert kinds() == {found}


def test_a_key_that_is_said_to_end_behind_the_end_of_the_log_is_told_at_once(configured: Any) -> None:
    write_with_each_key(configured)
    configured(AUDIT={"keys": KEYS, "retired": {"": 2, "k1": 4, "k0": 7}})
    (finding,) = verify().findings
    assert (finding.position, finding.kind) == (7, "old_key")
    assert finding.message == "AUDIT.retired says that the key 'k0' wrote up to entry 7; the log ends at 6"
    assert kinds(verify(since=6)) == {"old_key"}


@pytest.mark.parametrize("retired", [{}, {"": 2, "k1": 4}])
def test_who_has_an_old_key_cannot_write_the_log_anew(configured: Any, retired: dict[str, int]) -> None:
    write_with_each_key(configured)
    configured(AUDIT={"keys": KEYS, "retired": retired})
    rewrite(KeyRing({"k1": b"k1" * 16}, "k1"))
    assert "old_key" in kinds()
    if not retired:
        write(1)  # nothing but verification, in time, and a head that was kept elsewhere tell
        assert any("'k1' is not retired" in notice for notice in verify().notices)
        return
    with pytest.raises(AuditChainBroken, match=r"AUDIT.retired says writes no more"):
        write(1)
    reseal(actor="me", reason="k1 leaked")
    assert {"old_key", "resealed"} <= kinds()


@pytest.mark.parametrize("position", [2, 4])
def test_a_log_cannot_be_cut_back_to_where_an_older_key_or_none_was_enough(configured: Any, position: int) -> None:
    write_with_each_key(configured)
    configured(AUDIT={"keys": KEYS, "retired": {"": 2, "k1": 4}})
    execute(f"DELETE FROM {LOG} WHERE position > {position}")
    key_id, mac = rows()[-1][7], rows()[-1][9]
    set_head((position, mac, key_id, seal_of(position, mac, key_id, KeyRing({"k1": b"k1" * 16}))))
    assert ("old_key" if key_id else "unkeyed") in kinds()
    with pytest.raises(AuditChainBroken, match=r"AUDIT.retired says writes no more"):
        write(1)


def test_a_key_writes_one_stretch(configured: Any) -> None:
    write_with_each_key(configured)
    configured(AUDIT={"keys": {"k1": KEYS["k1"], "k2": KEYS["k2"]}, "active_key": "k1", "retired": {"": 2}})
    reseal(actor="me", reason="by a process of before")
    write(2)
    configured(AUDIT={"keys": KEYS, "retired": {"": 2}})
    report = verify()
    assert [(found.position, found.kind) for found in report.findings if found.kind == "old_key"] == [
        (7, "old_key"),
        (None, "old_key"),
    ]


def test_what_writes_cannot_be_retired() -> None:
    for config in ({"retired": {"": 4}}, {"keys": KEYS, "retired": {"k2": 4}}):
        with pytest.raises(ValueError, match="add a key before"):
            AuditSettings.model_validate(config)


def write_with_each_key(configured: Any) -> None:
    """Two entries without a key, two with the first one, two with the second one."""
    for names in ((), ("k1",), ("k1", "k2")):
        configured(AUDIT={"keys": {name: KEYS[name] for name in names}})
        write(2)


def test_the_keys_of_before_are_needed(configured: Any) -> None:
    configured(AUDIT={"keys": {"k1": KEYS["k1"]}})
    write(2)
    configured(AUDIT={"keys": {"k2": KEYS["k2"]}})
    with pytest.raises(AuditChainBroken, match="'k1', which AUDIT"):
        write(1)
    configured(AUDIT={})
    with pytest.raises(AuditChainBroken):
        write(1)


def test_keys_come_from_the_environment_and_from_files(
    configured: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUDIT_KEY", KEYS["k1"])
    (tmp_path / "key").write_text(KEYS["k2"] + "\n")
    (tmp_path / "key").chmod(0o644)
    configured(AUDIT={"keys": {"k1": "$env:AUDIT_KEY", "k2": f"file:{tmp_path / 'key'}"}})
    with pytest.raises(ConfigurationError, match="chmod 600"):
        current_ring()
    (tmp_path / "key").chmod(0o600)
    ring = current_ring()
    assert ring.keys == {name: name.encode() * 16 for name in KEYS}
    assert ring.active == "k2"
    assert "k1k1" not in repr(ring)
    with pytest.raises(TypeError):
        ring.__reduce__()


@pytest.mark.parametrize(
    ("key_id", "key", "text"),
    [
        ("k1", "$env:NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE"),
        ("k1", "$vault:kv/audit#key", "only $env:"),
        ("k1", "file:/nowhere/key", "/nowhere/key cannot be read"),
        ("k1", "%%%%%%%%%%%%", "not base64"),
        ("k1", "c2hvcnQ=", "5 bytes"),
        ("k 1", KEYS["k1"], "key id"),
        ("k1", "a key for tests alone", "SECRET_KEY"),
    ],
)
def test_what_is_no_key_is_told_by_a_check_and_records_nothing(
    configured: Any, key_id: str, key: str, text: str
) -> None:
    from django.core.checks import run_checks

    configured(AUDIT={"keys": {key_id: key}})
    with pytest.raises(ConfigurationError, match=text.replace("$", r"\$")):
        record("a.b", "c:d", actor="me")
    (found,) = [message for message in run_checks() if message.id == "automate.E007"]
    assert text in found.msg
    assert not AuditLogEntry.objects.exists()


def test_a_key_that_django_had_is_no_key(configured: Any) -> None:
    configured(AUDIT={"keys": {"k1": KEYS["k2"]}})
    with (
        override_settings(SECRET_KEY_FALLBACKS=[KEYS["k2"]]),
        pytest.raises(ConfigurationError, match="SECRET_KEY"),
    ):
        current_ring()


def test_the_check_for_deployment_warns_of_a_log_without_a_key(configured: Any) -> None:
    from django.core.checks import run_checks

    def warned() -> bool:
        return "automate.W005" in {message.id for message in run_checks(include_deployment_checks=True)}

    assert warned()
    configured(AUDIT={"keys": {"k1": KEYS["k1"]}})
    assert not warned()


def test_a_head_as_text_and_back() -> None:
    anchor = Anchor(7, "a" * 64)
    assert Anchor.parse(f" {anchor}\n") == anchor
    for text in ("", "7", "automate-audit-1:x:" + "a" * 64, "automate-audit-1:7:a", "automate-audit-2:7:" + "a" * 64):
        with pytest.raises(ValueError, match="automate audit head"):
            Anchor.parse(text)


def test_entries_are_checked_while_others_write_and_from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from automate.audit import verification

    monkeypatch.setattr(verification, "BATCH", 2)
    write(5)
    seen: list[int] = []

    def progress(checked: int) -> None:
        if not seen:
            write(3)
        seen.append(checked)

    report = verify(progress=progress)
    assert (report.findings, report.checked) == ([], 8)
    assert seen == sorted(seen)
    assert verify(since=4).checked == 5
    assert verify(since=9).intact
    assert kinds(verify(since=11)) == {"truncated"}
    assert AuditHead.objects.get().position == 8
    assert timedelta(0) <= datetime.now(UTC) - AuditLogEntry.objects.latest("position").created_at
