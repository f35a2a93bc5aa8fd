"""Rows that no function of Automate writes: they are found, and end neither the verification nor an export."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from audit_log import COLUMNS, HEAD, KEYS, LOG, execute, head, kinds, rows, write
from automate.audit import export, verify
from automate.audit.appending import reseal
from automate.audit.reading import Selection
from automate.audit.verification import state_of
from automate.models import AuditLogEntry
from automate_core.testing.databases import chosen_database
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

pytestmark = pytest.mark.usefixtures("db", "unchecked")

OTHERS = COLUMNS.removeprefix("position, ")
DEEP = "[" * 3000 + "]" * 3000
LONG = '{"n": ' + "9" * 5000 + "}"  # unlike depth, no release of Python reads it


@pytest.fixture
def unchecked(db: None, configured: Any) -> Iterator[None]:
    """A log with a key, in a database whose owner has taken the constraints away."""
    configured(AUDIT={"keys": {"k1": KEYS["k1"]}})
    checks = ((LOG, "automate_audit_position", "position >= 1"), (HEAD, "automate_audit_one_head", "id = 1"))
    off = {
        "sqlite": "PRAGMA ignore_check_constraints = ON",
        "mysql": "SET check_constraint_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
    }
    on = {
        "sqlite": "PRAGMA ignore_check_constraints = OFF",
        "mysql": "SET check_constraint_checks = DEFAULT, sql_mode = DEFAULT",
    }
    if connection.vendor in off:
        execute(off[connection.vendor])
        yield
        execute(on[connection.vendor])
        return
    for table, name, _ in checks:
        execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    yield
    for table, name, condition in checks:
        execute(f"DELETE FROM {table}")
        execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({condition})")


def found() -> list[tuple[int | None, str]]:
    return [(finding.position, finding.kind) for finding in verify().findings]


def audit(*arguments: str, status: int) -> str:
    out = io.StringIO()
    with pytest.raises(CommandError) if status else nullcontext() as caught:
        call_command("automate", "audit", *arguments, stdout=out)
    assert not caught or caught.value.returncode == status
    return out.getvalue()


# -- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [{}, {"k1": KEYS["k1"]}])
def test_entries_before_the_first_one_are_found(configured: Any, keys: dict[str, str]) -> None:
    configured(AUDIT={"keys": keys})
    write(3)
    for position in (0, -5):
        execute(f"INSERT INTO {LOG} ({COLUMNS}) SELECT {position}, {OTHERS} FROM {LOG} WHERE position = 2")
    assert found() == [(-5, "before_first"), (0, "before_first")]
    assert kinds(verify(since=3)) == {"before_first"}
    write(1)
    assert found() == [(-5, "before_first"), (0, "before_first")]
    assert "(before_first)" in audit("verify", status=1)
    assert [state_of(entry) for entry in AuditLogEntry.objects.filter(position__lt=1)] == ["CHANGED"] * 2


def test_an_empty_log_goes_on_at_the_first_position_whatever_stands_before_it() -> None:
    write(1)
    execute(f"UPDATE {LOG} SET position = -7")
    execute(f"UPDATE {HEAD} SET position = 0, mac = %s", "0" * 64)
    assert reseal(actor="me", reason="emptied").position == 1
    assert found() == [(-7, "before_first"), (1, "resealed")]


@pytest.mark.parametrize("number", [0, 2])
def test_another_head_is_found(number: int) -> None:
    write(3)
    same = (
        f"INSERT INTO {HEAD} (id, position, mac, key_id, seal) SELECT {number}, position, mac, key_id, seal FROM {HEAD}"
    )
    execute(same)
    assert found() == [(None, "head")]
    write(1)
    assert found() == [(None, "head")]
    assert audit("head", status=0) == f"automate-audit-1:4:{rows()[-1][9]}\n"


def test_a_head_that_is_another_one_is_gone_and_found() -> None:
    write(3)
    execute(f"UPDATE {HEAD} SET id = 2")
    assert [finding.message for finding in verify().findings] == [
        "the head of the log is gone",
        "another row stands in the table of the head of the log, which is one",
    ]
    execute(f"DELETE FROM {LOG}")
    assert (None, "head") in found()


# -- values -----------------------------------------------------------------------------------------------------------


TIMES = {
    "postgres": ["infinity", "-infinity", "0044-03-15 00:00:00+00 BC", "20000-03-15"],
    "mariadb": ["0000-00-00 00:00:00", "2026-00-00 00:00:00"],
    "sqlite": ["infinity", "20000-03-15 00:00:00", "0000-00-00 00:00:00", ""],
}


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("value", TIMES[chosen_database()])
def test_times_that_no_clock_tells_are_found(value: str, within: bool) -> None:
    write()
    execute(f"UPDATE {LOG} SET created_at = %s WHERE position = 3", value)
    execute(f"UPDATE {LOG} SET actor = 'mallory' WHERE position = 5")
    with transaction.atomic() if within else nullcontext():
        assert found() == [(3, "edited"), (5, "edited")]
        exported = list(export(Selection()))
        write(1)  # the transaction goes on
    assert [entry["position"] for entry in exported] == [1, 2, 3, 4, 5, 6]
    assert [entry.get("unreadable") for entry in exported] == [None, None, ["created_at"], None, None, None]
    assert exported[2]["actor"] == "user2"
    if connection.vendor == "postgresql":
        assert exported[2]["at"].startswith(value[:8])


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("details", [DEEP, "[" * 995 + "]" * 995, LONG])
def test_details_that_cannot_be_read_are_found(details: str, within: bool) -> None:
    write()
    execute(f"UPDATE {LOG} SET details = %s WHERE position = 3", details)
    with transaction.atomic() if within else nullcontext():
        assert found() == [(3, "edited")]
        exported = list(export(Selection()))
        write(1)
    assert [entry["position"] for entry in exported] == [1, 2, 3, 4, 5, 6]
    assert json.dumps(exported[2])


def test_the_commands_go_on_behind_such_a_row_and_say_so(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write(4)
    execute(f"UPDATE {LOG} SET details = %s WHERE position = 2", LONG)
    said = audit("verify", status=1)
    assert "problem: entry 2 cannot be read: its details were never written so (edited)\n" in said
    assert "4 entries checked" in said
    file = tmp_path / "audit.jsonl"
    audit("export", "--output", str(file), status=1)
    assert "1 entry holds what was never written" in capsys.readouterr().err
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["position"] for line in lines] == [1, 2, 3, 4]
    assert (lines[1]["details"], lines[1]["unreadable"]) == (None, ["details"])
    assert lines[1]["mac"] == rows()[1][9]
    listed = audit("list", status=0).splitlines()
    assert listed[0].split() == ["position", "at", "actor", "action", "resource", "tenant", "details"]
    assert len(listed[1:]) == 4
    assert listed[3].endswith("UNREADABLE: details")
    write(1)
    audit("export", "--output", str(file), "--resume", status=0)
    assert len(file.read_text().splitlines()) == 5


@pytest.mark.skipif(chosen_database() != "sqlite", reason="other databases refuse such values")
@pytest.mark.parametrize("column", ["actor", "tenant", "key_id", "previous", "mac", "details", "created_at"])
@pytest.mark.parametrize("value", ["CAST(X'22ff' AS TEXT)", "X'ff'"])
def test_texts_that_are_none_are_found(column: str, value: str) -> None:
    write()
    execute(f"UPDATE {LOG} SET {column} = {value} WHERE position = 3")
    assert 3 in {position for position, _ in found()}
    exported = list(export(Selection()))
    assert [entry["position"] for entry in exported] == [1, 2, 3, 4, 5, 6]
    assert json.dumps(exported)
    listed = audit("list", status=0).splitlines()[1:]
    assert len(listed) == 6
    assert "None" not in listed[3]


@pytest.mark.skipif(chosen_database() != "sqlite", reason="other databases refuse such values")
@pytest.mark.parametrize("column", ["position", "mac", "key_id", "seal"])
@pytest.mark.parametrize("value", ["CAST(X'22ff' AS TEXT)", "X'ff'"])
def test_a_head_that_cannot_be_read_is_found(column: str, value: str) -> None:
    write()
    kept = head()
    execute(f"UPDATE {HEAD} SET {column} = {value}")
    assert found() == [(None, "head")]
    audit("head", status=1)
    execute(f"UPDATE {HEAD} SET position = %s, mac = %s, key_id = %s, seal = %s", *kept)
    assert verify().intact


# -- pages ------------------------------------------------------------------------------------------------------------


def pages(position: int) -> dict[str, str]:
    """Return what the admin shows: the list of entries, one of them, and what was done to that one."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    base, shown = "admin:automate_auditlogentry", {}
    for name, args in (("changelist", []), ("change", [position]), ("history", [position])):
        answer = client.get(reverse(f"{base}_{name}", args=args))
        assert answer.status_code == 200, name
        shown[name] = answer.content.decode()
    return shown


@pytest.mark.parametrize("atomic", [False, True], ids=["autocommit", "atomic_requests"])
@pytest.mark.parametrize(
    ("column", "value"),
    [*(("created_at", value) for value in TIMES[chosen_database()]), ("details", LONG)],
)
def test_the_pages_of_the_admin_say_what_cannot_be_read(
    column: str, value: str, atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", atomic)
    write()
    execute(f"UPDATE {LOG} SET {column} = %s WHERE position = 3", value)
    shown = pages(3)
    for name in ("changelist", "change"):
        assert shown[name].count(f"UNREADABLE: {column}; run &#x27;automate audit verify&#x27;") == 1, name
        assert "workflow:w2" in shown[name]
    assert shown["changelist"].count("as written (key k1)") == 5
    if column == "created_at" and connection.vendor == "postgresql":
        assert value[:8] in shown["change"]


def test_the_pages_of_the_admin_show_the_others_beside_what_only_some_releases_of_python_read() -> None:
    write()
    execute(f"UPDATE {LOG} SET details = %s WHERE position = 3", DEEP)
    shown = pages(3)
    assert shown["changelist"].count("as written (key k1)") == 5
    assert "workflow:w2" in shown["change"]


@pytest.mark.skipif(chosen_database() != "sqlite", reason="other databases refuse such values")
@pytest.mark.parametrize("column", ["resource", "key_id", "previous", "mac", "details", "created_at"])
@pytest.mark.parametrize("value", ["CAST(X'22ff' AS TEXT)", "X'ff'"])
def test_the_pages_of_the_admin_say_which_texts_are_none(column: str, value: str) -> None:
    write()
    execute(f"UPDATE {LOG} SET {column} = {value} WHERE position = 3")
    shown = pages(3)
    assert f"UNREADABLE: {column};" in shown["changelist"]
    assert f"UNREADABLE: {column};" in shown["change"]


def test_the_list_of_the_admin_asks_as_often_for_many_entries_as_for_few() -> None:
    client, asked = Client(), []
    client.force_login(User.objects.create_superuser("root"))
    for number in (2, 38):
        write(number)
        with CaptureQueriesContext(connection) as queries:
            shown = client.get(reverse("admin:automate_auditlogentry_changelist")).content.decode()
        asked.append((shown.count("as written (key k1)"), len(queries)))
    assert [count for count, _ in asked] == [2, 40]
    assert asked[0][1] == asked[1][1]
