"""What goes into a row and what comes out of it, checked before any statement runs.

A statement that the database refuses poisons the caller's transaction, so nothing is sent that it could refuse.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import is_not
from typing import Any, NamedTuple

from automate_core.errors import OutboxError
from automate_core.outbox import NewJob, OutboxItem
from automate_core.payload import check_payload, storable_text
from automate_core.redaction import redact_text

__all__ = [
    "ITEM_COLUMNS",
    "KIND_LENGTH",
    "NEW_COLUMNS",
    "ORDERING_KEY_LENGTH",
    "OWNER_LENGTH",
    "QUEUE_LENGTH",
    "TABLE",
    "TENANT_LENGTH",
    "TOKEN_LENGTH",
    "NewRow",
    "check_job",
    "check_moment",
    "check_worker",
    "encode_payload",
    "new_rows",
    "read_items",
    "store_error",
]

TABLE = "automate_outbox_job"
KIND_LENGTH = 100
QUEUE_LENGTH = 100
TENANT_LENGTH = 100
ORDERING_KEY_LENGTH = 200
OWNER_LENGTH = 200
TOKEN_LENGTH = 32
ERROR_LENGTH = 4000
_PAYLOAD_BYTES = 8 * 1024 * 1024

ITEM_COLUMNS = "id, kind, payload, attempts, max_attempts, crashes, queue, tenant, priority, ordering_key"
"""The columns that make an item, in the order that :func:`read_items` expects; two times follow (see the dialects)."""

NEW_COLUMNS = (
    "kind, payload, priority, queue, ordering_key, tenant, max_attempts, next_attempt_at, status, attempts, "
    "lease_owner, lease_token, lease_expires_at, crashes, last_error, fingerprint, created_at"
)
"""The columns that a new row writes."""

_SMALLINT = range(-32768, 32768)


def encode_payload(payload: Mapping[str, Any], max_depth: int) -> str:
    """Return a payload as JSON text that every database can hold.

    Args:
        payload: A JSON object.
        max_depth: Levels of nesting that the database takes.

    Raises:
        InvalidPayloadError: If it is not an object, or holds what JSON or a database cannot: other types, NaN,
            infinities, NUL, lone surrogates, cycles, or too many levels.
    """
    value = payload if isinstance(payload, dict) or not isinstance(payload, Mapping) else dict(payload)
    return check_payload(value, max_bytes=_PAYLOAD_BYTES, what="payload of the job", max_depth=max_depth).decode()


def check_job(job: NewJob) -> None:
    """Refuse a job that a database would refuse.

    Args:
        job: The job.

    Raises:
        OutboxError: If a field is too long, empty, out of range, or the due time has no time zone.
    """
    _check_text("kind", job.kind, KIND_LENGTH, required=True)
    _check_text("queue", job.queue, QUEUE_LENGTH, required=True)
    _check_text("tenant", job.tenant, TENANT_LENGTH)
    _check_text("ordering_key", job.ordering_key, ORDERING_KEY_LENGTH)
    if job.priority not in _SMALLINT:
        raise OutboxError(f"priority must lie between -32768 and 32767, not {job.priority!r}.")
    if job.max_attempts not in range(1, 2**31):
        raise OutboxError(f"max_attempts must be at least 1, not {job.max_attempts!r}.")
    if job.due is not None:
        check_moment("due", job.due)


def check_worker(worker_id: str) -> None:
    """Refuse a worker id that cannot be stored.

    Args:
        worker_id: The id.

    Raises:
        OutboxError: If it is empty or too long.
    """
    _check_text("worker_id", worker_id, OWNER_LENGTH, required=True)


def check_moment(name: str, value: object) -> None:
    """Refuse a time that could mean several moments.

    Args:
        name: What it is called, for the message.
        value: An aware datetime, or a timedelta from the database's now.

    Raises:
        OutboxError: If it is a naive datetime or something else.
    """
    if isinstance(value, timedelta):
        return
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise OutboxError(
            f"{name} must be a datetime with a time zone, or a timedelta from now, not {value!r}. "
            "For instance: django.utils.timezone.now() + timedelta(seconds=30)."
        )


def _check_text(name: str, value: object, length: int, *, required: bool = False) -> None:
    if not isinstance(value, str) or (required and not value):
        raise OutboxError(f"{name} must be a non-empty string, not {value!r}.")
    if len(value) > length:
        raise OutboxError(f"{name} is {len(value)} characters long; at most {length} fit.")
    if "\x00" in value or (not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value)):
        raise OutboxError(f"{name} holds a NUL or half of a surrogate pair; remove it.")


def store_error(error: str) -> str:
    """Return an error text as it may be written: redacted, bounded, storable.

    Args:
        error: The text.
    """
    text = str(error)
    # The first cut lies far behind the second, and has a mark by which the redactor knows a secret that it splits.
    examined = text if len(text) <= 8 * ERROR_LENGTH else f"{text[: 8 * ERROR_LENGTH]}…"
    return storable_text(redact_text(examined), ERROR_LENGTH)


class NewRow(NamedTuple):
    """A row to be inserted.

    Args:
        kind: As in :class:`~automate_core.outbox.NewJob`, like the other fields of this name.
        payload: JSON text.
        priority: The priority.
        queue: The queue.
        ordering_key: The ordering key.
        tenant: The tenant.
        max_attempts: Attempts before it is FAILED.
        due: When it is due.
        status: PENDING or CLAIMED.
        attempts: Attempts charged.
        owner: Who holds it; empty for nobody.
        token: The fencing token, where somebody holds it.
        lease_seconds: How long the lease holds, where somebody holds it.
    """

    kind: str
    payload: str
    priority: int
    queue: str
    ordering_key: str
    tenant: str
    max_attempts: int
    due: datetime | timedelta | None
    status: str = "PENDING"
    attempts: int = 0
    owner: str = ""
    token: str = ""
    lease_seconds: float = 0.0


def new_rows(jobs: Iterable[NewJob], max_depth: int, *lease: Any) -> list[NewRow]:
    """Return the rows of jobs; what a database would refuse is refused here.

    Args:
        jobs: The jobs.
        max_depth: Levels of nesting that the database takes in a payload.
        *lease: The fields from ``status`` on, for rows that are born claimed.

    Raises:
        InvalidPayloadError: If a payload is not JSON.
        OutboxError: If another field cannot be stored.
    """
    rows = []
    before: tuple[Any, ...] | None = None
    for job in jobs:
        place = (job.priority, job.queue, job.ordering_key, job.tenant, job.max_attempts, job.due)
        if before is None or any(map(is_not, (job.kind, *place), before)):
            check_job(job)  # most jobs of a call differ in their payload alone
            before = (job.kind, *place)
        payload = encode_payload(job.payload, max_depth)
        # A function of the database takes neither 5.0 nor True for an integer.
        numbers = int(job.priority), int(job.max_attempts)
        row = NewRow(job.kind, payload, numbers[0], *place[1:4], numbers[1], None if lease else job.due, *lease)
        rows.append(row)
    return rows


def read_items(rows: Sequence[Sequence[Any]], leases: Iterable[tuple[str, str, datetime]]) -> list[OutboxItem]:
    """Make items from rows of :data:`ITEM_COLUMNS`.

    Args:
        rows: The rows.
        leases: For each row, who holds it, the fencing token of the claim, and the end of the lease.
    """
    # All payloads in one text: to call the parser costs more than to parse a small one.
    payloads = json.loads(f"[{','.join([row[2] for row in rows])}]")
    return [
        OutboxItem(row[0], row[1], payload, row[3], row[4], row[5], *lease, row[6], row[7], row[8], row[9])
        for row, payload, lease in zip(rows, payloads, leases, strict=True)
    ]
