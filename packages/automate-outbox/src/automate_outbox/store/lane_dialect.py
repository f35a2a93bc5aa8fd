"""What differs between databases in claims: how lanes and keys are found, and how rows are taken."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.db import transaction

from automate_outbox.store.dialect import Dialect
from automate_outbox.store.lanes import Cursor, Lane, OrderKey
from automate_outbox.store.statements import Change, Claim, Head, marks, sql

__all__ = ["LaneDialect"]

_DUE = """SELECT id FROM (
    SELECT id FROM {table}
    WHERE {plain} AND priority = %s AND queue = %s AND tenant = %s AND kind = %s AND {behind} AND {reached}
    ORDER BY next_attempt_at, id LIMIT %s
) AS lane_{number}"""
_TAKE = """UPDATE {table}
SET status = 'CLAIMED', attempts = attempts + 1, lease_owner = %s, lease_token = %s, lease_expires_at = {expires}
WHERE {chosen} RETURNING {columns}"""
_HEAD = """SELECT * FROM (
    SELECT {head} FROM {table} WHERE {ordered} AND queue = %s AND tenant = %s AND ordering_key = %s ORDER BY id LIMIT 1
) AS head_{number}"""
# Scalar subqueries, as no plan makes a join over the whole backlog of them.
_TURN = """(ordering_key = '' OR (
    (SELECT 1 FROM {table} AS other WHERE status = 'CLAIMED' AND ordering_key > '' AND queue = {table}.queue
        AND tenant = {table}.tenant AND ordering_key = {table}.ordering_key LIMIT 1) IS NULL
    AND (SELECT 1 FROM {table} AS other WHERE {ordered} AND queue = {table}.queue AND tenant = {table}.tenant
        AND ordering_key = {table}.ordering_key AND id < {table}.id LIMIT 1) IS NULL
))"""

_MOST_TERMS = 500
"""SELECTs that SQLite puts together in one statement (its SQLITE_MAX_COMPOUND_SELECT)."""


class LaneDialect(Dialect):
    """SQL of one kind of database, with that of claims.

    Args:
        using: Alias of the database.
    """

    most_lanes: ClassVar[int] = 64
    """How many lanes a claim goes over at the most."""

    # -- lanes ------------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def seconds_to_go(self) -> str:
        """Seconds from now until ``next_attempt_at``."""

    @abstractmethod
    def lanes(self, after: Lane | None, limit: int) -> list[Any]:
        """Find the lanes, and the queues and tenants that have ordered items, by a loose scan of their indexes.

        Args:
            after: The lane behind which to begin; None for the first, with the ordered ones.
            limit: How many lanes at the most.

        Returns:
            Rows of priority, queue, tenant, kind, and of the first item :attr:`place`, id and seconds until it is due;
            of ordered ones only queue and tenant.
        """

    @property
    def head(self) -> str:
        """The columns that :meth:`read_heads` expects."""
        return f"queue, tenant, ordering_key, id, kind, status, {self.seconds_to_go} AS seconds"

    @abstractmethod
    def heads(self, lanes: Sequence[OrderKey], keys: int) -> list[Head]:
        """Find the first items of ordering keys, one probe for each key.

        Args:
            lanes: Queues and tenants, and the key behind which to begin.
            keys: How many keys of each at the most.

        Returns:
            The items, those of one queue and tenant in the order of their keys.
        """

    def heads_of(self, keys: Sequence[OrderKey]) -> list[Head]:
        """Find the first items of given ordering keys.

        Args:
            keys: The keys.
        """
        heads: list[Head] = []
        for start in range(0, len(keys), _MOST_TERMS):
            part = keys[start : start + _MOST_TERMS]
            texts = [sql(_HEAD, head=self.head, number=str(number)) for number in range(len(part))]
            heads += self.read_heads(self.query(" UNION ALL ".join(texts), [value for key in part for value in key]))
        return heads

    def read_heads(self, rows: Sequence[Any]) -> list[Head]:
        """Return rows of :attr:`head` as they are meant.

        Args:
            rows: The rows.
        """
        return [
            Head(queue, tenant, key, item_id, kind, status != "CLAIMED", float(seconds))
            for queue, tenant, key, item_id, kind, status, seconds in rows
        ]

    def behind(self, cursor: Cursor) -> tuple[str, list[Any]]:
        """Return the condition that an item lies behind a cursor, and its parameters.

        Args:
            cursor: The cursor.
        """
        return "(next_attempt_at, id) > (%s, %s)", [cursor.place, cursor.id]

    def due_in(self, cursors: Sequence[Cursor], limit: int) -> tuple[str, list[Any]]:
        """Return a SELECT of the ids of due items, each lane up to its share, and its parameters.

        Args:
            cursors: The lanes.
            limit: How many at the most.
        """
        texts, params = [], []
        for number, cursor in enumerate(cursors):
            behind, values = self.behind(cursor)
            texts.append(sql(_DUE, reached=self.reached, behind=behind, number=str(number)))
            params += [*cursor.lane, *values, cursor.share]
        return f"{' UNION ALL '.join(texts)} LIMIT %s", [*params, limit]

    # -- claiming ---------------------------------------------------------------------------------------------------

    def take(self, item_ids: Sequence[int], claim: Claim, *, due_only: bool) -> list[Any]:
        """Claim given rows where nobody holds them and, if they have an ordering key, it is their turn.

        Args:
            item_ids: The rows.
            claim: The request; its limit and filter do not matter.
            due_only: Leave those whose time has not come.

        Returns:
            The rows of :attr:`columns`.
        """
        chosen = sql(
            "id IN ({ids}) AND {live} AND {turn}{due}",
            ids=marks(len(item_ids)),
            turn=sql(_TURN),
            due=f" AND {self.reached}" if due_only else "",
        )
        statement, params = self.taking(claim, chosen)
        return self.query(statement, [*params, *item_ids])

    def taking(self, claim: Claim, chosen: str) -> tuple[str, list[Any]]:
        """Return the UPDATE that claims rows, and its parameters but those of the condition.

        Args:
            claim: The request.
            chosen: The condition.
        """
        expires, seconds = self.after(claim.lease_seconds)
        statement = sql(_TAKE, expires=expires, chosen=chosen, columns=self.columns)
        return statement, [claim.worker_id, claim.token, seconds]

    @abstractmethod
    def claim(self, claim: Claim, cursors: Sequence[Cursor]) -> list[Any]:
        """Claim due items of lanes so that two claimers never meet.

        Args:
            claim: The request.
            cursors: The lanes, in the order in which they are looked at.

        Returns:
            Rows of :attr:`columns`, in no particular order.
        """

    def complete_and_claim(
        self, held: Mapping[int, str], worker_id: str, completion: Change, claim: Claim, cursors: Sequence[Cursor]
    ) -> tuple[set[int], list[Any]]:
        """Complete claims and claim due items, in one transaction.

        Args:
            held: Fencing tokens of the items to complete, by id.
            worker_id: Who holds them.
            completion: What completing sets.
            claim: The request.
            cursors: The lanes.

        Returns:
            The ids whose claim was live, and rows of :attr:`columns`.
        """
        with transaction.atomic(using=self.using):
            done = {row[0] for row in self.change_claimed(held, worker_id, completion)}
            return done, self.claim(claim, cursors)
