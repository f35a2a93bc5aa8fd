"""Items that were in hand when a worker died: they are taken in hand few at a time, and the last time alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from automate_core.outbox import OutboxItem

__all__ = ["Suspects"]


class Suspects:
    """Decides how many items a worker takes in hand beside those that were in hand at a crash.

    Nobody knows which of the items in hand ended a process, so each of them is charged with the crash. A second crash
    shall not make the same charge to all that wait behind the culprit: while items with a crash on their account are
    in hand, no more are than keep every thread busy. And one that would bury an item shall be its own: it is taken
    alone.

    Args:
        concurrency: Items that run at once.
        max_crashes: Crashes that bury an item.
    """

    def __init__(self, concurrency: int, max_crashes: int) -> None:
        # As many again wait for their checkpoints to be written.
        self._most, self._buried_by = 2 * concurrency, max(1, max_crashes - 1)
        self._alone = self._careful = False
        self._refused: deque[int] = deque()

    @property
    def next(self) -> int | None:
        """The id of the item to be taken alone as soon as nothing is in hand.

        By name, or it would be its turn again only when chance has it; and one after the other, or what is claimed in
        between would have to be finished before each of them.
        """
        return self._refused[0] if self._refused else None

    def room(self, in_hand: Collection[OutboxItem], free: int) -> int:
        """Return how many items may be claimed.

        Args:
            in_hand: What is in hand.
            free: How many there would be room for.
        """
        self._alone = self._alone and bool(in_hand)
        if self._alone or self.next is not None:
            return 0
        if not self._careful:
            return free
        self._careful = any(item.crashes for item in in_hand)
        return max(0, min(free, self._most - len(in_hand)))

    def refuse(self, claimed: Sequence[OutboxItem], in_hand: int) -> list[OutboxItem]:
        """Return the items that were claimed and are not to be taken in hand now.

        Args:
            claimed: What was claimed.
            in_hand: How many items are in hand already.
        """
        crashed = [item for item in claimed if item.crashes]
        if not crashed:
            return []
        self._careful = True
        last = [item for item in crashed if item.crashes >= self._buried_by]
        if last and len(claimed) == 1 and not in_hand:
            self._alone = True
            return []
        self._refused.extend([item.id for item in last if item.id not in self._refused][: self._most])
        return last + [item for item in crashed if item.crashes < self._buried_by][self._most :]

    def took(self, item: OutboxItem | None) -> None:
        """Note that the item which was to be taken alone is in hand, or that somebody else has it.

        Args:
            item: The item.
        """
        self._refused.popleft()
        self._alone = item is not None
