"""The table of the outbox in memory, and its reaper."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from automate_core.errors import OutboxError
from automate_core.outbox import JobStatus, NewJob
from automate_core.outbox.fingerprint import error_fingerprint
from automate_core.payload import check_payload

__all__ = ["MemoryJob", "MemoryOutbox", "MemoryOutboxReaper", "choose", "place"]

_PAYLOAD_BYTES = 8 * 1024 * 1024


def _system_clock() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class MemoryJob:
    """One row.

    Args:
        id: Its key.
        job: What was added.
        payload: Its payload as JSON text.
        next_attempt_at: Not claimed before this time.
        status: Where it stands.
        attempts: Attempts charged.
        crashes: Claims whose lease ran out.
        lease_owner: Who holds it.
        lease_token: The token of the live claim.
        lease_expires_at: When that runs out.
        last_error: Why it was given back or failed.
        fingerprint: Of the error, where it is FAILED.
    """

    id: int
    job: NewJob
    payload: str
    next_attempt_at: datetime
    status: JobStatus = JobStatus.PENDING
    attempts: int = 0
    crashes: int = 0
    lease_owner: str = ""
    lease_token: str = ""
    lease_expires_at: datetime | None = None
    last_error: str = ""
    fingerprint: str = ""

    @property
    def key(self) -> tuple[str, str, str] | None:
        """What it must be in order with; None for nothing."""
        return (self.job.queue, self.job.tenant, self.job.ordering_key) if self.job.ordering_key else None


class MemoryOutbox:
    """The table: what several stores and reapers share.

    Args:
        clock: Returns the time, aware; the system's clock by default.
    """

    def __init__(self, clock: Callable[[], datetime] = _system_clock) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.rows: dict[int, MemoryJob] = {}
        self._ids = itertools.count(1)

    def insert(self, job: NewJob) -> MemoryJob:
        """Add a row.

        Args:
            job: What to add.
        """
        row = self.check(job)
        with self.lock:
            row.id = next(self._ids)
            self.rows[row.id] = row
        return row

    def check(self, job: NewJob) -> MemoryJob:
        """Return the row of a job without adding it.

        Args:
            job: The job.

        Raises:
            InvalidPayloadError: If the payload is not JSON.
            OutboxError: If another field is wrong.
        """
        payload = check_payload(dict(job.payload), max_bytes=_PAYLOAD_BYTES, what="payload of the job").decode()
        if not job.kind or job.max_attempts < 1:
            raise OutboxError("A job needs a kind and at least one attempt.")
        due = timedelta() if job.due is None else job.due
        return MemoryJob(0, copy.copy(job), payload, self.moment("due", due))

    def moment(self, name: str, value: datetime | timedelta) -> datetime:
        """Return a moment as an aware datetime.

        Args:
            name: What it is called, for the message.
            value: An aware datetime, or a timedelta from now.

        Raises:
            OutboxError: If the datetime has no time zone.
        """
        if isinstance(value, timedelta):
            return self.clock() + value
        if value.utcoffset() is None:
            raise OutboxError(f"{name} must have a time zone, or be a timedelta from now.")
        return value


class MemoryOutboxReaper:
    """Recovers the items of a :class:`MemoryOutbox` whose lease has run out, or whose worker is dead.

    Args:
        outbox: The table.
        stale_threshold_seconds: How long after its lease ran out an item is taken away.
        max_crashes: Crashes before an item is FAILED.
    """

    def __init__(self, outbox: MemoryOutbox, stale_threshold_seconds: float = 0.0, *, max_crashes: int = 3) -> None:
        self.outbox = outbox
        self.threshold = timedelta(seconds=stale_threshold_seconds)
        self.max_crashes = max_crashes

    def reap_stale_items(self, owner: str | None = None) -> int:
        """Recover every stale item, or all that a dead worker held.

        Args:
            owner: A worker that is known to be dead; its leases are not waited for.

        Returns:
            How many were taken from their dead workers, the failed ones included.
        """
        with self.outbox.lock:
            cutoff = self.outbox.clock() - self.threshold
            held = [row for row in self.outbox.rows.values() if row.lease_expires_at]
            if owner is None:
                lost = [row for row in held if row.lease_expires_at and row.lease_expires_at < cutoff]
            else:
                lost = [row for row in held if row.lease_owner == owner]
            for row in lost:
                row.crashes += 1
                dead = row.crashes >= self.max_crashes or row.attempts >= row.job.max_attempts
                row.status = JobStatus.FAILED if dead else JobStatus.RETRY
                if dead:
                    row.last_error = f"crashed: the last worker was '{row.lease_owner}'"
                    row.fingerprint = error_fingerprint(row.last_error)
                row.lease_owner, row.lease_token, row.lease_expires_at = "", "", None
            return len(lost)


def place(row: MemoryJob) -> tuple[int, datetime, int]:
    """Return what claimed rows are sorted by.

    Args:
        row: The row.
    """
    return (-row.job.priority, row.next_attempt_at, row.id)


def choose(due: list[MemoryJob], limit: int) -> list[MemoryJob]:
    """Choose what a claim takes: ordered rows up to half of it, then by priority, each lane its share at first.

    Args:
        due: What may be claimed.
        limit: How many at the most.
    """
    ordered = sorted((row for row in due if row.key), key=place)
    plain = sorted((row for row in due if not row.key), key=place)
    chosen = ordered[: max(-(-limit // 2), limit - len(plain))]
    for _, group in itertools.groupby(plain, key=lambda row: row.job.priority):
        lanes: dict[tuple[str, str, str], list[MemoryJob]] = {}
        for row in group:
            lanes.setdefault((row.job.queue, row.job.tenant, row.job.kind), []).append(row)
        share = max(1, -(-(limit - len(chosen)) // len(lanes)))
        chosen += [row for lane in lanes.values() for row in lane[:share]]
        chosen += [row for lane in lanes.values() for row in lane[share:]]
    return chosen[:limit]
