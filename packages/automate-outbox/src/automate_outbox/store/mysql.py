"""MySQL and MariaDB: no UPDATE returns rows, so a claim is a short transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from automate_core.payload import MAX_DEPTH, MAX_DEPTH_MARIADB
from django.db import DatabaseError, transaction

from automate_outbox.store.lane_dialect import LaneDialect
from automate_outbox.store.lanes import Cursor, Lane, OrderKey
from automate_outbox.store.rows import ITEM_COLUMNS, NewRow
from automate_outbox.store.statements import Change, Claim, Head, Pairs, marks, sql

__all__ = ["MySQLDialect"]

# Groups by leading columns of an index, with MIN or MAX of the next one, are a loose scan: one probe for each group.
# Conditions on these columns are ranges, as the optimizer walks every row where it can compare with "=".
_LANES = """SELECT priority, queue, tenant, kind, MIN(first), 0, MIN({seconds}) FROM (
    SELECT priority, queue, tenant, kind, MIN(next_attempt_at) AS first
    FROM {table} FORCE INDEX (automate_outbox_claim) WHERE {live} AND ordering_key <= ''
    GROUP BY status, ordering_key, priority, queue, tenant, kind
) AS lane GROUP BY priority, queue, tenant, kind ORDER BY priority, queue, tenant, kind"""
_PAIRS = """SELECT DISTINCT NULL, queue, tenant, NULL, NULL, NULL, NULL FROM (
    SELECT queue, tenant FROM {table} FORCE INDEX (automate_outbox_order)
    WHERE status IN ('PENDING', 'RETRY', 'CLAIMED')
    GROUP BY status, queue, tenant HAVING MAX(ordering_key) > ''
) AS pair"""
_HEADS = """SELECT {head} FROM (
    SELECT of_key, MIN(first) AS first FROM ({each}) AS each_status GROUP BY of_key ORDER BY of_key LIMIT %s
) AS key_of JOIN {table} ON id = first ORDER BY ordering_key"""
_HEADS_OF = """(SELECT ordering_key AS of_key, MIN(id) AS first FROM {table} FORCE INDEX (automate_outbox_order)
WHERE status >= '{status}' AND status <= '{status}' AND queue >= %s AND queue <= %s AND tenant >= %s AND tenant <= %s
    AND ordering_key > %s
GROUP BY status, queue, tenant, ordering_key ORDER BY status, queue, tenant, ordering_key LIMIT %s)"""
_HEAD = """SELECT {head} FROM {table} WHERE id = (SELECT MIN(first) FROM ({each}) AS each_status)"""
_HEAD_OF = """(SELECT id AS first FROM {table} FORCE INDEX (automate_outbox_order)
WHERE status = '{status}' AND queue = %s AND tenant = %s AND ordering_key = %s ORDER BY id LIMIT 1)"""
# One status at a time, in the order of the index: a sort would lock every due row, not only those up to the limit.
_LOCK = """SELECT {items}, next_attempt_at, {expires} FROM {table} FORCE INDEX (automate_outbox_claim)
WHERE status = '{status}' AND ordering_key = '' AND priority = %s AND queue = %s AND tenant = %s AND kind = %s
    AND {behind} AND {reached}
ORDER BY next_attempt_at, id LIMIT %s FOR UPDATE SKIP LOCKED"""
_LOCK_GIVEN = """SELECT {items}, next_attempt_at, {expires} FROM {table}
WHERE id IN ({ids}) AND {live}{due} ORDER BY id FOR UPDATE"""
_BLOCKED = """SELECT queue, tenant, ordering_key FROM {table} FORCE INDEX (automate_outbox_order)
WHERE {each} FOR UPDATE"""
_BLOCKED_BY = """(status = 'CLAIMED' AND queue = %s AND tenant = %s AND ordering_key = %s)
OR (status = 'PENDING' AND queue = %s AND tenant = %s AND ordering_key = %s AND id < %s)
OR (status = 'RETRY' AND queue = %s AND tenant = %s AND ordering_key = %s AND id < %s)"""
_UPDATE = """UPDATE {table}
SET status = 'CLAIMED', attempts = attempts + 1, lease_owner = %s, lease_token = %s, lease_expires_at = %s
WHERE id IN ({ids})"""
_SECONDS = "TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), {moment}) / 1000000"
_WAITING = ("PENDING", "RETRY")
_ALIVE = ("PENDING", "RETRY", "CLAIMED")
_DEADLOCK, _LOCK_TIMEOUT, _CHANGED_SINCE_READ = 1213, 1205, 1020
_ID, _ATTEMPTS, _QUEUE, _TENANT, _PRIORITY, _KEY, _PLACE, _EXPIRES = 0, 3, 6, 7, 8, 9, 10, 11


class MySQLDialect(LaneDialect):
    """SQL for MySQL and MariaDB; times are DATETIME(6) in UTC."""

    now = "UTC_TIMESTAMP(6)"
    seconds_until = "TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), MIN(next_attempt_at)) / 1000000"
    most_lanes = 8
    lock = " FOR UPDATE"
    place = "next_attempt_at"
    expires = "lease_expires_at"

    @property
    def max_depth(self) -> int:
        """Levels of nesting: MariaDB's check of a JSON column refuses deeper values, empty ones at the end included."""
        return MAX_DEPTH_MARIADB - 1 if getattr(self.connection, "mysql_is_mariadb", False) else MAX_DEPTH

    def after(self, seconds: float) -> tuple[str, Any]:
        """Add seconds to the database's now.

        Args:
            seconds: How many.
        """
        return "UTC_TIMESTAMP(6) + INTERVAL %s MICROSECOND", round(seconds * 1_000_000)

    def read_time(self, value: Any) -> datetime:
        """Return the driver's naive datetime as UTC.

        Args:
            value: A naive datetime.
        """
        moment: datetime = value
        return moment.replace(tzinfo=UTC)

    # -- new rows ---------------------------------------------------------------------------------------------------

    def insert(self, rows: Sequence[NewRow], *, notify: bool) -> list[int]:
        """Insert, and work out the ids where the server cannot return them.

        Args:
            rows: The rows, at least one.
            notify: Nothing here: MySQL has no notifications.
        """
        if self.connection.features.can_return_rows_from_bulk_insert:
            return super().insert(rows, notify=notify)
        # An INSERT of a known number of rows gets consecutive ids in every innodb_autoinc_lock_mode; the step is the
        # session's.
        with self.connection.cursor() as cursor:
            cursor.execute(*self.insertion(rows))
            cursor.execute("SELECT LAST_INSERT_ID(), @@auto_increment_increment")
            first, step = cursor.fetchone()
        return [int(first) + index * int(step) for index in range(len(rows))]

    def insert_claimed(self, rows: Sequence[NewRow]) -> list[Any]:
        """Insert, and read the rows where the server cannot return them.

        Args:
            rows: The rows, at least one.
        """
        if self.connection.features.can_return_rows_from_bulk_insert:
            return super().insert_claimed(rows)
        ids = self.insert(rows, notify=False)
        chosen = f"id IN ({marks(len(ids))})"
        statement = "SELECT {columns} FROM {table} WHERE {chosen} ORDER BY id"
        return self.query(sql(statement, columns=self.columns, chosen=chosen), ids)

    # -- claimed rows -----------------------------------------------------------------------------------------------

    def pairs(self, held: Mapping[int, str]) -> Pairs:
        """Return the ids of each token.

        Args:
            held: Fencing tokens by id.
        """
        by_token: defaultdict[str, list[int]] = defaultdict(list)
        for item_id, token in held.items():
            by_token[token].append(item_id)
        texts = [f"(lease_token = %s AND id IN ({marks(len(ids))}))" for ids in by_token.values()]
        values = [value for token, ids in by_token.items() for value in (token, *ids)]
        return Pairs("", [], f"({' OR '.join(texts)}) AND id IN ({marks(len(held))})", [*values, *held])

    def change_claimed(self, held: Mapping[int, str], worker_id: str, change: Change, answer: str = "id") -> list[Any]:
        """Lock what is live, then update it: an UPDATE returns no rows here.

        Args:
            held: Fencing tokens by id.
            worker_id: Who holds them.
            change: What to set.
            answer: Columns to return; the first is the id.
        """
        if len(held) == 1 and answer == "id":
            return self._change_one(held, worker_id, change)
        with transaction.atomic(using=self.using):
            live = sorted(self.matching(held, sql("{claimed} AND lease_owner = %s"), [worker_id], lock=True))
            if not live:
                return []
            chosen = f"id IN ({marks(len(live))})"
            statement = sql("UPDATE {table} SET {change} WHERE {chosen}", change=change.text, chosen=chosen)
            self.execute(statement, [*change.params, *live])
            if answer == "id":
                return [(item_id,) for item_id in live]
            return self.query(sql("SELECT {answer} FROM {table} WHERE {chosen}", answer=answer, chosen=chosen), live)

    def _change_one(self, held: Mapping[int, str], worker_id: str, change: Change) -> list[Any]:
        pairs = self.pairs(held)
        statement = "UPDATE {table} SET {change} WHERE {pairs} AND {claimed} AND lease_owner = %s"
        written = self.execute(
            sql(statement, change=change.text, pairs=pairs.condition), [*change.params, *pairs.values, worker_id]
        )
        return [(item_id,) for item_id in held] if written else []

    # -- lanes ------------------------------------------------------------------------------------------------------

    @property
    def seconds_to_go(self) -> str:
        """Seconds from now until ``next_attempt_at``."""
        return _SECONDS.format_map({"moment": "next_attempt_at"})

    def lanes(self, after: Lane | None, limit: int) -> list[Any]:
        """Find the lanes, and the queues and tenants that have ordered items, in two statements; all at once.

        Args:
            after: None; there is nothing behind the last one.
            limit: Does not matter.
        """
        if after:
            return []
        lanes = self.query(sql(_LANES, seconds=_SECONDS.format_map({"moment": "first"})), [])
        return [*lanes, *self.query(sql(_PAIRS), [])]

    def heads(self, lanes: Sequence[OrderKey], keys: int) -> list[Head]:
        """Find the first items of ordering keys, in a statement for each queue and tenant.

        Args:
            lanes: Queues and tenants, and the key behind which to begin.
            keys: How many keys of each at the most.
        """
        each = " UNION ALL ".join(sql(_HEADS_OF, status=status) for status in _ALIVE)
        statement = sql(_HEADS, head=self.head, each=each)
        rows: list[Any] = []
        for queue, tenant, key in lanes:
            rows += self.query(statement, [*[queue, queue, tenant, tenant, key, keys] * len(_ALIVE), keys])
        return self.read_heads(rows)

    def heads_of(self, keys: Sequence[OrderKey]) -> list[Head]:
        """Find the first items of given ordering keys.

        Args:
            keys: The keys.
        """
        each = " UNION ALL ".join(sql(_HEAD_OF, status=status) for status in _ALIVE)
        statement = " UNION ALL ".join([sql(_HEAD, head=self.head, each=each)] * len(keys))
        return self.read_heads(self.query(statement, [value for key in keys for value in [*key] * len(_ALIVE)]))

    def behind(self, cursor: Cursor) -> tuple[str, list[Any]]:
        """Return the condition that an item lies behind a cursor, so that the index serves it, and its parameters.

        Args:
            cursor: The cursor.
        """
        text = "next_attempt_at >= %s AND (next_attempt_at > %s OR id > %s)"
        return text, [cursor.place, cursor.place, cursor.id]

    # -- claiming ---------------------------------------------------------------------------------------------------

    def take(self, item_ids: Sequence[int], claim: Claim, *, due_only: bool) -> list[Any]:
        """Lock given rows, leave out those whose turn it is not, and claim the others.

        Args:
            item_ids: The rows.
            claim: The request.
            due_only: Leave those whose time has not come.
        """
        expires, microseconds = self.after(claim.lease_seconds)
        due = f" AND {self.reached}" if due_only else ""
        parts = {"items": ITEM_COLUMNS, "expires": expires, "ids": marks(len(item_ids)), "due": due}
        with transaction.atomic(using=self.using):
            rows = self.query(sql(_LOCK_GIVEN, **parts), [microseconds, *item_ids])
            ordered = [row for row in rows if row[_KEY]]
            blocked = self._blocked(ordered) if ordered else set()
            return self._claim_locked(
                [row for row in rows if (row[_QUEUE], row[_TENANT], row[_KEY]) not in blocked], claim
            )

    def _blocked(self, rows: Sequence[Any]) -> set[tuple[str, str, str]]:
        """Return which keys of locked rows somebody holds, or have an earlier item; what others add meanwhile waits."""
        each = " OR ".join([_BLOCKED_BY] * len(rows))
        params: list[Any] = []
        for row in rows:
            key = (row[_QUEUE], row[_TENANT], row[_KEY])
            params += [*key, *key, row[_ID], *key, row[_ID]]
        return set(self.query(sql(_BLOCKED, each=each), params))

    def claim(self, claim: Claim, cursors: Sequence[Cursor]) -> list[Any]:
        """Lock what is due in the order of the index, then take the first of it.

        Args:
            claim: The request.
            cursors: The lanes.
        """
        chosen: list[Any] = []
        with transaction.atomic(using=self.using):
            for cursor in cursors:
                most = min(cursor.share, claim.limit - len(chosen))
                found = [row for status in _WAITING for row in self._lock(status, claim, cursor, most)]
                chosen += sorted(found, key=lambda row: (row[_PLACE], row[_ID]))[:most]
                if len(chosen) >= claim.limit:
                    break
            return self._claim_locked(chosen, claim)

    def _lock(self, status: str, claim: Claim, cursor: Cursor, most: int) -> list[Any]:
        expires, microseconds = self.after(claim.lease_seconds)
        behind, values = self.behind(cursor)
        parts = {"items": ITEM_COLUMNS, "expires": expires, "behind": behind, "reached": self.reached}
        return self.query(sql(_LOCK, status=status, **parts), [microseconds, *cursor.lane, *values, most])

    def _claim_locked(self, locked: Sequence[Any], claim: Claim) -> list[Any]:
        if not locked:
            return []
        # One clock for the whole claim: the end of the lease is what the first SELECT said.
        rows = [[*row[:_EXPIRES], locked[0][_EXPIRES]] for row in locked]
        for row in rows:
            row[_ATTEMPTS] += 1
        lease = [claim.worker_id, claim.token, rows[0][_EXPIRES]]
        self.execute(sql(_UPDATE, ids=marks(len(rows))), [*lease, *(row[_ID] for row in rows)])
        return rows

    def update_free(self, change: Change, condition: str, params: Sequence[Any]) -> set[int]:
        """Lock the rows, then update them: an UPDATE may not read its own table here.

        Args:
            change: What to set.
            condition: Which rows.
            params: The values of the condition.
        """
        skips = self.connection.features.has_select_for_update_skip_locked
        lock = " FOR UPDATE SKIP LOCKED" if skips else " FOR UPDATE"
        with transaction.atomic(using=self.using):
            found = self.query(
                sql("SELECT id FROM {table} WHERE {condition}{lock}", condition=condition, lock=lock), params
            )
            ids = [row[0] for row in found]
            if ids:
                statement = sql(
                    "UPDATE {table} SET {change} WHERE id IN ({ids})", change=change.text, ids=marks(len(ids))
                )
                self.execute(statement, [*change.params, *ids])
        return set(ids)

    def is_contention(self, error: DatabaseError) -> bool:
        """Whether it was a deadlock or a lock wait timeout.

        Args:
            error: The error.
        """
        return bool(error.args) and error.args[0] in {_DEADLOCK, _LOCK_TIMEOUT, _CHANGED_SINCE_READ}
