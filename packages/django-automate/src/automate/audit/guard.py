"""Triggers that refuse to change or delete what the audit log holds, and to set its head back.

Against mistakes and against the application: whoever owns the tables can drop the triggers, and the chain tells then.
A database that Django's test runner makes has none, as its ``TransactionTestCase`` empties every table.
"""

from __future__ import annotations

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["install", "is_installed", "is_test_database", "remove"]

_LOG, _HEAD = "automate_auditlogentry", "automate_audithead"
_REFUSAL = "The audit log of Automate is append-only."
_BACK = "The head of the audit log of Automate moves forward only."
_MOVED_BACK = (
    "NEW.position < OLD.position OR NEW.id <> OLD.id "
    "OR (NEW.position = OLD.position AND (NEW.mac <> OLD.mac OR NEW.seal <> OLD.seal))"
)

_POSTGRESQL = (
    f"""
    CREATE FUNCTION automate_audit_refuse_v1() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$
    """,
    f"""
    CREATE FUNCTION automate_audit_forward_v1() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF {_MOVED_BACK} THEN
            RAISE EXCEPTION '{_BACK}' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    f"CREATE TRIGGER automate_audit_rows BEFORE UPDATE OR DELETE ON {_LOG} FOR EACH ROW "
    "EXECUTE FUNCTION automate_audit_refuse_v1()",
    f"CREATE TRIGGER automate_audit_all BEFORE TRUNCATE ON {_LOG} FOR EACH STATEMENT "
    "EXECUTE FUNCTION automate_audit_refuse_v1()",
    f"CREATE TRIGGER automate_audit_head BEFORE DELETE ON {_HEAD} FOR EACH ROW "
    "EXECUTE FUNCTION automate_audit_refuse_v1()",
    f"CREATE TRIGGER automate_audit_head_all BEFORE TRUNCATE ON {_HEAD} FOR EACH STATEMENT "
    "EXECUTE FUNCTION automate_audit_refuse_v1()",
    f"CREATE TRIGGER automate_audit_forward BEFORE UPDATE ON {_HEAD} FOR EACH ROW "
    "EXECUTE FUNCTION automate_audit_forward_v1()",
)
_SQLITE_REPLACE = (
    # REPLACE deletes the row that is there without a trigger of DELETE, unless recursive_triggers is on.
    f"CREATE TRIGGER automate_audit_insert BEFORE INSERT ON {_LOG} "
    f"WHEN EXISTS (SELECT 1 FROM {_LOG} WHERE position = NEW.position) "
    f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
    f"CREATE TRIGGER automate_audit_head_insert BEFORE INSERT ON {_HEAD} "
    f"WHEN EXISTS (SELECT 1 FROM {_HEAD} WHERE id = NEW.id) "
    f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
)


def _plain(refuse: str, moved_back: str) -> tuple[str, ...]:
    """Return the triggers of databases whose triggers hold statements of their own."""
    return (
        f"CREATE TRIGGER automate_audit_update BEFORE UPDATE ON {_LOG} FOR EACH ROW {refuse.format(_REFUSAL)}",
        f"CREATE TRIGGER automate_audit_delete BEFORE DELETE ON {_LOG} FOR EACH ROW {refuse.format(_REFUSAL)}",
        f"CREATE TRIGGER automate_audit_head BEFORE DELETE ON {_HEAD} FOR EACH ROW {refuse.format(_REFUSAL)}",
        f"CREATE TRIGGER automate_audit_forward BEFORE UPDATE ON {_HEAD} FOR EACH ROW {moved_back.format(_BACK)}",
    )


_BY_VENDOR = {
    "postgresql": _POSTGRESQL,
    "sqlite": (
        *_plain(
            "BEGIN SELECT RAISE(ABORT, '{}'); END",
            f"WHEN {_MOVED_BACK} BEGIN SELECT RAISE(ABORT, '{{}}'); END",
        ),
        *_SQLITE_REPLACE,
    ),
    "mysql": _plain(
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{}'",
        f"IF {_MOVED_BACK} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{{}}'; END IF",
    ),
}
_PLAIN_NAMES = {
    "automate_audit_update": _LOG,
    "automate_audit_delete": _LOG,
    "automate_audit_head": _HEAD,
    "automate_audit_forward": _HEAD,
}
_NAMES = {
    "postgresql": {
        "automate_audit_rows": _LOG,
        "automate_audit_all": _LOG,
        "automate_audit_head": _HEAD,
        "automate_audit_head_all": _HEAD,
        "automate_audit_forward": _HEAD,
    },
    "sqlite": {**_PLAIN_NAMES, "automate_audit_insert": _LOG, "automate_audit_head_insert": _HEAD},
    "mysql": _PLAIN_NAMES,
}
_FUNCTIONS = ("automate_audit_refuse_v1", "automate_audit_forward_v1")
_CATALOGUE = {
    "postgresql": "SELECT tgname FROM pg_trigger WHERE tgenabled <> 'D' AND tgname LIKE 'automate_audit_%'",
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    "mysql": "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()",
}
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


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers: to empty the tables of a database for development, and to undo the migration.

    Args:
        connection: The connection.
    """
    on_table = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        for name, table in _NAMES.get(connection.vendor, {}).items():
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{f' ON {table}' if on_table else ''}")
        for function in _FUNCTIONS if on_table else ():
            cursor.execute(f"DROP FUNCTION IF EXISTS {function}()")


def is_installed(connection: BaseDatabaseWrapper) -> bool:
    """Whether every trigger is there and switched on.

    Args:
        connection: The connection.
    """
    if connection.vendor not in _CATALOGUE:
        return False
    with connection.cursor() as cursor:
        cursor.execute(_CATALOGUE[connection.vendor])
        found = {row[0] for row in cursor.fetchall()}
    return found >= _NAMES[connection.vendor].keys()


def is_test_database() -> bool:
    """Whether Django's test environment is set up: this is how Django itself tells, by its outbox of mails."""
    from django.core import mail

    return hasattr(mail, "outbox")
