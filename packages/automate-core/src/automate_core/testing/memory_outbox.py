"""An outbox in memory: the double for tests of workers, with a clock that the test moves."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from automate_core.errors import OutboxError
from automate_core.outbox import Claims, JobStatus, NewJob, OutboxItem, OutboxStore
from automate_core.outbox.fingerprint import error_fingerprint
from automate_core.redaction import redact_text
from automate_core.testing._memory_rows import MemoryJob, MemoryOutbox, MemoryOutboxReaper, choose, place

__all__ = ["MemoryJob", "MemoryOutbox", "MemoryOutboxReaper", "MemoryOutboxStore"]

_WAITING = (JobStatus.PENDING, JobStatus.RETRY)
_ERROR_LENGTH = 4000


class MemoryOutboxStore(OutboxStore):
    """An :class:`~automate_core.outbox.OutboxStore` in memory.

    Args:
        lease_seconds: How long a claim holds without being renewed.
        outbox: The table; a new one by default.
    """

    def __init__(self, lease_seconds: float = 30.0, *, outbox: MemoryOutbox | None = None) -> None:
        self.lease_seconds = lease_seconds
        self.outbox = MemoryOutbox() if outbox is None else outbox
        self._tokens: dict[tuple[int, str], str] = {}

    # -- writing and claiming ---------------------------------------------------------------------------------------

    def add(self, jobs: Sequence[NewJob]) -> list[int]:
        """Write items; as in the protocol.

        Args:
            jobs: The items.
        """
        for job in jobs:
            self.outbox.check(job)
        return [self.outbox.insert(job).id for job in jobs]

    def add_claimed_many(self, worker_id: str, jobs: Sequence[NewJob]) -> list[OutboxItem]:
        """Write items that are born claimed; as in the protocol.

        Args:
            worker_id: Who holds them.
            jobs: The items.
        """
        _check_worker(worker_id)
        born = [replace(job, due=None) for job in jobs]
        for job in born:
            self.outbox.check(job)
            if job.ordering_key:
                raise OutboxError("A job with an ordering key waits for its turn: write it with add(), and claim it.")
        token = secrets.token_hex(16)
        with self.outbox.lock:
            return [self._take(self.outbox.insert(job), worker_id, token) for job in born]

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
            due = [row for row in self._claimable(kinds, queues) if row.next_attempt_at <= now]
            chosen = choose(due, limit) if limit > 0 else []
            return [self._take(row, worker_id, token) for row in sorted(chosen, key=place)]

    def claim_job(self, worker_id: str, job_id: int, *, due_only: bool = False) -> OutboxItem | None:
        """Claim one given item; as in the protocol.

        Args:
            worker_id: Who claims.
            job_id: The item.
            due_only: Leave it where its time has not come.
        """
        _check_worker(worker_id)
        with self.outbox.lock:
            row = next((row for row in self._claimable(None, None) if row.id == job_id), None)
            if row is None or (due_only and row.next_attempt_at > self.outbox.clock()):
                return None
            return self._take(row, worker_id, secrets.token_hex(16))

    def complete_and_claim(
        self,
        claims: Claims,
        worker_id: str,
        limit: int,
        *,
        kinds: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
    ) -> tuple[set[int], list[OutboxItem]]:
        """Complete items and claim the next ones; as in the protocol.

        Args:
            claims: The items to complete.
            worker_id: Who claimed them, and claims.
            limit: How many to claim at the most.
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.
        """
        with self.outbox.lock:
            lost = self.mark_success_many(claims, worker_id)
            return lost, self.claim_batch(worker_id, limit, kinds=kinds, queues=queues)

    def seconds_until_due(
        self, kinds: Sequence[str] | None = None, *, queues: Sequence[str] | None = None
    ) -> float | None:
        """Return how long nothing more can be claimed; as in the protocol.

        Args:
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.
        """
        with self.outbox.lock:
            waiting = [row.next_attempt_at for row in self._claimable(kinds, queues)]
        return max(0.0, (min(waiting) - self.outbox.clock()).total_seconds()) if waiting else None

    def _claimable(self, kinds: Sequence[str] | None, queues: Sequence[str] | None) -> list[MemoryJob]:
        """Return the waiting rows that are not behind another one of their key."""
        rows = [row for row in self.outbox.rows.values() if row.status in (*_WAITING, JobStatus.CLAIMED)]
        held = {row.key for row in rows if row.key and row.status is JobStatus.CLAIMED}
        first: dict[tuple[str, str, str], int] = {}
        for row in rows:
            if row.key:
                first[row.key] = min(row.id, first.get(row.key, row.id))
        return [
            row
            for row in rows
            if row.status in _WAITING
            and (row.key is None or (row.key not in held and first[row.key] == row.id))
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
            priority=row.job.priority,
            ordering_key=row.job.ordering_key,
        )

    # -- ending claims ----------------------------------------------------------------------------------------------

    def mark_success_many(self, claims: Claims, worker_id: str) -> set[int]:
        """Complete items; as in the protocol.

        Args:
            claims: The items.
            worker_id: Who claimed them.
        """
        return self._each(claims, worker_id, lambda row: self._end(row, JobStatus.COMPLETED))

    def mark_failed_many(self, claims: Claims, worker_id: str, errors: Mapping[int, str]) -> set[int]:
        """Fail items for good; as in the protocol.

        Args:
            claims: The items.
            worker_id: Who claimed them.
            errors: Why, by id.
        """
        _check_entries(claims, errors)
        return self._each(claims, worker_id, lambda row: self._end(row, JobStatus.FAILED, errors[row.id]))

    def mark_retry_many(
        self, claims: Claims, worker_id: str, retries: Mapping[int, tuple[datetime | timedelta, str]]
    ) -> dict[int, JobStatus]:
        """Give items back to be tried again; as in the protocol.

        Args:
            claims: The items.
            worker_id: Who claimed them.
            retries: When, and why, by id.
        """
        claims = claims if isinstance(claims, Mapping) else list(claims)
        _check_entries(claims, retries)
        dues = {item_id: self.outbox.moment("next_attempt", due) for item_id, (due, _) in retries.items()}
        written: dict[int, JobStatus] = {}

        def retry(row: MemoryJob) -> None:
            status = JobStatus.FAILED if row.attempts >= row.job.max_attempts else JobStatus.RETRY
            row.next_attempt_at, written[row.id] = dues[row.id], status
            self._end(row, status, retries[row.id][1])

        self._each(claims, worker_id, retry)
        return written

    def release_many(self, claims: Claims, worker_id: str) -> set[int]:
        """Hand items back untouched; as in the protocol.

        Args:
            claims: The items.
            worker_id: Who claimed them.
        """

        def release(row: MemoryJob) -> None:
            row.attempts -= 1
            self._end(row, JobStatus.RETRY if row.attempts else JobStatus.PENDING)

        return self._each(claims, worker_id, release)

    def reschedule_many(self, claims: Claims, worker_id: str, dues: Mapping[int, datetime | timedelta]) -> set[int]:
        """Hand items back for a planned wait; as in the protocol.

        Args:
            claims: The items.
            worker_id: Who claimed them.
            dues: When, by id.
        """
        claims = claims if isinstance(claims, Mapping) else list(claims)
        _check_entries(claims, dues)
        moments = {item_id: self.outbox.moment("due", due) for item_id, due in dues.items()}

        def wait(row: MemoryJob) -> None:
            row.attempts, row.crashes, row.next_attempt_at = 0, 0, moments[row.id]
            self._end(row, JobStatus.PENDING)

        return self._each(claims, worker_id, wait)

    def hold_many(self, claims: Claims, worker_id: str) -> set[int]:
        """Tell which claims are live; as in the protocol, but nothing is locked.

        Args:
            claims: The items.
            worker_id: Who claimed them.
        """
        return self._each(claims, worker_id, lambda row: None)

    def completed_by(self, claims: Mapping[int, str]) -> set[int]:
        """Tell which items were completed under these claims; as in the protocol.

        Args:
            claims: Ids with the tokens of their claims.
        """
        with self.outbox.lock:
            found = {item_id: self.outbox.rows.get(item_id) for item_id in claims}
        return {
            item_id
            for item_id, row in found.items()
            if row and row.status is JobStatus.COMPLETED and row.lease_token == claims[item_id]
        }

    def renew_many(self, claims: Claims, worker_id: str) -> set[int]:
        """Extend leases; as in the protocol.

        Args:
            claims: The items.
            worker_id: Who claimed them.
        """

        def renew(row: MemoryJob) -> None:
            row.lease_expires_at = self.outbox.clock() + timedelta(seconds=self.lease_seconds)

        return self._each(claims, worker_id, renew)

    def _each(self, claims: Claims, worker_id: str, write: Callable[[MemoryJob], None]) -> set[int]:
        given = dict(claims) if isinstance(claims, Mapping) else dict.fromkeys(claims, "")
        lost = set()
        with self.outbox.lock:
            for item_id, given_token in given.items():
                token = given_token or self._tokens.get((item_id, worker_id))
                row = self.outbox.rows.get(item_id)
                live = (JobStatus.CLAIMED, worker_id, token)
                if row is None or (row.status, row.lease_owner, row.lease_token) != live:
                    lost.add(item_id)
                    self._forget(item_id, worker_id, token)
                else:
                    write(row)
        return lost

    def _end(self, row: MemoryJob, status: JobStatus, error: str | None = None) -> None:
        self._forget(row.id, row.lease_owner, row.lease_token)
        row.status = status
        if error is not None:
            row.last_error = redact_text(error)[:_ERROR_LENGTH]
            row.fingerprint = error_fingerprint(row.last_error) if status is JobStatus.FAILED else ""
        row.lease_token = row.lease_token if status is JobStatus.COMPLETED else ""
        row.lease_owner, row.lease_expires_at = "", None

    def _forget(self, item_id: int, worker_id: str, token: str | None) -> None:
        if self._tokens.get((item_id, worker_id)) == token:
            self._tokens.pop((item_id, worker_id), None)


def _check_worker(worker_id: str) -> None:
    if not worker_id:
        raise OutboxError("worker_id must be a non-empty string.")


def _check_entries(claims: Claims, values: Mapping[int, object]) -> None:
    if missing := [item_id for item_id in claims if item_id not in values]:
        raise OutboxError(f"There is no entry for item {missing[0]}: give one for each claim.")
