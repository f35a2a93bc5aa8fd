"""What workers count, and how the rest of the system gets to know: a row for each worker, written now and then.

Counting costs an addition. Every ten seconds a worker writes what it has counted so far into its row; whoever adds up
all rows has the totals. The row of a worker that is gone is folded into one row of totals, in one transaction, so that
the sum is the same before, during and after: a total never goes back.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields

from django.db import IntegrityError, transaction

from automate_outbox.store.dialect import dialect_of
from automate_outbox.store.rows import OWNER_LENGTH
from automate_outbox.store.statements import sql

__all__ = ["BEAT_SECONDS", "GONE_SECONDS", "TOTALS", "Counters", "Heartbeat", "add_counts", "fold"]

BEAT_SECONDS = 10.0
"""Time between two beats of a worker."""
GONE_SECONDS = 3600.0
"""A worker that has not beaten for this long is gone: its row is folded into the totals."""
TOTALS = "totals"
"""The id of the row of totals."""

_BEAT = (
    "UPDATE automate_outbox_worker SET beat_at = {now}, counters = %s, in_hand = %s, mode = %s, wake = %s WHERE id = %s"
)
_BIRTH = (
    "INSERT INTO automate_outbox_worker (beat_at, counters, in_hand, mode, wake, id, worker_id, host, pid, started_at) "
    "VALUES ({now}, %s, %s, %s, %s, %s, %s, %s, %s, {now})"
)


@dataclass(slots=True)
class Counters:
    """What one worker has done since it started.

    Plain integers without a lock: they belong to the thread of the worker's loop.

    Args:
        claimed: Claims, each a charged attempt.
        completed: Items that were completed.
        retried: Items that were given back to be tried again after an error.
        failed: Items that became dead letters after an error.
        crashed: Items that became dead letters because workers died over them.
        reaped: Items that were taken from dead workers, the crashed ones included.
        released: Items that were handed back untouched.
        stale_refused: Writes that were refused because the claim was no longer the live one.
    """

    claimed: int = 0
    completed: int = 0
    retried: int = 0
    failed: int = 0
    crashed: int = 0
    reaped: int = 0
    released: int = 0
    stale_refused: int = 0

    def snapshot(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def add_counts(*counts: Mapping[str, int]) -> dict[str, int]:
    """Add counts up.

    Args:
        *counts: Counts by name; names that a later release knows are kept.

    Returns:
        The sums, with every name of :class:`Counters`.
    """
    total = {field.name: 0 for field in fields(Counters)}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


class Heartbeat:
    """The row by which a worker tells that it is alive and what it has counted. It belongs to the worker's loop.

    A row is one life of one process, whatever the worker is called: two workers with one name have two rows.

    Args:
        worker_id: The worker's name in the leases.
        counters: What it counts.
        mode: ``thread``, ``process`` or ``synchronous``.
        using: Alias of the database.
        clock: Tells seconds that only grow.
    """

    def __init__(
        self,
        worker_id: str,
        counters: Counters,
        *,
        mode: str,
        using: str = "default",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker_id, self._counters, self._mode, self._using, self._clock = worker_id, counters, mode, using, clock
        self._id = ""
        self._due = 0.0
        # What earlier rows of this process told, which are part of the totals by now; and what was told at all.
        self._folded = self._told = add_counts()

    def beat(self, *, in_hand: int, wake: str = "") -> bool:
        """Write the row, where it is time to.

        Call it in each turn of the loop, outside of transactions: most calls only look at the clock.

        Args:
            in_hand: Items in hand.
            wake: How the worker is woken, for people.

        Returns:
            Whether it was written.

        Raises:
            OperationalError, InterfaceError: If the database is away; the next call tries again.
        """
        now = self._clock()
        if now < self._due:
            return False
        counts = self._counters.snapshot()
        if not self._id or not self._write(_BEAT, counts, in_hand, wake):
            # The first beat; or this process stood still for so long that its row was folded into the totals.
            self._folded, self._id = self._told, secrets.token_hex(16)
            self._write(
                _BIRTH, counts, in_hand, wake, self._worker_id, socket.gethostname()[:OWNER_LENGTH], os.getpid()
            )
            fold(self._using, seconds=GONE_SECONDS)
        self._told = counts
        self._due = now + BEAT_SECONDS
        return True

    def end(self) -> None:
        """Fold the row into the totals, with what was counted since the last beat: the worker ends in good order.

        Raises:
            OperationalError, InterfaceError: If the database is away; the row is folded as that of a dead worker.
        """
        self._due = 0.0
        self.beat(in_hand=0)
        fold(self._using, row_id=self._id)
        self._id = ""
        self._folded = self._told

    def _write(self, statement: str, counts: Mapping[str, int], in_hand: int, wake: str, *born: str | int) -> int:
        dialect = dialect_of(self._using)
        own = {name: count - self._folded.get(name, 0) for name, count in counts.items()}
        values = [json.dumps(own), in_hand, self._mode, wake[:20], self._id, *born]
        return dialect.retrying(lambda: dialect.execute(sql(statement, now=dialect.now), values))


def fold(
    using: str = "default",
    *,
    row_id: str | None = None,
    worker_id: str | None = None,
    seconds: float | None = None,
    counts: Mapping[str, int] | None = None,
) -> int:
    """Fold rows of workers into the row of totals.

    Args:
        using: Alias of the database.
        row_id: This row.
        worker_id: The rows of this worker, which is dead.
        seconds: The rows of workers that have not beaten for this long.
        counts: What else is added to the totals, by the names of :class:`Counters`.

    Returns:
        How many rows were folded.
    """
    from automate_outbox.models import WorkerBeat

    dialect = dialect_of(using)
    rows = WorkerBeat.objects.using(using)

    def candidates() -> list[str]:
        if row_id is not None:
            return [row_id]
        condition, value = "worker_id = %s", worker_id
        if seconds is not None:
            before, value = dialect.after(-seconds)
            condition = f"beat_at < {before}"
        statement = f"SELECT id FROM automate_outbox_worker WHERE {condition} AND id <> %s"  # noqa: S608 - no values
        return [row[0] for row in dialect.query(statement, [value, TOTALS])]

    def move() -> int:
        ids = candidates()
        if not ids and not any((counts or {}).values()):
            return 0
        with transaction.atomic(using=using):
            totals = _locked_totals(using)
            # Who has locked the totals folds alone; a beat that waits for its row finds it gone.
            gone = list(rows.filter(pk__in=ids).select_for_update())
            rows.filter(pk__in=[row.pk for row in gone]).delete()
            rows.filter(pk=TOTALS).update(counters=add_counts(totals, counts or {}, *(row.counters for row in gone)))
        return len(gone)

    return dialect.retrying(move)


def _locked_totals(using: str) -> dict[str, int]:
    from automate_outbox.models import WorkerBeat

    rows = WorkerBeat.objects.using(using).filter(pk=TOTALS).select_for_update()
    found = rows.first()
    if found is None:
        try:
            with transaction.atomic(using=using):
                WorkerBeat.objects.using(using).create(pk=TOTALS, worker_id=TOTALS, pid=0)
        except IntegrityError:  # somebody else was faster
            pass
        found = rows.get()
    return dict(found.counters)
