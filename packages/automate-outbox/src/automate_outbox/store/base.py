"""What both stores share: writing items, ending claims, renewing leases. Only claiming many differs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from automate_core.errors import ConfigurationError, LeaseLostError
from automate_core.outbox import JobStatus, NewJob, OutboxItem

from automate_outbox.store.dialect import Claim, Dialect, Filter, dialect_of, marks, sql
from automate_outbox.store.inserts import claimed_row, insert_rows, pending_row
from automate_outbox.store.leases import HeldLeases, new_token
from automate_outbox.store.rows import check_moment, check_worker, read_item, store_error

__all__ = ["DatabaseOutboxStore"]

_HELD = "status = 'CLAIMED' AND lease_owner = %s"
_NO_LEASE = "lease_owner = '', lease_token = '', lease_expires_at = NULL"
# MySQL assigns from left to right and reads what it has just written: status comes before attempts.
_RELEASE = (
    "status = CASE WHEN attempts > 1 THEN 'RETRY' ELSE 'PENDING' END, "
    "attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END"
)
_RETRY = (
    "status = CASE WHEN attempts >= max_attempts THEN 'FAILED' ELSE 'RETRY' END, "
    "completed_at = CASE WHEN attempts >= max_attempts THEN {now} END, "
    "next_attempt_at = {due}, last_error = %s"
)
_PLACE = slice(11, 13)


def _place(row: Sequence[Any]) -> tuple[Any, ...]:
    priority, next_attempt_at = row[_PLACE]
    return (-priority, next_attempt_at, row[0])


class DatabaseOutboxStore(ABC):
    """An outbox store over one of Django's databases, in SQL on Django's own connection.

    Every method works inside the caller's transaction too: what it wrote then holds when the caller commits. A store
    may be shared between threads. Where several threads claim under *one* worker id, pass ``lease_token``: of an item
    that came twice, the store remembers the last claim.

    A claim whose lease ran out may still be completed until the reaper, or nobody, has taken it away: its token is
    live as long as the row holds it.

    Args:
        lease_seconds: How long a claim holds without being renewed.
        using: Alias of the database.

    Raises:
        ConfigurationError: If ``lease_seconds`` is not positive.
    """

    def __init__(self, lease_seconds: float = 30.0, *, using: str = "default") -> None:
        if not lease_seconds > 0:
            raise ConfigurationError(f"lease_seconds must be positive, not {lease_seconds!r}.")
        self.lease_seconds = float(lease_seconds)
        self.using = using
        self._leases = HeldLeases(keep_seconds=max(3600.0, 10 * self.lease_seconds))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(lease_seconds={self.lease_seconds:g}, using={self.using!r})"

    @cached_property
    def _dialect(self) -> Dialect:
        return self._choose_dialect()

    def _choose_dialect(self) -> Dialect:
        return dialect_of(self.using)

    # -- writing items ----------------------------------------------------------------------------------------------

    def add(self, jobs: Sequence[NewJob]) -> list[int]:
        """Write items, in the caller's transaction where there is one.

        Args:
            jobs: The items; up to 1,000 are one INSERT.

        Returns:
            Their ids, in the same order.

        Raises:
            InvalidPayloadError: If a payload is not JSON; nothing is written.
            OutboxError: If another field cannot be stored; nothing is written.
        """
        rows = [pending_row(self._dialect, job) for job in jobs]
        return self._dialect.retrying(lambda: insert_rows(self._dialect, rows)) if rows else []

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
        check_worker(worker_id)
        token = new_token()
        row = claimed_row(self._dialect, job, worker_id, token, self.lease_seconds)
        ids = self._dialect.retrying(lambda: insert_rows(self._dialect, [row]))
        return self._claimed(self._rows(ids, worker_id, token), worker_id, token)[0]

    # -- claiming ---------------------------------------------------------------------------------------------------

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
            limit: How many at the most; 0 or less claims nothing.
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.

        Returns:
            The claimed items, highest priority and longest due first.

        Raises:
            OutboxError: If the worker id cannot be stored.
        """
        check_worker(worker_id)
        wanted = Filter(kinds, queues)
        if limit <= 0 or wanted.is_empty:
            return []
        claim = Claim(worker_id, new_token(), self.lease_seconds, limit, wanted)
        rows = self._dialect.retrying(lambda: self._claim(claim))
        return self._claimed(rows, claim.worker_id, claim.token)

    @abstractmethod
    def _claim(self, claim: Claim) -> list[Any]:
        """Claim due rows and return them, in no particular order."""

    def claim_job(self, worker_id: str, job_id: int, *, due_only: bool = False) -> OutboxItem | None:
        """Claim one given item.

        Args:
            worker_id: Who claims.
            job_id: The item.
            due_only: Leave it where its time has not come; left out, a wait for a retry is cut short.

        Returns:
            The claimed item; None where it does not exist, is finished, or is held by somebody.

        Raises:
            OutboxError: If the worker id cannot be stored.
        """
        check_worker(worker_id)
        token = new_token()
        rows = self._dialect.retrying(lambda: self._take([job_id], worker_id, token, due_only=due_only))
        return next(iter(self._claimed(rows, worker_id, token)), None)

    def _take(self, item_ids: Sequence[int], worker_id: str, token: str, *, due_only: bool) -> list[Any]:
        """Claim given rows where nobody holds them: compare and set, on any database."""
        expires, seconds = self._dialect.after(self.lease_seconds)
        statement = sql(
            "UPDATE {table} SET status = 'CLAIMED', attempts = attempts + 1, lease_owner = %s, lease_token = %s, "
            "lease_expires_at = {expires} WHERE id IN ({ids}) AND {live}{due}",
            expires=expires,
            ids=marks(len(item_ids)),
            due=f" AND {self._dialect.reached}" if due_only else "",
        )
        params = [worker_id, token, seconds, *item_ids]
        if self._dialect.updates_return_rows:
            return self._dialect.query(statement + sql(" RETURNING {columns}"), params)
        return self._rows(item_ids, worker_id, token) if self._dialect.execute(statement, params) else []

    def _rows(self, item_ids: Sequence[int], worker_id: str, token: str) -> list[Any]:
        statement = sql(
            "SELECT {columns} FROM {table} WHERE id IN ({ids}) AND {held} AND lease_token = %s",
            ids=marks(len(item_ids)),
            held=_HELD,
        )
        return self._dialect.query(statement, [*item_ids, worker_id, token])

    def _claimed(self, rows: list[Any], worker_id: str, token: str) -> list[OutboxItem]:
        items = [read_item(row, self._dialect.read_time(row[8])) for row in sorted(rows, key=_place)]
        self._leases.remember([item.id for item in items], worker_id, token)
        return items

    # -- ending a claim ---------------------------------------------------------------------------------------------

    def mark_success(self, item_id: int, worker_id: str, *, lease_token: str | None = None) -> None:
        """Complete an item.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            lease_token: The token of the claim; left out, the one that this store remembers.

        Raises:
            LeaseLostError: If the claim is no longer the live one; nothing was written.
        """
        change = sql("status = 'COMPLETED', completed_at = {now}", now=self._dialect.now)
        self._end(item_id, worker_id, lease_token, change, [])

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
        change = sql("status = 'FAILED', completed_at = {now}, last_error = %s", now=self._dialect.now)
        self._end(item_id, worker_id, lease_token, change, [store_error(error)])

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
            OutboxError: If ``next_attempt`` has no time zone; nothing was written.
        """
        check_moment("next_attempt", next_attempt)
        due, value = self._dialect.moment(next_attempt)
        change = _RETRY.format_map({"now": self._dialect.now, "due": due})
        params = [value, store_error(error)]
        return JobStatus(self._end(item_id, worker_id, lease_token, change, params, answer="status"))

    def release(self, item_id: int, worker_id: str, *, lease_token: str | None = None) -> None:
        """Hand an item back untouched: the attempt is not charged, and any worker may claim it at once.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            lease_token: As in :meth:`mark_success`.

        Raises:
            LeaseLostError: If the claim is no longer the live one; nothing was written.
        """
        self._end(item_id, worker_id, lease_token, _RELEASE, [])

    def _end(
        self, item_id: int, worker_id: str, lease_token: str | None, change: str, params: list[Any], answer: str = ""
    ) -> Any:
        token = self._token(item_id, worker_id, lease_token)
        result = self._change(item_id, worker_id, token, f"{change}, {_NO_LEASE}", params, answer)
        # A rollback makes the claim live again, so its token is kept until the commit.
        self._dialect.when_committed(lambda: self._leases.forget(item_id, worker_id, token))
        return result

    def _token(self, item_id: int, worker_id: str, given: str | None) -> str:
        token = given or self._leases.token(item_id, worker_id)
        if token is None:
            raise LeaseLostError(
                f"Item {item_id} is not held by {worker_id!r} through this store: it was finished, handed back or "
                "claimed elsewhere. Where another store object claimed it, pass lease_token=item.lease_token.",
                context={"item": item_id, "worker": worker_id},
            )
        return token

    def _change(self, item_id: int, worker_id: str, token: str, change: str, params: list[Any], answer: str) -> Any:
        """Update one row under its fence; the only way by which a claimed row is written."""
        statement = sql(
            "UPDATE {table} SET {change} WHERE id = %s AND {held} AND lease_token = %s", change=change, held=_HELD
        )
        values = [*params, item_id, worker_id, token]
        if answer and self._dialect.updates_return_rows:
            rows = self._dialect.retrying(lambda: self._dialect.query(f"{statement} RETURNING {answer}", values))
            result = rows[0][0] if rows else None
            changed = len(rows)
        else:
            changed = self._dialect.retrying(lambda: self._dialect.execute(statement, values))
            result = self._outcome(item_id) if answer and changed else None
        if not changed:
            self._leases.forget(item_id, worker_id, token)
            raise LeaseLostError(
                f"{worker_id!r} no longer holds item {item_id}: its lease ran out and was taken away, or the item is "
                "finished. Nothing was written; drop the result.",
                context={"item": item_id, "worker": worker_id},
            )
        return result

    def _outcome(self, item_id: int) -> str:
        """Read whether a row that was given back is dead: what is FAILED stays so, all else means it lives."""
        rows = self._dialect.query(sql("SELECT status FROM {table} WHERE id = %s"), [item_id])
        return "FAILED" if rows and rows[0][0] == JobStatus.FAILED else "RETRY"

    # -- leases -----------------------------------------------------------------------------------------------------

    def renew(self, item_id: int, worker_id: str, *, lease_token: str | None = None) -> None:
        """Extend the lease by its full time from now.

        Args:
            item_id: The item.
            worker_id: Who claimed it.
            lease_token: As in :meth:`mark_success`.

        Raises:
            LeaseLostError: If the claim is no longer the live one; nothing was written.
        """
        token = self._token(item_id, worker_id, lease_token)
        expires, seconds = self._dialect.after(self.lease_seconds)
        self._change(item_id, worker_id, token, f"lease_expires_at = {expires}", [seconds], answer="")
        self._leases.touch(item_id, worker_id, token)

    def renew_many(self, item_ids: Iterable[int] | Mapping[int, str], worker_id: str) -> set[int]:
        """Extend many leases in one statement.

        Args:
            item_ids: The items, or a mapping of items to the tokens of their claims.
            worker_id: Who claimed them.

        Returns:
            The items whose claim is no longer the live one.
        """
        given = dict(item_ids) if isinstance(item_ids, Mapping) else dict.fromkeys(item_ids)
        tokens = {item_id: token or self._leases.token(item_id, worker_id) for item_id, token in given.items()}
        held = {item_id: token for item_id, token in tokens.items() if token}
        kept = self._dialect.retrying(lambda: self._renew(held, worker_id)) if held else set()
        for item_id, token in held.items():
            settle = self._leases.touch if item_id in kept else self._leases.forget
            settle(item_id, worker_id, token)
        return set(given) - kept

    def _renew(self, held: Mapping[int, str], worker_id: str) -> set[int]:
        by_token: defaultdict[str, list[int]] = defaultdict(list)
        for item_id, token in held.items():
            by_token[token].append(item_id)
        pairs = " OR ".join(f"(lease_token = %s AND id IN ({marks(len(ids))}))" for ids in by_token.values())
        where = sql("WHERE {held} AND ({pairs})", held=_HELD, pairs=pairs)
        values = [worker_id, *(value for token, ids in by_token.items() for value in (token, *ids))]
        expires, seconds = self._dialect.after(self.lease_seconds)
        statement = sql("UPDATE {table} SET lease_expires_at = {expires} {where}", expires=expires, where=where)
        if self._dialect.updates_return_rows:
            return {row[0] for row in self._dialect.query(f"{statement} RETURNING id", [seconds, *values])}
        if self._dialect.execute(statement, [seconds, *values]) == len(held):
            return set(held)
        return {row[0] for row in self._dialect.query(sql("SELECT id FROM {table} {where}", where=where), values)}

    def seconds_until_due(
        self, kinds: Sequence[str] | None = None, *, queues: Sequence[str] | None = None
    ) -> float | None:
        """Return how long nothing more will come due, by the database's clock.

        Args:
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.

        Returns:
            Seconds, 0.0 where something is due already; None where nothing waits.
        """
        wanted = Filter(kinds, queues)
        if wanted.is_empty:
            return None
        conditions, values = wanted.conditions()
        statement = sql(
            "SELECT {seconds} FROM {table} WHERE {live}{conditions}",
            seconds=self._dialect.seconds_until,
            conditions=conditions,
        )
        ((seconds,),) = self._dialect.query(statement, values)
        return None if seconds is None else max(0.0, float(seconds))
