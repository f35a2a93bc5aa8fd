"""What both stores share: writing items and claiming them. Only claiming many differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from automate_core import settings
from automate_core.errors import OutboxError
from automate_core.outbox import Claims, NewJob, OutboxItem
from django.db import transaction

from automate_outbox.store.claiming import LaneClaims
from automate_outbox.store.endings import MOST
from automate_outbox.store.lanes import LaneBook
from automate_outbox.store.leases import new_token
from automate_outbox.store.rows import NewRow, check_worker, new_rows, read_items
from automate_outbox.store.statements import Along, Claim, Filter

__all__ = ["DatabaseOutboxStore"]

_PRIORITY, _PLACE, _EXPIRES = 8, 10, 11
_ROWS_PER_STATEMENT = 1000


def _order(row: Sequence[Any]) -> tuple[Any, ...]:
    return (-row[_PRIORITY], row[_PLACE], row[0])


class DatabaseOutboxStore(LaneClaims):
    """An outbox store over one of Django's databases, in SQL on Django's own connection.

    Every method works inside the caller's transaction too: what it wrote then holds when the caller commits. A store
    may be shared between threads. Where several threads claim under *one* worker id, pass the fencing tokens: of an
    item that came twice, the store remembers the last claim.

    A claim whose lease ran out may still be completed until the reaper, or nobody, has taken it away: its token is
    live as long as the row holds it.

    Args:
        lease_seconds: How long a claim holds without being renewed.
        using: Alias of the database.

    Raises:
        ConfigurationError: If ``lease_seconds`` is not positive.
    """

    _claims_along = True
    """Whether the transaction that completes items may claim the next ones too, past those that others hold."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(lease_seconds={self.lease_seconds:g}, using={self.using!r})"

    # -- writing items ----------------------------------------------------------------------------------------------

    def add(self, jobs: Sequence[NewJob], *, along: Along | tuple[str, Sequence[Any]] | None = None) -> list[int]:
        """Write items, in the caller's transaction where there is one.

        On PostgreSQL, and unless ``OUTBOX.notify`` is off, the statement that writes an item which is due at once also
        sends an empty notification on the channel ``automate_outbox``.

        Args:
            jobs: The items; up to 1,000 are one INSERT.
            along: An INSERT of the caller's and its parameters, for rows that belong to these items: both are written
                or neither is. On PostgreSQL they are one statement. It takes 1 to 1,000 items.

        Returns:
            Their ids, in the same order.

        Raises:
            InvalidPayloadError: If a payload is not JSON; nothing is written.
            OutboxError: If another field cannot be stored; nothing is written.
        """
        return self.add_rows(new_rows(jobs, self._dialect.max_depth), None if along is None else Along(*along))

    def add_rows(self, rows: list[NewRow], along: Along | None = None) -> list[int]:
        """Write items whose rows are made and checked, otherwise as :meth:`add` does.

        Args:
            rows: The rows, as :func:`~automate_outbox.store.rows.new_rows` makes them.
            along: As in :meth:`add`.

        Returns:
            Their ids, in the same order.

        Raises:
            OutboxError: If they are too many, or none, to go along with.
        """
        dialect, notify = self._dialect, settings.current().outbox.notify
        if along is None:
            ids = self._insert(rows, lambda part: dialect.insert(part, notify=notify))
        elif 0 < len(rows) <= _ROWS_PER_STATEMENT:
            ids = dialect.retrying(lambda: dialect.insert_along(along, rows, notify=notify))
        else:
            raise OutboxError(f"Rows go along with 1 to {_ROWS_PER_STATEMENT} items, not with {len(rows)}: split them.")
        if rows:
            dialect.ring()
        return ids

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
        check_worker(worker_id)
        if any(job.ordering_key for job in jobs):
            raise OutboxError("A job with an ordering key waits for its turn: write it with add(), and claim it.")
        token = new_token()
        rows = new_rows(jobs, self._dialect.max_depth, "CLAIMED", 1, worker_id, token, self.lease_seconds)
        return self._items(self._insert(rows, self._dialect.insert_claimed), worker_id, token)

    def _insert(self, rows: list[Any], insert: Any) -> list[Any]:
        if len(rows) <= _ROWS_PER_STATEMENT:
            return self._dialect.retrying(lambda: insert(rows)) if rows else []

        def insert_parts() -> list[Any]:
            starts = range(0, len(rows), _ROWS_PER_STATEMENT)
            with transaction.atomic(using=self.using):
                return [one for start in starts for one in insert(rows[start : start + _ROWS_PER_STATEMENT])]

        return self._dialect.retrying(insert_parts)

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
        claim = self._request(worker_id, limit, kinds, queues)
        if claim is None:
            return []
        return self._items(sorted(self._claim_rows(claim), key=_order), claim.worker_id, claim.token)

    def complete_and_claim(
        self,
        claims: Claims,
        worker_id: str,
        limit: int,
        *,
        kinds: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
    ) -> tuple[set[int], list[OutboxItem]]:
        """Complete items and claim the next ones; on PostgreSQL one statement, where the lanes are known.

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
        claim = self._request(worker_id, limit, kinds, queues)
        book = self._book(claim.wanted) if claim else LaneBook()
        apart = claim is None or book.is_outdated or not self._claims_along
        cursors = [] if claim is None or apart else book.cursors(claim.limit, self._dialect.most_lanes)
        given, held = self._held(claims, worker_id)
        if claim is None or not cursors or not 0 < len(held) <= MOST:
            lost, begun = self.mark_success_many(claims, worker_id), None
        else:
            # Ordered items have their half: they are claimed behind this statement.
            first = replace(claim, limit=claim.limit if not book.ordered() else -(-claim.limit // 2))
            done, begun = self._dialect.retrying(
                lambda: self._dialect.complete_and_claim(held, worker_id, self._completion, first, cursors)
            )
            book.note(cursors, begun, first.limit)
            self._settle(held, done, worker_id)
            lost = given - done
        # Whatever happens now, the caller must hear what was completed.
        rows = self._safely(bool(given), partial(self._claim_rows, claim, begun)) if claim else []
        return lost, self._items(sorted(rows, key=_order), worker_id, claim.token if claim else "")

    def _request(
        self, worker_id: str, limit: int, kinds: Sequence[str] | None, queues: Sequence[str] | None
    ) -> Claim | None:
        check_worker(worker_id)
        wanted = Filter.of(kinds, queues)
        if limit <= 0 or wanted.is_empty:
            return None
        return Claim(worker_id, new_token(), self.lease_seconds, limit, wanted)

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
        check_worker(worker_id)
        claim = Claim(worker_id, new_token(), self.lease_seconds, 1, Filter())
        rows = self._dialect.retrying(lambda: self._dialect.take([job_id], claim, due_only=due_only))
        return next(iter(self._items(rows, worker_id, claim.token)), None)

    def _items(self, rows: Sequence[Any], worker_id: str, token: str) -> list[OutboxItem]:
        if not rows:
            return []
        # One or two statements, so one or two times.
        times = {value: self._dialect.read_time(value) for value in {row[_EXPIRES] for row in rows}}
        items = read_items(rows, [(worker_id, token, times[row[_EXPIRES]]) for row in rows])
        self._leases.remember([item.id for item in items], worker_id, token)
        self._hold_keys(rows)
        return items

    def seconds_until_due(
        self, kinds: Sequence[str] | None = None, *, queues: Sequence[str] | None = None
    ) -> float | None:
        """Return how long nothing more can be claimed, by the database's clock.

        Args:
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.

        Returns:
            Seconds, 0.0 where something can be claimed already; None where nothing waits, or only behind items that
            somebody holds.
        """
        wanted = Filter.of(kinds, queues)
        if wanted.is_empty:
            return None
        lanes, ordered = self._find_lanes(wanted)
        times = [seconds for *_, seconds in lanes] + self._seconds_until_head(ordered, wanted)
        return max(0.0, min(times)) if times else None
