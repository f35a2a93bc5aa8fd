"""What the database does not take for now: kept, tried again alone, and given up only where it is to blame itself."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from automate.runtime.connections import RECONNECT

if TYPE_CHECKING:
    from automate.runtime.journal import Entry

__all__ = ["Refusals", "Trouble"]

logger = logging.getLogger("automate.runtime")

_PATIENCE = 8
"""How often an entry fails while others with rows of their own are written, before it is taken for the cause."""


@dataclass(slots=True)
class Trouble:
    """What an entry has been through on which the database failed while it was written alone.

    Args:
        error: What the database said last.
        tries: How often it failed.
        blame: How often it failed after others had been written since the time before.
        written: How many others had been written when it failed last.
        due: ``time.monotonic()`` when it is tried again.
    """

    error: Exception
    tries: int = 0
    blame: int = 0
    written: int = 0
    due: float = 0.0


class Refusals:
    """Entries on which the database failed although it answers. It belongs to the thread of its journal.

    It may be the database, such as one whose disk is full or that became a standby: then nothing gets through, and
    giving up would have work done again that was done. Or it is the entry, such as one larger than a packet may be:
    then others get through meanwhile, time and again. Only such rows count that are inserted, as a full disk still
    takes changes of rows.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._written = 0

    @property
    def error(self) -> Exception | None:
        """What the database said about the last entry that is kept; None where none is."""
        trouble = self._entries[-1].trouble if self._entries else None
        return None if trouble is None else trouble.error

    def count_due(self) -> int:
        """Return how many are to be tried again now."""
        now = time.monotonic()
        return sum(_is_due(entry, now) for entry in self._entries)

    def take_due(self) -> list[Entry]:
        """Take out those that are to be tried again now."""
        now = time.monotonic()
        due = [entry for entry in self._entries if _is_due(entry, now)]
        if due:
            self._entries = [entry for entry in self._entries if not _is_due(entry, now)]
        return due

    def note_written(self, entry: Entry) -> None:
        """Note that an entry was written.

        Args:
            entry: The entry.
        """
        self._written += bool(entry.steps or entry.births)

    def keep(self, entry: Entry, error: Exception) -> bool:
        """Keep an entry to be tried again later.

        Args:
            entry: The entry; the database failed on it alone.
            error: What it said.

        Returns:
            Whether it is kept; if not, the entry is the cause, and trying again does not help.
        """
        trouble = entry.trouble = entry.trouble or Trouble(error, written=self._written)
        trouble.blame += self._written > trouble.written
        trouble.error, trouble.written, trouble.tries = error, self._written, trouble.tries + 1
        if trouble.blame >= _PATIENCE:
            return False
        pause = RECONNECT.delay(trouble.tries, random=random.random())  # noqa: S311 - jitter
        logger.warning("Item %s cannot be written (%s); trying again in %.1f s.", entry.item.id, error, pause)
        trouble.due = time.monotonic() + pause
        self._entries.append(entry)
        return True


def _is_due(entry: Entry, now: float) -> bool:
    return entry.trouble is None or entry.trouble.due <= now
