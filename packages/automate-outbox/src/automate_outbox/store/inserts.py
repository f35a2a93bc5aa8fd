"""New rows: each a tuple of expressions, as only the database knows its time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from automate_core.outbox import JobStatus, NewJob
from django.db import transaction

from automate_outbox.store.dialect import Dialect, sql
from automate_outbox.store.rows import check_job, encode_payload

__all__ = ["NewRow", "claimed_row", "insert_rows", "pending_row"]

NewRow = tuple[str, list[Any]]
"""The expressions of one row, and their parameters."""

_COLUMNS = (
    "kind, payload, priority, queue, ordering_key, tenant, max_attempts, next_attempt_at, status, attempts, "
    "lease_owner, lease_token, lease_expires_at, crashes, last_error, created_at, completed_at"
)
_ROWS_PER_STATEMENT = 1000


def pending_row(dialect: Dialect, job: NewJob) -> NewRow:
    """Return the row of a job that waits to be claimed.

    Args:
        dialect: Whose SQL.
        job: The job; what a database would refuse is refused here.
    """
    check_job(job)
    due, value = dialect.moment(job.due)
    return _row(dialect, job, (due, value), JobStatus.PENDING, ("'', '', NULL", []))


def claimed_row(dialect: Dialect, job: NewJob, worker_id: str, token: str, lease_seconds: float) -> NewRow:
    """Return the row of a job that is born claimed, its first attempt charged.

    Args:
        dialect: Whose SQL.
        job: The job; its due time is ignored.
        worker_id: Who holds it.
        token: The fencing token.
        lease_seconds: How long the lease holds.
    """
    check_job(job)
    expires, seconds = dialect.after(lease_seconds)
    lease = (f"%s, %s, {expires}", [worker_id, token, seconds])
    return _row(dialect, job, dialect.moment(None), JobStatus.CLAIMED, lease)


def _row(
    dialect: Dialect, job: NewJob, due: tuple[str, Any], status: JobStatus, lease: tuple[str, list[Any]]
) -> NewRow:
    attempts = 1 if status is JobStatus.CLAIMED else 0
    text = f"(%s, %s, %s, %s, %s, %s, %s, {due[0]}, %s, %s, {lease[0]}, 0, '', {dialect.now}, NULL)"
    payload = encode_payload(job.payload, dialect.max_depth)
    given = [job.kind, payload, job.priority, job.queue, job.ordering_key, job.tenant]
    return text, [*given, job.max_attempts, due[1], status.value, attempts, *lease[1]]


def insert_rows(dialect: Dialect, rows: Sequence[NewRow]) -> list[int]:
    """Insert rows: one statement for up to 1,000, else several in one transaction.

    Args:
        dialect: Whose SQL.
        rows: The rows, at least one.

    Returns:
        Their ids, in the same order.
    """
    if len(rows) <= _ROWS_PER_STATEMENT:
        return _insert(dialect, rows)
    starts = range(0, len(rows), _ROWS_PER_STATEMENT)
    with transaction.atomic(using=dialect.using):
        parts = [_insert(dialect, rows[start : start + _ROWS_PER_STATEMENT]) for start in starts]
    return list(itertools.chain.from_iterable(parts))


def _insert(dialect: Dialect, rows: Sequence[NewRow]) -> list[int]:
    values = ", ".join(text for text, _ in rows)
    statement = sql("INSERT INTO {table} ({into}) VALUES {values}", into=_COLUMNS, values=values)
    return dialect.insert(statement, [value for _, params in rows for value in params], len(rows))
