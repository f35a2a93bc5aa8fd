"""An outbox in memory: the double for tests of workers, with a clock that the test moves."""

from __future__ import annotations

import copy
import itertools
import json
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from automate_core.errors import LeaseLostError, OutboxError
from automate_core.outbox import JobStatus, NewJob, OutboxItem
from automate_core.payload import check_payload
from automate_core.redaction import redact_text

__all__ = ["MemoryJob", "MemoryOutbox", "MemoryOutboxReaper", "MemoryOutboxStore"]

_WAITING = (JobStatus.PENDING, JobStatus.RETRY)
_PAYLOAD_BYTES = 8 * 1024 * 1024
_ERROR_LENGTH = 4000


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


class MemoryOutboxStore:
    """An :class:`~automate_core.outbox.OutboxStore` in memory.

    Args:
        lease_seconds: How long a claim holds without being renewed.
        outbox: The table; a new one by default.
    """

    def __init__(self, lease_seconds: float = 30.0, *, outbox: MemoryOutbox | None = None) -> None:
        self.lease_seconds = lease_seconds
        self.outbox = MemoryOutbox() if outbox is None else outbox
        self._tokens: dict[tuple[int, str], str] = {}

    def add(self, jobs: Sequence[NewJob]) -> list[int]:
        """Write items; as in the protocol.

        Args:
            jobs: The items.
        """
        for job in jobs:
            self.outbox.check(job)
        return [self.outbox.insert(job).id for job in jobs]

    def add_claimed(self, worker_id: str, job: NewJob) -> OutboxItem:
        """Write an item that is born claimed; as in the protocol.

        Args:
            worker_id: Who holds it.
            job: The item.
        """
        _check_worker(worker_id)
        with self.outbox.lock:
            row = self.outbox.insert(replace(job, due=None))
            return self._take(row, worker_id, secrets.token_hex(16))

    def claim_batch(
        self,
        worker_id: str,
        limit: int = 10,
        *,
        kinds: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
    ) -> list[OutboxItem]:
        """Claim due items; as in the protocol.

        Args:
            worker_id: Who claims.
            limit: How many at the most.
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.
        """
        _check_worker(worker_id)
        token, now = secrets.token_hex(16), self.outbox.clock()
        with self.outbox.lock:
            due = [row for row in self._waiting(kinds, queues) if row.next_attempt_at <= now]
            due.sort(key=lambda row: (-row.job.priority, row.next_attempt_at, row.id))
            return [self._take(row, worker_id, token) for row in due[: max(limit, 0)]]

    def claim_job(self, worker_id: str, job_id: int, *, due_only: bool = False) -> OutboxItem | None:
        """Claim one given item; as in the protocol.

        Args:
            worker_id: Who claims.
            job_id: The item.
            due_only: Leave it where its time has not come.
        """
        _check_worker(worker_id)
        with self.outbox.lock:
            row = self.outbox.rows.get(job_id)
            if row is None or row.status not in _WAITING:
                return None
            if due_only and row.next_attempt_at > self.outbox.clock():
                return None
            return self._take(row, worker_id, secrets.token_hex(16))

    def seconds_until_due(
        self, kinds: Sequence[str] | None = None, *, queues: Sequence[str] | None = None
    ) -> float | None:
        """Return how long nothing more will come due; as in the protocol.

        Args:
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.
        """
        with self.outbox.lock:
            waiting = [row.next_attempt_at for row in self._waiting(kinds, queues)]
        return max(0.0, (min(waiting) - self.outbox.clock()).total_seconds()) if waiting else None

    def _waiting(self, kinds: Sequence[str] | None, queues: Sequence[str] | None) -> list[MemoryJob]:
        return [
            row
            for row in self.outbox.rows.values()
            if row.status in _WAITING
            and (kinds is None or row.job.kind in kinds)
            and (queues is None or row.job.queue in queues)
        ]

    def _take(self, row: MemoryJob, worker_id: str, token: str) -> OutboxItem:
        row.status, row.attempts = JobStatus.CLAIMED, row.attempts + 1
        row.lease_owner, row.lease_token = worker_id, token
        row.lease_expires_at = self.outbox.clock() + timedelta(seconds=self.lease_seconds)
        self._tokens[row.id, worker_id] = token
        return OutboxItem(
            id=row.id,
            kind=row.job.kind,
            payload=json.loads(row.payload),
            attempts=row.attempts,
            max_attempts=row.job.max_attempts,
            crashes=row.crashes,
            lease_owner=worker_id,
            lease_token=token,
            lease_expires_at=row.lease_expires_at,
            queue=row.job.queue,
            tenant=row.job.tenant,
        )

    def mark_success(self, item_id: int, worker_id: str, *, lease_token: str | None = None) -> None:
        """Complete an item; as in the protocol.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            lease_token: The token of the claim.
        """
        self._end(item_id, worker_id, lease_token, JobStatus.COMPLETED)

    def mark_failed(self, item_id: int, worker_id: str, error: str = "", *, lease_token: str | None = None) -> None:
        """Fail an item for good; as in the protocol.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            error: Why.
            lease_token: The token of the claim.
        """
        self._end(item_id, worker_id, lease_token, JobStatus.FAILED, error)

    def mark_retry(
        self,
        item_id: int,
        worker_id: str,
        next_attempt: datetime | timedelta,
        error: str = "",
        *,
        lease_token: str | None = None,
    ) -> JobStatus:
        """Give an item back to be tried again; as in the protocol.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            next_attempt: Not before this time.
            error: Why.
            lease_token: The token of the claim.
        """
        due = self.outbox.moment("next_attempt", next_attempt)
        with self.outbox.lock:
            row = self._held(item_id, worker_id, lease_token)
            status = JobStatus.FAILED if row.attempts >= row.job.max_attempts else JobStatus.RETRY
            self._end(item_id, worker_id, lease_token, status, error)
            row.next_attempt_at = due
        return status

    def release(self, item_id: int, worker_id: str, *, lease_token: str | None = None) -> None:
        """Hand an item back untouched; as in the protocol.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            lease_token: The token of the claim.
        """
        with self.outbox.lock:
            row = self._held(item_id, worker_id, lease_token)
            self._end(item_id, worker_id, lease_token, JobStatus.RETRY if row.attempts > 1 else JobStatus.PENDING)
            row.attempts -= 1

    def renew(self, item_id: int, worker_id: str, *, lease_token: str | None = None) -> None:
        """Extend the lease; as in the protocol.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            lease_token: The token of the claim.
        """
        with self.outbox.lock:
            row = self._held(item_id, worker_id, lease_token)
            row.lease_expires_at = self.outbox.clock() + timedelta(seconds=self.lease_seconds)

    def renew_many(self, item_ids: Iterable[int] | Mapping[int, str], worker_id: str) -> set[int]:
        """Extend many leases; as in the protocol.

        Args:
            item_ids: The items, or a mapping of items to the tokens of their claims.
            worker_id: Who claimed them.
        """
        given = dict(item_ids) if isinstance(item_ids, Mapping) else dict.fromkeys(item_ids)
        lost = set()
        for item_id, token in given.items():
            try:
                self.renew(item_id, worker_id, lease_token=token)
            except LeaseLostError:
                lost.add(item_id)
        return lost

    def _held(self, item_id: int, worker_id: str, given: str | None) -> MemoryJob:
        token = given or self._tokens.get((item_id, worker_id))
        row = self.outbox.rows.get(item_id)
        if (
            token is not None
            and row is not None
            and (row.status, row.lease_owner, row.lease_token) == (JobStatus.CLAIMED, worker_id, token)
        ):
            return row
        self._forget(item_id, worker_id, token)
        raise LeaseLostError(
            f"{worker_id!r} does not hold item {item_id}: nothing was written. Drop the result.",
            context={"item": item_id, "worker": worker_id},
        )

    def _end(
        self, item_id: int, worker_id: str, given: str | None, status: JobStatus, error: str | None = None
    ) -> None:
        with self.outbox.lock:
            row = self._held(item_id, worker_id, given)
            self._forget(item_id, worker_id, row.lease_token)
            row.status = status
            row.last_error = row.last_error if error is None else redact_text(error)[:_ERROR_LENGTH]
            row.lease_owner, row.lease_token, row.lease_expires_at = "", "", None

    def _forget(self, item_id: int, worker_id: str, token: str | None) -> None:
        if self._tokens.get((item_id, worker_id)) == token:
            self._tokens.pop((item_id, worker_id), None)


class MemoryOutboxReaper:
    """Recovers the items of a :class:`MemoryOutbox` whose lease has run out.

    Args:
        outbox: The table.
        stale_threshold_seconds: How long after its lease ran out an item is taken away.
        max_crashes: Crashes before an item is FAILED.
    """

    def __init__(self, outbox: MemoryOutbox, stale_threshold_seconds: float = 0.0, *, max_crashes: int = 3) -> None:
        self.outbox = outbox
        self.threshold = timedelta(seconds=stale_threshold_seconds)
        self.max_crashes = max_crashes

    def reap_stale_items(self) -> int:
        """Recover every stale item.

        Returns:
            How many were taken from their dead workers, the failed ones included.
        """
        with self.outbox.lock:
            cutoff = self.outbox.clock() - self.threshold
            stale = [row for row in self.outbox.rows.values() if row.lease_expires_at and row.lease_expires_at < cutoff]
            for row in stale:
                row.crashes += 1
                dead = row.crashes >= self.max_crashes or row.attempts >= row.job.max_attempts
                row.status = JobStatus.FAILED if dead else JobStatus.RETRY
                row.last_error = f"crashed: the last worker was {row.lease_owner}" if dead else row.last_error
                row.lease_owner, row.lease_token, row.lease_expires_at = "", "", None
            return len(stale)


def _check_worker(worker_id: str) -> None:
    if not worker_id:
        raise OutboxError("worker_id must be a non-empty string.")
