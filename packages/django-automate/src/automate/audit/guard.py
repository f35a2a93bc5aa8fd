"""Triggers that refuse to change or delete what the audit log holds, to add but at its end, and to set its head back.

Against mistakes and against the application: whoever owns the tables can drop the triggers, and the chain tells then.
A database that Django's test runner makes has none, as its ``TransactionTestCase`` empties every table.
"""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

__all__ = ["ensure_installed", "install", "is_installed", "is_test_database", "remove"]

_LOG, _HEAD = "automate_auditlogentry", "automate_audithead"
_REFUSAL = "The audit log of Automate is append-only."
_BACK = "The head of the audit log of Automate moves forward only."
_ELSEWHERE = "The audit log of Automate is append-only: an entry has the position behind the last one."
_MOVED_BACK = (
    "NEW.position < OLD.position OR NEW.id <> OLD.id OR (NEW.position = OLD.position "
    "AND (NEW.mac <> OLD.mac OR NEW.key_id <> OLD.key_id OR NEW.seal <> OLD.seal))"
)
# Entries are written before the head moves over them, many at once, and behind whatever is there when it is broken.
_NEXT = (
    "SELECT COALESCE(MAX(last), 0) + 1 FROM (SELECT MAX(position) AS last FROM {log} "
    "UNION ALL SELECT position FROM {head} WHERE id = 1) AS ends"
)
_NOT_NEXT = f"NEW.position <> ({_NEXT.format(log=_LOG, head=_HEAD)})"

_REFUSE, _FORWARD, _APPEND = "automate_audit_refuse_v1", "automate_audit_forward_v1", "automate_audit_append_v1"
_SEARCH_PATH = "pg_catalog, pg_temp"
_POSTGRESQL_BODIES = {
    _REFUSE: f"BEGIN RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END",
    _FORWARD: f"""
    BEGIN
        IF {_MOVED_BACK} THEN
            RAISE EXCEPTION '{_BACK}' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END""",
    # The schema is named, or a temporary table could stand for the head.
    _APPEND: f"""
    DECLARE
        next bigint;
    BEGIN
        EXECUTE format('{_NEXT.format(log=f"%1$I.{_LOG}", head=f"%1$I.{_HEAD}")}', TG_TABLE_SCHEMA) INTO next;
        IF NEW.position <> next THEN
            RAISE EXCEPTION '{_ELSEWHERE}' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END""",
}
_POSTGRESQL_TRIGGERS = {
    "automate_audit_rows": ("UPDATE OR DELETE", _LOG, "ROW", _REFUSE),
    "automate_audit_all": ("TRUNCATE", _LOG, "STATEMENT", _REFUSE),
    "automate_audit_head": ("DELETE", _HEAD, "ROW", _REFUSE),
    "automate_audit_head_all": ("TRUNCATE", _HEAD, "STATEMENT", _REFUSE),
    "automate_audit_forward": ("UPDATE", _HEAD, "ROW", _FORWARD),
    "automate_audit_insert": ("INSERT", _LOG, "ROW", _APPEND),
}
_TGTYPE = {"STATEMENT": 0, "ROW": 1, "INSERT": 4, "DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}
"""The bits of ``pg_trigger.tgtype``; that of BEFORE is 2."""

_POSTGRESQL = (
    *(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SET search_path = {_SEARCH_PATH} AS $${body}$$"
        for name, body in _POSTGRESQL_BODIES.items()
    ),
    *(
        f"CREATE TRIGGER {name} BEFORE {events} ON {table} FOR EACH {each} EXECUTE FUNCTION {function}()"
        for name, (events, table, each, function) in _POSTGRESQL_TRIGGERS.items()
    ),
    # Those that are not ALWAYS are passed over where session_replication_role is 'replica'.
    *(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}" for name, (_, table, _, _) in _POSTGRESQL_TRIGGERS.items()),
)
_SQLITE_REPLACE = (
    f"CREATE TRIGGER automate_audit_head_insert BEFORE INSERT ON {_HEAD} "  # noqa: S608
    f"WHEN EXISTS (SELECT 1 FROM {_HEAD} WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
)
"""REPLACE deletes the row that is there without a trigger of DELETE, unless ``recursive_triggers`` is on."""


def _plain(refuse: str, refuse_if: str) -> tuple[str, ...]:
    """Return the triggers of databases whose triggers hold statements of their own."""
    always, back = refuse.format(_REFUSAL), refuse_if.format(_MOVED_BACK, _BACK)
    elsewhere = refuse_if.format(_NOT_NEXT, _ELSEWHERE)
    return (
        f"CREATE TRIGGER automate_audit_update BEFORE UPDATE ON {_LOG} FOR EACH ROW {always}",
        f"CREATE TRIGGER automate_audit_delete BEFORE DELETE ON {_LOG} FOR EACH ROW {always}",
        f"CREATE TRIGGER automate_audit_head BEFORE DELETE ON {_HEAD} FOR EACH ROW {always}",
        f"CREATE TRIGGER automate_audit_forward BEFORE UPDATE ON {_HEAD} FOR EACH ROW {back}",
        f"CREATE TRIGGER automate_audit_insert BEFORE INSERT ON {_LOG} FOR EACH ROW {elsewhere}",
    )


_BY_VENDOR = {
    "postgresql": _POSTGRESQL,
    "sqlite": (
        *_plain("BEGIN SELECT RAISE(ABORT, '{}'); END", "WHEN {} BEGIN SELECT RAISE(ABORT, '{}'); END"),
        _SQLITE_REPLACE,
    ),
    "mysql": _plain(
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{}'",
        "IF {} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{}'; END IF",
    ),
}
_PLAIN_NAMES = {
    "automate_audit_update": _LOG,
    "automate_audit_delete": _LOG,
    "automate_audit_head": _HEAD,
    "automate_audit_forward": _HEAD,
    "automate_audit_insert": _LOG,
}
_NAMES = {
    "postgresql": {name: table for name, (_, table, _, _) in _POSTGRESQL_TRIGGERS.items()},
    "sqlite": {**_PLAIN_NAMES, "automate_audit_head_insert": _HEAD},
    "mysql": _PLAIN_NAMES,
}
_CATALOGUE = {
    "postgresql": """
        SELECT t.tgname, t.tgrelid::regclass::text, t.tgtype, p.prosrc, array_to_string(p.proconfig, '; ')
        FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE t.tgenabled = 'A' AND t.tgqual IS NULL AND cardinality(t.tgattr::smallint[]) = 0
    """,
    "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'trigger'",
    "mysql": """
        SELECT CONCAT('CREATE TRIGGER ', TRIGGER_NAME, ' ', ACTION_TIMING, ' ', EVENT_MANIPULATION, ' ON ',
            EVENT_OBJECT_TABLE, ' FOR EACH ROW ', ACTION_STATEMENT)
        FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()
    """,
}
"""What the triggers of a database do, not what they are called: anybody can give a name to a trigger."""

_NOT_PERMITTED = {1142, 1227, 1419}
"""What MySQL and MariaDB answer to an account that may make no triggers."""


def install(connection: BaseDatabaseWrapper) -> None:
    """Make the triggers, where the database has such.

    An account of MySQL or MariaDB that may not make triggers is left without them; ``automate audit verify`` says so.

    Args:
        connection: The connection.
    """
    try:
        remove(connection)
        with connection.cursor() as cursor:
            for statement in _BY_VENDOR.get(connection.vendor, ()):
                cursor.execute(statement)
    except DatabaseError as error:
        if not (connection.vendor == "mysql" and error.args and error.args[0] in _NOT_PERMITTED):
            raise


def ensure_installed(*, using: str, **_: Any) -> None:
    """Make the triggers after a migration, where they are missing or others: tables may have been made anew.

    Args:
        using: The database that was migrated.
    """
    connection = connections[using]
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
    # A database whose router keeps the tables elsewhere has the record of the migration all the same.
    if not {_LOG, _HEAD} <= tables or not _is_migrated(connection):
        return
    if connection.vendor in _CATALOGUE and not is_test_database() and not is_installed(connection):
        install(connection)


def _is_migrated(connection: BaseDatabaseWrapper) -> bool:
    return ("automate", "0004_audit_guard") in MigrationRecorder(connection).applied_migrations()


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers: to empty the tables of a database for development, and to undo the migration.

    Args:
        connection: The connection.
    """
    on_table = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        for name, table in _NAMES.get(connection.vendor, {}).items():
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{f' ON {table}' if on_table else ''}")
        for function in _POSTGRESQL_BODIES if on_table else ():
            cursor.execute(f"DROP FUNCTION IF EXISTS {function}()")


def is_installed(connection: BaseDatabaseWrapper) -> bool:
    """Whether every trigger is there, as it was made, and switched on.

    Args:
        connection: The connection.
    """
    if connection.vendor not in _CATALOGUE:
        return False
    with connection.cursor() as cursor:
        cursor.execute(_CATALOGUE[connection.vendor])
        found = set(cursor.fetchall())
    return found >= _expected(connection.vendor)


def _expected(vendor: str) -> set[tuple[Any, ...]]:
    """Return the rows of the catalogue that the triggers are to have."""
    if vendor != "postgresql":
        return {(statement,) for statement in _BY_VENDOR[vendor]}
    return {
        (
            name,
            table,
            2 + _TGTYPE[each] + sum(_TGTYPE[event] for event in events.split(" OR ")),
            _POSTGRESQL_BODIES[function],
            f"search_path={_SEARCH_PATH}",
        )
        for name, (events, table, each, function) in _POSTGRESQL_TRIGGERS.items()
    }


def is_test_database() -> bool:
    """Whether Django's test environment is set up: this is how Django itself tells, by its outbox of mails."""
    from django.core import mail

    return hasattr(mail, "outbox")
