"""The database itself refuses to change the audit log, whoever asks it."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from audit_log import COLUMNS, HEAD, LOG, execute, head, insert, kinds, rows, write
from automate.audit import guard, verify
from automate.audit.appending import reseal
from automate.doctor import examine
from automate.models import AuditHead, AuditLogEntry
from automate_core.errors import AutomateError
from automate_core.testing.databases import chosen_database
from django.core import mail
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def guarded(db: None) -> Iterator[None]:
    guard.install(connection)
    yield
    guard.remove(connection)


def on_table(table: str) -> str:
    return f" ON {table}" if connection.vendor == "postgresql" else ""


def doctored() -> str:
    (found,) = [finding for finding in examine() if finding.name == "audit"]
    return found.level


OTHERS = COLUMNS.removeprefix("position, ")
STATEMENTS = {
    "update": f"UPDATE {LOG} SET actor = 'mallory' WHERE position = 2",
    "update nothing": f"UPDATE {LOG} SET actor = actor",
    "delete one": f"DELETE FROM {LOG} WHERE position = 2",
    "delete all": f"DELETE FROM {LOG}",
    "move the head back": f"UPDATE {HEAD} SET position = 1",
    "change the head": f"UPDATE {HEAD} SET mac = '{'0' * 64}'",
    "change its key": f"UPDATE {HEAD} SET key_id = 'k9'",
    "change its seal": f"UPDATE {HEAD} SET seal = ''",
    "another head": f"UPDATE {HEAD} SET id = 2, position = 9",
    "insert before the first": f"INSERT INTO {LOG} ({COLUMNS}) SELECT 0, {OTHERS} FROM {LOG} WHERE position = 3",
    "insert below it": f"INSERT INTO {LOG} ({COLUMNS}) SELECT -5, {OTHERS} FROM {LOG} WHERE position = 3",
    "insert behind the next": f"INSERT INTO {LOG} ({COLUMNS}) SELECT 5, {OTHERS} FROM {LOG} WHERE position = 3",
    "insert where the database likes": f"INSERT INTO {LOG} ({OTHERS}) SELECT {OTHERS} FROM {LOG} WHERE position = 3",
    "delete the head": f"DELETE FROM {HEAD}",
}
REPLACING = {
    "replace one": f"INSERT OR REPLACE INTO {LOG} ({COLUMNS}) SELECT {COLUMNS} FROM {LOG} WHERE position = 2",
    "replace in another way": f"REPLACE INTO {LOG} ({COLUMNS}) SELECT {COLUMNS} FROM {LOG}",
    "replace the head": f"INSERT OR REPLACE INTO {HEAD} (id, position, mac, key_id, seal) VALUES (1, 0, '', '', '')",
}
TRUNCATING = {"truncate": f"TRUNCATE {LOG}", "truncate the head": f"TRUNCATE {HEAD} CASCADE"}


@pytest.mark.parametrize("name", [*STATEMENTS, *REPLACING, *TRUNCATING])
@pytest.mark.usefixtures("guarded")
def test_sql_past_the_application_is_refused(name: str) -> None:
    if name in TRUNCATING and connection.vendor != "postgresql":
        pytest.skip("SQLite has no TRUNCATE, and that of MariaDB knows no triggers")
    if name in REPLACING and connection.vendor != "sqlite":
        pytest.skip("REPLACE of MariaDB is told as a DELETE, and PostgreSQL has none")
    write(3)
    before = rows(), head()
    with pytest.raises(DatabaseError, match=r"append-only|forward only"), transaction.atomic():
        execute({**STATEMENTS, **REPLACING, **TRUNCATING}[name])
    assert (rows(), head()) == before
    write(2)
    report = verify()
    assert (report.findings, report.checked) == ([], 5)
    assert not any("triggers" in notice for notice in report.notices)


@pytest.mark.usefixtures("guarded")
def test_entries_come_behind_the_last_one_and_behind_the_head() -> None:
    write(2)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        insert((4, *rows()[-1][1:]))
    insert((3, *rows()[-1][1:]))
    assert kinds() == {"unlinked", "edited", "beyond_head"}
    reseal(actor="me", reason="somebody wrote past the application")
    write(3)
    assert [row[0] for row in rows()] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.skipif(chosen_database() != "postgres", reason="it alone tells which table of a name is meant")
@pytest.mark.usefixtures("guarded")
def test_a_temporary_table_does_not_stand_for_the_head() -> None:
    with transaction.atomic():
        execute(f"CREATE TEMPORARY TABLE {HEAD} ON COMMIT DROP AS SELECT 1 AS id, 9 AS position")
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            execute(f"INSERT INTO {LOG} ({COLUMNS}) VALUES (10, '', '', '', '', '{{}}', now(), '', '', '')")
    write(2)
    assert verify().intact


@pytest.mark.parametrize("table", [LOG, HEAD])
def test_the_tables_hold_no_position_before_the_first_and_no_second_head(table: str) -> None:
    if (connection.vendor, table) == ("mysql", LOG):
        pytest.skip("it checks no column that it can number by itself; the trigger does")
    write(1)
    another = {
        LOG: f"INSERT INTO {LOG} ({COLUMNS}) SELECT 0, {OTHERS} FROM {LOG}",
        HEAD: f"INSERT INTO {HEAD} (id, position, mac, key_id, seal) SELECT 0, position, mac, key_id, seal FROM {HEAD}",
    }
    with pytest.raises(DatabaseError, match=r"automate_audit_(position|one_head)"), transaction.atomic():
        execute(another[table])
    assert verify().intact


@pytest.mark.usefixtures("guarded")
def test_the_orm_refuses_first() -> None:
    write(1)
    entry = AuditLogEntry.objects.get()
    for refused in (
        lambda: AuditLogEntry.objects.update(actor="x"),
        lambda: AuditLogEntry._base_manager.all().update(actor="x"),
        lambda: AuditLogEntry.objects.all().delete(),
        lambda: AuditLogEntry.objects.bulk_update([entry], ["actor"]),
        entry.delete,
        entry.save,
    ):
        with pytest.raises(AutomateError, match=r"append-only|immutable"):
            refused()
    with pytest.raises(DatabaseError):
        AuditHead.objects.update(position=0)
    assert verify().intact


def test_the_migration_makes_the_triggers_and_takes_them_away_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def migrate(target: str) -> bool:
        call_command("migrate", "automate", target, verbosity=0)
        return guard.is_installed(connection)

    assert not migrate("0003")
    assert not migrate("0005")  # this is a test run, whose TransactionTestCase empties every table
    with monkeypatch.context() as production:
        production.delattr(mail, "outbox")
        assert not migrate("0003")
        assert migrate("0005")
        execute(f"DROP TRIGGER automate_audit_forward{on_table(HEAD)}")
        assert doctored() == ("warning" if connection.vendor == "mysql" else "error")
        assert migrate("0005")  # nothing to apply, and mended
        assert doctored() == "ok"
        assert not migrate("0003")
    assert not migrate("0005")
    write(2)
    call_command("flush", interactive=False, verbosity=0)
    assert not AuditLogEntry.objects.exists()
    write(1)
    assert verify().intact


@pytest.mark.usefixtures("guarded")
def test_a_trigger_that_is_missing_is_told() -> None:
    write(1)
    assert verify().notices[1:] == []
    on = on_table(LOG)
    name = "automate_audit_rows" if on else "automate_audit_update"
    execute(f"DROP TRIGGER {name}{on}")
    assert "triggers" in verify().notices[1]
    execute(f"UPDATE {LOG} SET actor = 'mallory'")
    assert kinds() == {"edited"}


IMPOSTORS: dict[str, dict[str, list[str]]] = {
    "sqlite": {
        "on another table": [
            "DROP TRIGGER automate_audit_update",
            "CREATE TRIGGER automate_audit_update BEFORE INSERT ON automate_switch BEGIN SELECT 1; END",
        ],
        "does nothing": [
            "DROP TRIGGER automate_audit_delete",
            f"CREATE TRIGGER automate_audit_delete BEFORE DELETE ON {LOG} FOR EACH ROW BEGIN SELECT 1; END",
        ],
    },
    "postgresql": {
        "not on replicas": [f"ALTER TABLE {LOG} ENABLE TRIGGER automate_audit_rows"],
        "switched off": [f"ALTER TABLE {HEAD} DISABLE TRIGGER automate_audit_forward"],
        "on another table": [
            f"DROP TRIGGER automate_audit_all ON {LOG}",
            "CREATE TRIGGER automate_audit_all BEFORE TRUNCATE ON automate_workflow "
            "FOR EACH STATEMENT EXECUTE FUNCTION automate_audit_refuse_v1()",
            "ALTER TABLE automate_workflow ENABLE ALWAYS TRIGGER automate_audit_all",
        ],
        "on fewer events": [
            f"DROP TRIGGER automate_audit_rows ON {LOG}",
            f"CREATE TRIGGER automate_audit_rows BEFORE DELETE ON {LOG} "
            "FOR EACH ROW EXECUTE FUNCTION automate_audit_refuse_v1()",
            f"ALTER TABLE {LOG} ENABLE ALWAYS TRIGGER automate_audit_rows",
        ],
        "never": [
            f"DROP TRIGGER automate_audit_rows ON {LOG}",
            f"CREATE TRIGGER automate_audit_rows BEFORE UPDATE OR DELETE ON {LOG} "
            "FOR EACH ROW WHEN (false) EXECUTE FUNCTION automate_audit_refuse_v1()",
            f"ALTER TABLE {LOG} ENABLE ALWAYS TRIGGER automate_audit_rows",
        ],
        "does nothing": [
            "CREATE OR REPLACE FUNCTION automate_audit_refuse_v1() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RETURN COALESCE(NEW, OLD); END$$",
        ],
        "with operators of others": ["ALTER FUNCTION automate_audit_append_v1() RESET search_path"],
    },
    "mysql": {
        "does nothing": [
            "DROP TRIGGER automate_audit_delete",
            f"CREATE TRIGGER automate_audit_delete BEFORE DELETE ON {LOG} FOR EACH ROW SET @nothing = 1",
        ],
    },
}


@pytest.mark.parametrize("name", sorted({name for cases in IMPOSTORS.values() for name in cases}))
@pytest.mark.usefixtures("guarded")
def test_a_trigger_that_only_has_the_name_is_told(name: str) -> None:
    if name not in IMPOSTORS[connection.vendor]:
        pytest.skip("this database has no such way")
    assert guard.is_installed(connection)
    for statement in IMPOSTORS[connection.vendor][name]:
        execute(statement)
    assert not guard.is_installed(connection)
    if connection.vendor == "postgresql":
        execute("DROP TRIGGER IF EXISTS automate_audit_all ON automate_workflow")  # it needs the function
    guard.install(connection)
    assert guard.is_installed(connection)


@pytest.mark.skipif(chosen_database() != "postgres", reason="PostgreSQL alone passes triggers over for a replica")
@pytest.mark.usefixtures("guarded")
def test_a_session_of_replication_is_refused_too() -> None:
    write(2)
    with transaction.atomic():
        execute("SET LOCAL session_replication_role = 'replica'")
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            execute(STATEMENTS["delete all"])
        transaction.set_rollback(True)
    assert verify().checked == 2


def test_an_account_of_mysql_that_may_make_no_triggers_is_left_without(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        """A connection as far as it is asked here."""

        def __init__(self, vendor: str, code: Any) -> None:
            self.vendor = vendor
            self._code = code

        def cursor(self) -> Any:
            raise DatabaseError(self._code, "command denied")

    for code in (1142, 1227, 1419):
        guard.install(Refusing("mysql", code))  # type: ignore[arg-type]  # a double
    for vendor, code in (("mysql", 2006), ("postgresql", 1142)):
        with pytest.raises(DatabaseError):
            guard.install(Refusing(vendor, code))  # type: ignore[arg-type]  # a double
