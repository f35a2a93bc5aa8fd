"""Triggers that write every change of jobs, runs, executions and steps into a ledger, whoever made it.

The ledger is written in the transaction of the change: what was rolled back is not in it. Effects outside of the
database are counted elsewhere, as a ledger within it could not see that two of them overlapped.
"""

from __future__ import annotations

from collections.abc import Iterator

LEDGER = "faults_ledger"
COLUMNS = (
    "at, writer, source, row_id, old_status, status, old_token, token, "
    "old_attempts, attempts, old_crashes, crashes, expires, ordering_key, job"
)
"""What one change says, in the order of :class:`faults.checker.Change`; ``seq`` comes first."""

_SERIAL = {
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "postgres": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "mariadb": "bigint AUTO_INCREMENT PRIMARY KEY",
}
_NOW = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgres": "EXTRACT(EPOCH FROM clock_timestamp())",
    "mariadb": "UNIX_TIMESTAMP(SYSDATE(6))",
}
_WRITER = {
    "sqlite": "faults_writer()",
    "postgres": "current_setting('application_name')",
    "mariadb": "COALESCE(@faults_writer, 'harness')",
}
_EPOCH = {
    "sqlite": "(julianday({0}) - 2440587.5) * 86400.0",
    "postgres": "EXTRACT(EPOCH FROM {0})",
    # The column holds UTC whatever the session's time zone is.
    "mariadb": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {0}) / 1000000",
}
_TEXT = {"sqlite": "CAST({0} AS TEXT)", "postgres": "{0}::text", "mariadb": "CAST({0} AS CHAR)"}
_SOURCES = {
    "job": "automate_outbox_job",
    "run": "automate_executionrun",
    "execution": "automate_execution",
    "step": "automate_steprun",
}


def statements(kind: str) -> Iterator[str]:
    """Yield what makes the ledger and its triggers.

    Args:
        kind: ``sqlite``, ``postgres`` or ``mariadb``.
    """
    yield (
        f"CREATE TABLE {LEDGER} (seq {_SERIAL[kind]}, at double precision, writer varchar(200), source varchar(10), "
        "row_id varchar(40), old_status varchar(10), status varchar(10), old_token varchar(32), token varchar(32), "
        "old_attempts bigint, attempts bigint, old_crashes bigint, crashes bigint, expires double precision, "
        "ordering_key varchar(200), job varchar(40))"
    )
    for source, table in _SOURCES.items():
        for event in ("INSERT", "UPDATE", "DELETE"):
            yield from _trigger(kind, source, table, event)


def _trigger(kind: str, source: str, table: str, event: str) -> Iterator[str]:
    name = f"faults_{source}_{event.lower()}"
    insert = f"INSERT INTO {LEDGER} ({COLUMNS}) VALUES ({', '.join(_values(kind, source, event))})"
    if kind == "postgres":
        yield (f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {insert}; RETURN NULL; END $$")
        yield f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"
    elif kind == "sqlite":
        yield f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW BEGIN {insert}; END"
    else:
        yield f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW {insert}"


def _values(kind: str, source: str, event: str) -> list[str]:
    def of(row: str, column: str, form: str = "{0}") -> str:
        present = event != ("INSERT" if row == "OLD" else "DELETE")
        return form.format(f"{row}.{column}") if present else "NULL"

    row = "OLD" if event == "DELETE" else "NEW"
    values = [_NOW[kind], _WRITER[kind], f"'{source}'"]
    identity = "run_id" if source == "step" else "id"
    values += [of(row, identity, _TEXT[kind]), of("OLD", "status"), of("NEW", "status")]
    if source == "job":
        pairs = [of(row, column) for column in ("lease_token", "attempts", "crashes") for row in ("OLD", "NEW")]
        return [*values, *pairs, of("OLD", "lease_expires_at", _EPOCH[kind]), of(row, "ordering_key"), "NULL"]
    values += ["NULL", "NULL", "NULL", of(row, "attempt") if source == "step" else "NULL", "NULL", "NULL", "NULL"]
    values += [of(row, "step_id") if source == "step" else "NULL"]
    return [*values, of(row, "job_id", _TEXT[kind]) if source == "run" else "NULL"]
