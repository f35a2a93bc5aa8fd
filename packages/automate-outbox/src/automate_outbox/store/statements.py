"""The words of which the statements are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from automate_outbox.store.rows import TABLE

__all__ = [
    "CLAIMED",
    "LIVE",
    "NO_LEASE",
    "ORDERED",
    "PLAIN",
    "Along",
    "Change",
    "Claim",
    "Filter",
    "Head",
    "Pairs",
    "marks",
    "sql",
]

LIVE = "status IN ('PENDING', 'RETRY')"
CLAIMED = "status IN ('CLAIMED')"
PLAIN = "status IN ('PENDING', 'RETRY') AND ordering_key = ''"
ORDERED = "status IN ('PENDING', 'RETRY', 'CLAIMED') AND ordering_key > ''"
"""The conditions of the partial indexes, letter by letter: SQLite uses an index only then."""

NO_LEASE = "lease_owner = '', lease_token = '', lease_expires_at = NULL"
"""What a row loses when it is given back."""


_NAMES = {"table": TABLE, "live": LIVE, "claimed": CLAIMED, "plain": PLAIN, "ordered": ORDERED, "no_lease": NO_LEASE}


def sql(template: str, **parts: str) -> str:
    """Fill a statement with the names and conditions of this package; values are always parameters.

    Args:
        template: The statement, with ``{table}``, ``{columns}`` and the names of the parts.
        **parts: Further pieces of SQL.
    """
    return template.format_map({**_NAMES, **parts})


def marks(count: int) -> str:
    """Return that many placeholders.

    Args:
        count: How many.
    """
    return ", ".join(["%s"] * count)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items a worker may claim.

    Args:
        kinds: Only these kinds; None means all.
        queues: Only these queues; None means all.
    """

    kinds: frozenset[str] | None = None
    queues: frozenset[str] | None = None

    @classmethod
    def of(cls, kinds: Sequence[str] | None, queues: Sequence[str] | None) -> Filter:
        """Return the filter of a call.

        Args:
            kinds: Only these kinds; None means all.
            queues: Only these queues; None means all.
        """
        return cls(None if kinds is None else frozenset(kinds), None if queues is None else frozenset(queues))

    @property
    def is_empty(self) -> bool:
        """Whether nothing can match."""
        return self.kinds == frozenset() or self.queues == frozenset()

    def admits(self, kind: str, queue: str) -> bool:
        """Whether an item may be claimed.

        Args:
            kind: Its kind.
            queue: Its queue.
        """
        return (self.kinds is None or kind in self.kinds) and self.admits_queue(queue)

    def admits_queue(self, queue: str) -> bool:
        """Whether items of a queue may be claimed.

        Args:
            queue: The queue.
        """
        return self.queues is None or queue in self.queues


@dataclass(frozen=True, slots=True)
class Claim:
    """One request to claim items.

    Args:
        worker_id: Who claims.
        token: The fencing token of this claim.
        lease_seconds: How long the lease holds.
        limit: How many items at the most.
        wanted: Which items.
    """

    worker_id: str
    token: str
    lease_seconds: float
    limit: int
    wanted: Filter


@dataclass(frozen=True, slots=True)
class Change:
    """What an UPDATE sets.

    Args:
        text: The assignments.
        params: Their values.
    """

    text: str
    params: Sequence[Any] = ()


class Along(NamedTuple):
    """An INSERT of somebody else's, for rows that belong to new items.

    Args:
        statement: The INSERT.
        params: Its parameters.
        function: A function of PostgreSQL that takes the same parameters and does the same; empty where there is none.
            Where the database has it, it may be called instead of the INSERT.
    """

    statement: str
    params: Sequence[Any]
    function: str = ""


class Head(NamedTuple):
    """The first living item of an ordering key.

    Args:
        queue: Its queue.
        tenant: Its tenant.
        key: Its ordering key.
        id: Its id.
        kind: Its kind.
        waits: Whether nobody holds it.
        seconds: Time until it is due.
    """

    queue: str
    tenant: str
    key: str
    id: int
    kind: str
    waits: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of an id and a fencing token, as SQL that matches rows with exactly these.

    Args:
        source: What to join the table with; empty where the condition says it all.
        params: The values of the source.
        condition: The condition.
        values: Its values.
    """

    source: str
    params: Sequence[Any]
    condition: str
    values: Sequence[Any]
