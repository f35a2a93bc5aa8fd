"""What a store remembers of the backlog: its lanes, and how far it has claimed in each.

A *lane* is the due items of one priority, queue, tenant and kind, in the order of their times. Claims go over lanes, so
that nobody's backlog is in the way of somebody else's, and they go on where they stopped, so that the entries which
finished rows leave in the index under an old snapshot are walked once, not by each claim.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Cursor", "Lane", "LaneBook", "OrderKey"]

FRESH_CLAIMS = 8
FRESH_SECONDS = (0.05, 0.5)
"""A store trusts its lanes for so many claims, and for ten times as long as looking took; within these bounds."""
PAUSE_SECONDS = (0.005, 0.5)
"""Between these a claim that was not filled does not look again: five times as long as looking takes."""
_MOST_LANES = 64
_MOST_TURNS = 1000

_PRIORITY, _QUEUE, _TENANT, _KIND, _PLACE = 8, 6, 7, 1, 10


class Lane(NamedTuple):
    """What makes a lane.

    Args:
        priority: Higher goes first.
        queue: The queue.
        tenant: The tenant.
        kind: The kind of items.
    """

    priority: int
    queue: str
    tenant: str
    kind: str


class OrderKey(NamedTuple):
    """What makes items wait for each other.

    Args:
        queue: The queue.
        tenant: The tenant.
        key: The ordering key.
    """

    queue: str
    tenant: str
    key: str


class Cursor(NamedTuple):
    """A lane, where its claims go on, and how many items it may give.

    Args:
        lane: The lane.
        place: ``next_attempt_at`` of the last item claimed, as the dialect reads it.
        id: The id of that item.
        share: How many it may give at the most.
    """

    lane: Lane
    place: Any
    id: int
    share: int


@dataclass(slots=True)
class _Known:
    place: Any
    id: int
    dry: bool = False


class LaneBook:
    """The lanes of one store and filter; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lanes: dict[Lane, _Known] = {}
        self._ordered: dict[tuple[str, str], str] = {}
        self._turns: deque[OrderKey] = deque(maxlen=_MOST_TURNS)
        self._rotation, self._rounds_up = 0, False
        self._looked_at, self._took, self._claims, self._came_empty = -1e9, 0.0, 0, True

    # -- when to look -----------------------------------------------------------------------------------------------

    @property
    def is_outdated(self) -> bool:
        """Whether to look for lanes before claiming: the last claim brought nothing, or it is time."""
        least, most = FRESH_SECONDS
        age = time.monotonic() - self._looked_at
        is_old = self._claims >= FRESH_CLAIMS and age >= max(least, 10 * self._took)
        return self._came_empty or is_old or age >= most

    @property
    def may_look_again(self) -> bool:
        """Whether a claim that was not filled may look for lanes."""
        least, most = PAUSE_SECONDS
        return time.monotonic() - self._looked_at >= min(max(least, 5 * self._took), most)

    def came(self, count: int) -> None:
        """Note what a claim brought.

        Args:
            count: How many items.
        """
        self._came_empty = not count
        self._claims += 1

    def replace(self, lanes: Iterable[tuple[Lane, Any, int]], ordered: Iterable[tuple[str, str]], took: float) -> None:
        """Take over what was found; claims begin at the first item of each lane again.

        Args:
            lanes: Lanes that have something due, with time and id of their first item.
            ordered: Queues and tenants that have ordered items.
            took: How long looking took, in seconds.
        """
        with self._lock:
            self._lanes = {lane: _Known(place, first - 1) for lane, place, first in lanes}
            self._ordered = {pair: self._ordered.get(pair, "") for pair in ordered}
            self._looked_at, self._took, self._claims = time.monotonic(), took, 0

    # -- lanes ------------------------------------------------------------------------------------------------------

    def cursors(self, limit: int, most: int = _MOST_LANES) -> list[Cursor]:
        """Return where to claim: highest priority first, among equals each in its turn.

        A lane that ran dry is looked at once more where there is room, but has no share of its own.

        Args:
            limit: How many items are wanted.
            most: How many lanes at the most.
        """
        with self._lock:
            groups: dict[int, list[Lane]] = {}
            for lane in self._lanes:
                groups.setdefault(lane.priority, []).append(lane)
            chosen: list[Cursor] = []
            for priority in sorted(groups, reverse=True):
                chosen += self._of_one_priority(groups[priority], limit, most - len(chosen))
                if len(chosen) >= most:
                    break
            return chosen

    def _of_one_priority(self, lanes: Sequence[Lane], limit: int, room: int) -> list[Cursor]:
        start = self._rotation % len(lanes)
        turned = [*lanes[start:], *lanes[:start]]
        turned.sort(key=lambda lane: self._lanes[lane].dry)
        turned = turned[:room]
        share = -(-limit // max(1, sum(not self._lanes[lane].dry for lane in turned)))
        return [Cursor(lane, self._lanes[lane].place, self._lanes[lane].id, share) for lane in turned]

    def note(self, cursors: Sequence[Cursor], rows: Sequence[Sequence[Any]], limit: int) -> bool:
        """Move the cursors behind what was claimed.

        Args:
            cursors: Where it was claimed.
            rows: What came.
            limit: How many were wanted.

        Returns:
            Whether some lane may have more.
        """
        came: dict[Lane, list[tuple[Any, int]]] = {}
        if len(cursors) == 1:
            came[cursors[0].lane] = [(row[_PLACE], row[0]) for row in rows]
        else:
            for row in rows:
                lane = Lane(row[_PRIORITY], row[_QUEUE], row[_TENANT], row[_KIND])
                came.setdefault(lane, []).append((row[_PLACE], row[0]))
        with self._lock:
            for cursor in cursors:
                places, known = came.get(cursor.lane, []), self._lanes.get(cursor.lane)
                if known and places:
                    known.place, known.id = max(places)
                if known and len(rows) < limit:
                    known.dry = len(places) < cursor.share
            self._rotation += max(1, len(came))
            return any(not known.dry for known in self._lanes.values())

    # -- ordered items ----------------------------------------------------------------------------------------------

    @property
    def has_lanes(self) -> bool:
        """Whether there are unordered items to claim."""
        return any(not known.dry for known in self._lanes.values())

    def ordered(self, most: int = _MOST_LANES) -> list[OrderKey]:
        """Return queues and tenants with ordered items, each with the key behind which to go on.

        Args:
            most: How many at the most.
        """
        with self._lock:
            pairs = list(self._ordered.items())
            start = self._rotation % len(pairs) if pairs else 0
            return [OrderKey(*pair, key) for pair, key in [*pairs[start:], *pairs[:start]][:most]]

    def passed(self, queue: str, tenant: str, key: str) -> None:
        """Go on behind a key the next time.

        Args:
            queue: Its queue.
            tenant: Its tenant.
            key: The key; ``""`` begins anew.
        """
        with self._lock:
            if (queue, tenant) in self._ordered:
                self._ordered[queue, tenant] = key

    def free(self, keys: Iterable[OrderKey]) -> None:
        """Note keys whose held item was just given up: their next item comes first.

        Args:
            keys: The keys.
        """
        self._turns.extend(keys)

    def half(self, count: int) -> int:
        """Return half of a number, rounded up and down by turns.

        Args:
            count: The number.
        """
        self._rounds_up = not self._rounds_up
        return (count + self._rounds_up) // 2

    def turns(self, most: int) -> list[OrderKey]:
        """Take keys whose turn it is.

        Args:
            most: How many at the most.
        """
        taken: dict[OrderKey, None] = {}
        while self._turns and len(taken) < most:
            taken[self._turns.popleft()] = None
        return list(taken)
