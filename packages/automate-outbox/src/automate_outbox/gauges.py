"""What the outbox looks like from outside: depth, age, dead letters, workers and what they have counted.

Everything is read in two statements over the partial indexes of live, claimed and dead rows; history is never counted.
What was read is kept for ``OUTBOX.metrics_cache_seconds``, and for a hundred times as long as the reading took where
that is more, so that a backlog of millions costs one percent of one connection at the most.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from automate_core import settings

from automate_outbox.counters import BEAT_SECONDS, TOTALS, add_counts
from automate_outbox.store.dialect import dialect_of
from automate_outbox.store.statements import sql

__all__ = ["Gauges", "QueueGauges", "WorkerGauges", "gauges", "measure"]

_PART = 100
"""What a reading may cost: one part in this many of the time."""
_MISSED_BEATS = 3

# The conditions of the partial indexes, letter by letter; the index of ordered items holds the claimed ones too.
_DEPTH = """
SELECT 'queue', queue, COUNT(*), SUM(CASE WHEN {reached} THEN 1 ELSE 0 END), {until}
FROM {table} WHERE {plain} GROUP BY queue
UNION ALL
SELECT 'queue', queue, COUNT(*), SUM(CASE WHEN {reached} THEN 1 ELSE 0 END), {until}
FROM {table} WHERE {ordered} AND {live} GROUP BY queue
UNION ALL
SELECT 'claimed', '', COUNT(*), 0, 0 FROM {table} WHERE {claimed}
UNION ALL
SELECT 'dead', '', COUNT(*), 0, 0 FROM {table} WHERE status IN ('FAILED')
"""
_WORKERS = "SELECT id, worker_id, host, pid, mode, wake, in_hand, counters, {age} FROM automate_outbox_worker"
_AGE = {
    "postgresql": "EXTRACT(EPOCH FROM statement_timestamp() - beat_at)",
    "mysql": "TIMESTAMPDIFF(MICROSECOND, beat_at, UTC_TIMESTAMP(6)) / 1000000",
    "sqlite": "(julianday('now') - julianday(beat_at)) * 86400.0",
}


@dataclass(frozen=True, slots=True)
class QueueGauges:
    """The items of one queue that wait to be claimed.

    Args:
        queue: Its name.
        due: Items whose time has come.
        waiting: Items whose time has not come.
        oldest_seconds: How long the item that waits longest has been due; 0.0 where none is.
    """

    queue: str
    due: int
    waiting: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class WorkerGauges:
    """One worker, as it last told.

    Args:
        worker_id: Its name in the leases.
        host: Its machine.
        pid: Its process.
        mode: How it runs items.
        wake: How it is woken.
        in_hand: Items in hand.
        seconds_since: Time since it last told.
    """

    worker_id: str
    host: str
    pid: int
    mode: str
    wake: str
    in_hand: int
    seconds_since: float

    @property
    def is_alive(self) -> bool:
        """Whether it has missed no more than a few beats."""
        return self.seconds_since <= _MISSED_BEATS * BEAT_SECONDS


@dataclass(frozen=True, slots=True)
class Gauges:
    """What was read.

    Args:
        queues: The queues in which items wait, by name.
        in_flight: Claimed items.
        dead: Dead letters.
        workers: The workers, also those that died within the hour.
        totals: What all workers ever counted, by the names of :class:`automate_outbox.counters.Counters`.
    """

    queues: tuple[QueueGauges, ...]
    in_flight: int
    dead: int
    workers: tuple[WorkerGauges, ...]
    totals: dict[str, int]

    @property
    def due(self) -> int:
        """Items whose time has come, in all queues."""
        return sum(one.due for one in self.queues)

    @property
    def waiting(self) -> int:
        """Items whose time has not come, in all queues."""
        return sum(one.waiting for one in self.queues)

    @property
    def oldest_seconds(self) -> float:
        """How long the item that waits longest has been due."""
        return max((one.oldest_seconds for one in self.queues), default=0.0)

    @property
    def alive(self) -> tuple[WorkerGauges, ...]:
        """The workers that are alive."""
        return tuple(worker for worker in self.workers if worker.is_alive)


def measure(using: str = "default") -> Gauges:
    """Read everything, now.

    Args:
        using: Alias of the database.

    Returns:
        What two statements say.
    """
    dialect = dialect_of(using)
    statement = sql(_DEPTH, reached=dialect.reached, until=dialect.seconds_until)
    counts = {"claimed": 0, "dead": 0}
    found: dict[str, QueueGauges] = {}
    for kind, queue, count, due, until in dialect.query(statement, []):
        if kind in counts:
            counts[kind] = int(count)
            continue
        known = found.get(queue, QueueGauges(queue, 0, 0, 0.0))
        due, age = known.due + int(due), max(known.oldest_seconds, -float(until))
        found[queue] = QueueGauges(queue, due, known.due + known.waiting + int(count) - due, age)
    queues = tuple(found[queue] for queue in sorted(found))
    workers, totals = _workers(using)
    return Gauges(queues, counts["claimed"], counts["dead"], workers, totals)


def _workers(using: str) -> tuple[tuple[WorkerGauges, ...], dict[str, int]]:
    dialect = dialect_of(using)
    rows = dialect.query(_WORKERS.replace("{age}", _AGE[dialect.connection.vendor]), [])
    totals = add_counts(*(_counts(row[7]) for row in rows))
    seen = [
        WorkerGauges(name, host, pid, mode, wake, in_hand, max(float(seconds), 0.0))
        for row_id, name, host, pid, mode, wake, in_hand, _, seconds in rows
        if row_id != TOTALS
    ]
    return tuple(sorted(seen, key=lambda worker: worker.worker_id)), totals


def _counts(value: Any) -> dict[str, int]:
    counts: dict[str, int] = json.loads(value) if isinstance(value, str | bytes) else value
    return counts


_kept: dict[str, tuple[float, Gauges]] = {}
_lock = threading.Lock()


def gauges(using: str = "default") -> Gauges:
    """Return what was read lately in this process, or read it.

    Args:
        using: Alias of the database.

    Returns:
        The gauges; of several threads that ask at once, one reads.
    """
    keep = settings.current().outbox.metrics_cache_seconds
    if not keep:
        return measure(using)
    with _lock:
        asked = time.monotonic()
        until, known = _kept.get(using, (0.0, None))
        if known is not None and asked < until:
            return known
        read = measure(using)
        now = time.monotonic()
        _kept[using] = (now + max(keep, _PART * (now - asked)), read)
        return read
