"""What an outbox store is. The stores that ship are in ``automate_outbox``; they are reachable from here, lazily."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from automate_core.outbox.reaper import OutboxReaper
    from automate_core.outbox.store import OptimisticClaimOutboxStore, SkipLockedClaimOutboxStore

__all__ = [
    "JobStatus",
    "NewJob",
    "OptimisticClaimOutboxStore",
    "OutboxItem",
    "OutboxReaper",
    "OutboxStore",
    "SkipLockedClaimOutboxStore",
]


class JobStatus(StrEnum):
    """Where an outbox item stands. COMPLETED and FAILED are final; FAILED is the dead letter."""

    PENDING = "PENDING"
    CLAIMED = "CLAIMED"
    RETRY = "RETRY"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class NewJob:
    """An item to be written to the outbox.

    Args:
        kind: What shall be done; a worker claims only the kinds that it can handle.
        payload: JSON object with what the handler needs.
        queue: Name of the queue.
        priority: Higher goes first.
        ordering_key: Items with one key are to be done in order (kept for the issue of ordering).
        tenant: The tenant it belongs to.
        due: Not before this time; a timedelta counts from the database's now, None means at once.
        max_attempts: Attempts before it is FAILED.
    """

    kind: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    queue: str = "default"
    priority: int = 0
    ordering_key: str = ""
    tenant: str = ""
    due: datetime | timedelta | None = None
    max_attempts: int = 4


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """A claimed item.

    Args:
        id: Its primary key.
        kind: What shall be done.
        payload: What the handler needs.
        attempts: Attempts charged so far, this one included.
        max_attempts: Attempts before it is FAILED.
        crashes: Claims that ended with a dead worker.
        lease_owner: The worker that holds it.
        lease_token: The fencing token of this claim; a later claim has another one.
        lease_expires_at: When the lease runs out, by the database's clock.
        queue: Name of the queue.
        tenant: The tenant it belongs to.
    """

    id: int
    kind: str
    payload: dict[str, Any]
    attempts: int
    max_attempts: int
    crashes: int
    lease_owner: str
    lease_token: str
    lease_expires_at: datetime
    queue: str = "default"
    tenant: str = ""


class OutboxStore(Protocol):
    """Claims items and records what became of them.

    The store remembers the fencing token of every item that it claimed; a caller that completes elsewhere passes
    ``lease_token``. Whoever does not hold the live token gets :class:`~automate_core.errors.LeaseLostError`, and
    nothing is written.
    """

    def add(self, jobs: Sequence[NewJob]) -> list[int]:
        """Write items, in the caller's transaction where there is one.

        Args:
            jobs: The items.

        Returns:
            Their ids, in the same order.

        Raises:
            InvalidPayloadError: If a payload is not JSON; nothing is written.
            OutboxError: If another field cannot be stored; nothing is written.
        """
        ...

    def add_claimed(self, worker_id: str, job: NewJob) -> OutboxItem:
        """Write an item that is born claimed, its first attempt charged.

        Args:
            worker_id: Who holds it.
            job: The item; its due time is ignored.

        Returns:
            The claimed item.

        Raises:
            InvalidPayloadError: If the payload is not JSON.
            OutboxError: If another field cannot be stored.
        """
        ...

    def claim_batch(
        self,
        worker_id: str,
        limit: int = 10,
        *,
        kinds: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
    ) -> list[OutboxItem]:
        """Claim due items; the attempt is charged here.

        Args:
            worker_id: Who claims.
            limit: How many at the most.
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.

        Returns:
            The claimed items, highest priority and longest due first.
        """
        ...

    def claim_job(self, worker_id: str, job_id: int, *, due_only: bool = False) -> OutboxItem | None:
        """Claim one given item.

        Args:
            worker_id: Who claims.
            job_id: The item.
            due_only: Leave it where its time has not come; left out, a wait for a retry is cut short.

        Returns:
            The claimed item; None where it does not exist, is finished, or is held by somebody.
        """
        ...

    def mark_success(self, item_id: int, worker_id: str, *, lease_token: str | None = None) -> None:
        """Complete an item.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            lease_token: The token of the claim; left out, the one that this store remembers.

        Raises:
            LeaseLostError: If the claim is no longer the live one.
        """
        ...

    def mark_retry(
        self,
        item_id: int,
        worker_id: str,
        next_attempt: datetime | timedelta,
        error: str = "",
        *,
        lease_token: str | None = None,
    ) -> JobStatus:
        """Give an item back to be tried again, or fail it where its attempts are used up.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            next_attempt: Not before this time; a timedelta counts from the database's now.
            error: Why, redacted before it is written.
            lease_token: As in :meth:`mark_success`.

        Returns:
            RETRY, or FAILED where that was the last attempt.

        Raises:
            LeaseLostError: If the claim is no longer the live one.
            OutboxError: If ``next_attempt`` is a datetime without a time zone.
        """
        ...

    def mark_failed(self, item_id: int, worker_id: str, error: str = "", *, lease_token: str | None = None) -> None:
        """Fail an item for good.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            error: Why, redacted before it is written.
            lease_token: As in :meth:`mark_success`.

        Raises:
            LeaseLostError: If the claim is no longer the live one.
        """
        ...

    def renew(self, item_id: int, worker_id: str, *, lease_token: str | None = None) -> None:
        """Extend the lease by its full time from now.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            lease_token: As in :meth:`mark_success`.

        Raises:
            LeaseLostError: If the claim is no longer the live one.
        """
        ...

    def renew_many(self, item_ids: Iterable[int] | Mapping[int, str], worker_id: str) -> set[int]:
        """Extend many leases at once.

        Args:
            item_ids: The items, or a mapping of items to the tokens of their claims.
            worker_id: Who claimed them.

        Returns:
            The items whose claim is no longer the live one.
        """
        ...

    def release(self, item_id: int, worker_id: str, *, lease_token: str | None = None) -> None:
        """Hand an item back untouched: the attempt is not charged, and any worker may claim it at once.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            lease_token: As in :meth:`mark_success`.

        Raises:
            LeaseLostError: If the claim is no longer the live one.
        """
        ...

    def seconds_until_due(
        self, kinds: Sequence[str] | None = None, *, queues: Sequence[str] | None = None
    ) -> float | None:
        """Return how long nothing more will come due.

        Args:
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.

        Returns:
            Seconds, 0.0 where something is due already; None where nothing waits.
        """
        ...


_LAZY = {
    "OutboxReaper": "automate_core.outbox.reaper",
    "OptimisticClaimOutboxStore": "automate_core.outbox.store",
    "SkipLockedClaimOutboxStore": "automate_core.outbox.store",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
