"""What an outbox store is: calls for many items, and the calls for one item that follow from them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from automate_core.errors import LeaseLostError
from automate_core.outbox._items import Claims, JobStatus, NewJob, OutboxItem

__all__ = ["OutboxStore"]


class OutboxStore(Protocol):
    """Claims items and records what became of them.

    The calls for many items say which claims were *lost*: no longer the live ones, so that nothing was written for
    these. The calls for one item are sugar over them; a class that derives from this one inherits them, and they raise
    :class:`~automate_core.errors.LeaseLostError` instead.

    The store remembers the fencing token of every item that it claimed. A caller that ends a claim elsewhere passes
    the tokens: a mapping in place of the ids, or ``lease_token``.
    """

    # -- writing and claiming ---------------------------------------------------------------------------------------

    @abstractmethod
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

    @abstractmethod
    def add_claimed_many(self, worker_id: str, jobs: Sequence[NewJob]) -> list[OutboxItem]:
        """Write items that are born claimed, their first attempt charged, under one token.

        Args:
            worker_id: Who holds them.
            jobs: The items; their due times are ignored, and none may have an ordering key.

        Returns:
            The claimed items, in the order of the jobs.

        Raises:
            InvalidPayloadError: If a payload is not JSON; nothing is written.
            OutboxError: If another field cannot be stored; nothing is written.
        """
        ...

    @abstractmethod
    def claim_batch(
        self,
        worker_id: str,
        limit: int = 10,
        *,
        kinds: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
    ) -> list[OutboxItem]:
        """Claim due items; the attempt is charged here.

        Items of higher priority go first. Among equals each tenant, queue and kind gets its share, and within these
        the longest due go first. Of the items of one ordering key at most one is held at any time, the first.

        Args:
            worker_id: Who claims.
            limit: How many at the most; 0 or less claims nothing.
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.

        Returns:
            The claimed items, highest priority and longest due first.

        Raises:
            OutboxError: If the worker id cannot be stored.
        """
        ...

    @abstractmethod
    def claim_job(self, worker_id: str, job_id: int, *, due_only: bool = False) -> OutboxItem | None:
        """Claim one given item.

        Args:
            worker_id: Who claims.
            job_id: The item.
            due_only: Leave it where its time has not come; left out, a wait for a retry is cut short.

        Returns:
            The claimed item; None where it does not exist, is finished, is held by somebody, or waits behind another
            item of its ordering key.

        Raises:
            OutboxError: If the worker id cannot be stored.
        """
        ...

    @abstractmethod
    def complete_and_claim(
        self,
        claims: Claims,
        worker_id: str,
        limit: int,
        *,
        kinds: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
    ) -> tuple[set[int], list[OutboxItem]]:
        """Complete items and claim the next ones, in one transaction.

        Args:
            claims: The items to complete.
            worker_id: Who claimed them, and claims.
            limit: How many to claim at the most.
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.

        Returns:
            The ids whose claim was lost, and the newly claimed items.

        Raises:
            OutboxError: If the worker id cannot be stored.
        """
        ...

    @abstractmethod
    def seconds_until_due(
        self, kinds: Sequence[str] | None = None, *, queues: Sequence[str] | None = None
    ) -> float | None:
        """Return how long nothing more can be claimed.

        Args:
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.

        Returns:
            Seconds, 0.0 where something can be claimed already; None where nothing waits, or only behind items that
            somebody holds.
        """
        ...

    # -- ending claims ----------------------------------------------------------------------------------------------

    @abstractmethod
    def mark_success_many(self, claims: Claims, worker_id: str) -> set[int]:
        """Complete items.

        Args:
            claims: The items.
            worker_id: Who claimed them.

        Returns:
            The ids whose claim was lost.
        """
        ...

    @abstractmethod
    def mark_failed_many(self, claims: Claims, worker_id: str, errors: Mapping[int, str]) -> set[int]:
        """Fail items for good.

        Args:
            claims: The items.
            worker_id: Who claimed them.
            errors: Why, by id; redacted and shortened before it is written.

        Returns:
            The ids whose claim was lost.
        """
        ...

    @abstractmethod
    def mark_retry_many(
        self, claims: Claims, worker_id: str, retries: Mapping[int, tuple[datetime | timedelta, str]]
    ) -> dict[int, JobStatus]:
        """Give items back to be tried again, or fail those whose attempts are used up.

        Args:
            claims: The items.
            worker_id: Who claimed them.
            retries: By id: not before which time (a timedelta counts from the database's now), and why; the reason is
                redacted and shortened before it is written.

        Returns:
            RETRY or FAILED by id; an id that is missing was lost.

        Raises:
            OutboxError: If a time is a datetime without a time zone, or an id has no entry; nothing was written.
        """
        ...

    @abstractmethod
    def release_many(self, claims: Claims, worker_id: str) -> set[int]:
        """Hand items back untouched: the attempt is not charged, and any worker may claim them at once.

        Args:
            claims: The items.
            worker_id: Who claimed them.

        Returns:
            The ids whose claim was lost.
        """
        ...

    @abstractmethod
    def reschedule_many(self, claims: Claims, worker_id: str, dues: Mapping[int, datetime | timedelta]) -> set[int]:
        """Hand items back for a wait that was planned: PENDING again, with no attempts and no crashes on their account.

        Args:
            claims: The items.
            worker_id: Who claimed them.
            dues: By id: not before which time; a timedelta counts from the database's now.

        Returns:
            The ids whose claim was lost.

        Raises:
            OutboxError: If a time is a datetime without a time zone, or an id has no entry; nothing was written.
        """
        ...

    @abstractmethod
    def hold_many(self, claims: Claims, worker_id: str) -> set[int]:
        """Fence a checkpoint: nobody takes these claims away until the caller's transaction ends. Writes nothing.

        Args:
            claims: The items.
            worker_id: Who claimed them.

        Returns:
            The ids whose claim was lost.

        Raises:
            OutboxError: If there is no transaction around it, where the store takes part in one.
        """
        ...

    @abstractmethod
    def completed_by(self, claims: Mapping[int, str]) -> set[int]:
        """Tell which items were completed under exactly these claims, for a caller whose COMMIT had no answer.

        Args:
            claims: Ids with the tokens of their claims.

        Returns:
            The ids that are COMPLETED under that token.
        """
        ...

    @abstractmethod
    def renew_many(self, claims: Claims, worker_id: str) -> set[int]:
        """Extend leases by their full time from now.

        Args:
            claims: The items.
            worker_id: Who claimed them.

        Returns:
            The ids whose claim was lost.
        """
        ...

    # -- one item ---------------------------------------------------------------------------------------------------

    def add_claimed(self, worker_id: str, job: NewJob) -> OutboxItem:
        """Write an item that is born claimed, its first attempt charged.

        Args:
            worker_id: Who holds it.
            job: The item; its due time is ignored, and it may have no ordering key.

        Returns:
            The claimed item.

        Raises:
            InvalidPayloadError: If the payload is not JSON.
            OutboxError: If another field cannot be stored.
        """
        return self.add_claimed_many(worker_id, [job])[0]

    def mark_success(self, item_id: int, worker_id: str, *, lease_token: str | None = None) -> None:
        """Complete an item.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            lease_token: The token of the claim; left out, the one that this store remembers.

        Raises:
            LeaseLostError: If the claim is no longer the live one; nothing was written.
        """
        _refuse(self.mark_success_many(_claim(item_id, lease_token), worker_id), worker_id)

    def mark_failed(self, item_id: int, worker_id: str, error: str = "", *, lease_token: str | None = None) -> None:
        """Fail an item for good.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            error: Why; redacted and shortened before it is written.
            lease_token: As in :meth:`mark_success`.

        Raises:
            LeaseLostError: If the claim is no longer the live one; nothing was written.
        """
        _refuse(self.mark_failed_many(_claim(item_id, lease_token), worker_id, {item_id: error}), worker_id)

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
            error: Why; redacted and shortened before it is written.
            lease_token: As in :meth:`mark_success`.

        Returns:
            RETRY, or FAILED where that was the last attempt.

        Raises:
            LeaseLostError: If the claim is no longer the live one; nothing was written.
            OutboxError: If ``next_attempt`` is a datetime without a time zone; nothing was written.
        """
        claim = _claim(item_id, lease_token)
        written = self.mark_retry_many(claim, worker_id, {item_id: (next_attempt, error)})
        _refuse({item_id} - written.keys(), worker_id)
        return written[item_id]

    def release(self, item_id: int, worker_id: str, *, lease_token: str | None = None) -> None:
        """Hand an item back untouched: the attempt is not charged, and any worker may claim it at once.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            lease_token: As in :meth:`mark_success`.

        Raises:
            LeaseLostError: If the claim is no longer the live one; nothing was written.
        """
        _refuse(self.release_many(_claim(item_id, lease_token), worker_id), worker_id)

    def renew(self, item_id: int, worker_id: str, *, lease_token: str | None = None) -> None:
        """Extend the lease by its full time from now.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            lease_token: As in :meth:`mark_success`.

        Raises:
            LeaseLostError: If the claim is no longer the live one; nothing was written.
        """
        _refuse(self.renew_many(_claim(item_id, lease_token), worker_id), worker_id)


def _claim(item_id: int, lease_token: str | None) -> Claims:
    return {item_id: lease_token} if lease_token else [item_id]


def _refuse(lost: set[int], worker_id: str) -> None:
    for item_id in lost:
        raise LeaseLostError(
            f"{worker_id!r} does not hold item {item_id} (any more): its lease ran out and was taken away, the item is "
            "finished, or another store object claimed it. Nothing was written; drop the result, or pass the "
            "lease_token of the claim.",
            context={"item": item_id, "worker": worker_id},
        )
