"""How a claim goes over the lanes: those that the store knows first, then those that it finds by looking."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

from automate_core.redaction import redact_text
from django.db import Error

from automate_outbox.store.endings import ClaimEndings
from automate_outbox.store.lanes import Cursor, Lane, LaneBook, OrderKey
from automate_outbox.store.statements import Claim, Filter, Head

__all__ = ["LaneClaims"]

logger = logging.getLogger("automate.outbox")

_WINDOW = 1000
_WINDOWS = 20
_KEYS_PER_CLAIM = 256
_KEYS_PER_LOOK = 1000
_MOST_BOOKS = 16
_MOST_HELD_KEYS = 10_000
_QUEUE, _TENANT, _KEY = 6, 7, 9


class LaneClaims(ClaimEndings):
    """The part of a store that decides which rows a claim takes.

    Args:
        lease_seconds: How long a claim holds without being renewed.
        using: Alias of the database.

    Raises:
        ConfigurationError: If ``lease_seconds`` is not positive.
    """

    def __init__(self, lease_seconds: float = 30.0, *, using: str = "default") -> None:
        super().__init__(lease_seconds, using=using)
        self._books: dict[Filter, LaneBook] = {}
        self._held_keys: dict[int, OrderKey] = {}

    def _book(self, wanted: Filter) -> LaneBook:
        if wanted not in self._books and len(self._books) >= _MOST_BOOKS:
            self._books = {}
        return self._books.setdefault(wanted, LaneBook())

    def _claim_rows(self, claim: Claim, begun: Sequence[Any] | None = None) -> list[Any]:
        """Claim from what is known, and where that does not fill the claim, look for more.

        Args:
            claim: The request.
            begun: What the same call has claimed from the known lanes already.
        """
        book = self._book(claim.wanted)
        rows = list(begun or [])
        if begun is not None or not book.is_outdated:
            self._claim_known(book, claim, rows, begun=begun is not None)
        if len(rows) < claim.limit and (not rows or book.may_look_again):
            self._safely(bool(rows), self._retried(self._look, book, claim.wanted))
            self._claim_known(book, claim, rows)
        book.came(len(rows))
        return rows

    def _safely(self, begun: bool, work: Callable[[], Any]) -> Any:
        """Let what was claimed already reach the caller, whatever happens to the statements after it."""
        try:
            return work()
        except Error as error:
            if not begun or self._dialect.connection.in_atomic_block:
                raise
            logger.warning("A claim was cut short: %s", redact_text(f"{type(error).__name__}: {error}"))
            return []

    def _retried(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[[], Any]:
        return partial(self._dialect.retrying, partial(work, *args, **kwargs))

    # -- looking ----------------------------------------------------------------------------------------------------

    def _look(self, book: LaneBook, wanted: Filter) -> None:
        began = time.monotonic()
        lanes, ordered = self._find_lanes(wanted)
        due = ((lane, place, first) for lane, place, first, seconds in lanes if seconds <= 0)
        book.replace(due, ordered, time.monotonic() - began)

    def _find_lanes(self, wanted: Filter) -> tuple[list[tuple[Lane, Any, int, float]], list[tuple[str, str]]]:
        """Find the lanes by a loose scan of the index: one probe for each, however long it is."""
        rows = self._dialect.lanes(None, _WINDOW)
        plain = [row for row in rows if row[0] is not None]
        ordered = [(row[1], row[2]) for row in rows if row[0] is None and wanted.admits_queue(row[1])]
        window = plain
        for _ in range(_WINDOWS - 1):
            if len(window) < _WINDOW:
                break
            window = [row for row in self._dialect.lanes(Lane(*window[-1][:4]), _WINDOW) if row[0] is not None]
            plain += window
        lanes = [(Lane(*row[:4]), row[4], row[5], float(row[6])) for row in plain]
        return [one for one in lanes if wanted.admits(one[0].kind, one[0].queue)], ordered

    # -- claiming ---------------------------------------------------------------------------------------------------

    def _claim_known(self, book: LaneBook, claim: Claim, rows: list[Any], *, begun: bool = False) -> None:
        """Claim from the lanes that are known, until the claim is filled or they are dry."""
        rest = claim.limit - len(rows)
        # Ordered items take no more than half of a claim while others wait.
        most = rest if begun or not book.has_lanes else -(-rest // 2)
        self._claim_ordered(book, claim, rows, most)
        ask = not begun or book.has_lanes
        while ask and len(rows) < claim.limit:
            rest = claim.limit - len(rows)
            cursors = book.cursors(rest, self._dialect.most_lanes)
            if not cursors:
                break
            came = self._safely(bool(rows), self._retried(self._claim, replace(claim, limit=rest), cursors))
            rows += came
            ask = book.note(cursors, came, rest) and bool(came)
        if most < claim.limit:
            self._claim_ordered(book, claim, rows, claim.limit - len(rows))

    @abstractmethod
    def _claim(self, claim: Claim, cursors: Sequence[Cursor]) -> list[Any]:
        """Claim due rows of some lanes and return them, in no particular order."""

    def _claim_ordered(self, book: LaneBook, claim: Claim, rows: list[Any], most: int) -> None:
        if most <= 0:
            return
        ids = self._safely(bool(rows), self._retried(self._due_heads, book, claim.wanted, most))
        if ids:
            rows += self._safely(bool(rows), self._retried(self._dialect.take, ids, claim, due_only=True))

    def _due_heads(self, book: LaneBook, wanted: Filter, most: int) -> list[int]:
        """Choose the first items of keys: of those that were given up just now, then of the next ones in turn."""
        chosen: dict[int, None] = {}
        # Half of them, so that a key which goes on and on leaves room for others.
        self._choose_turns(book, wanted, chosen, book.half(most))
        self._choose_in_rotation(book, wanted, chosen, most)
        self._choose_turns(book, wanted, chosen, most - len(chosen))
        return list(chosen)

    def _choose_turns(self, book: LaneBook, wanted: Filter, chosen: dict[int, None], most: int) -> None:
        if turns := book.turns(most):
            chosen.update(dict.fromkeys(head.id for head in self._dialect.heads_of(turns) if _is_free(head, wanted)))

    def _choose_in_rotation(self, book: LaneBook, wanted: Filter, chosen: dict[int, None], most: int) -> None:
        lanes = book.ordered(self._dialect.most_lanes)
        if not lanes or len(chosen) >= most:
            return
        share = -(-most // len(lanes))
        keys = max(2 * share, _KEYS_PER_CLAIM // len(lanes))
        heads = self._dialect.heads(lanes, keys)
        ended = dict.fromkeys(((lane.queue, lane.tenant) for lane in lanes), True)
        for pair, group in groupby(sorted(heads, key=_pair), key=_pair):
            ended[pair] = self._choose(book, wanted, list(group), chosen, min(share, most - len(chosen)), keys)
        for (queue, tenant), whole in ended.items():
            if whole:
                book.passed(queue, tenant, "")

    def _choose(
        self, book: LaneBook, wanted: Filter, heads: Sequence[Head], chosen: dict[int, None], share: int, keys: int
    ) -> bool:
        """Choose up to a share, and return whether all keys behind the last one were seen."""
        for head in heads:
            if share <= 0:
                return False
            book.passed(head.queue, head.tenant, head.key)
            if _is_free(head, wanted) and head.id not in chosen:
                chosen[head.id] = None
                share -= 1
        return len(heads) < keys

    def _seconds_until_head(self, ordered: Iterable[tuple[str, str]], wanted: Filter) -> list[float]:
        lanes = [OrderKey(queue, tenant, "") for queue, tenant in ordered]
        heads = self._dialect.heads(lanes, _KEYS_PER_LOOK) if lanes else []
        return [head.seconds for head in heads if head.waits and wanted.admits(head.kind, head.queue)]

    # -- keys -------------------------------------------------------------------------------------------------------

    def _hold_keys(self, rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            if row[_KEY]:
                if len(self._held_keys) >= _MOST_HELD_KEYS:
                    self._held_keys = {}  # only a hint: what is forgotten is found when its lane is next in turn
                self._held_keys[row[0]] = OrderKey(row[_QUEUE], row[_TENANT], row[_KEY])

    def _ended(self, item_ids: Iterable[int]) -> None:
        """Let the next item of each key come first."""
        if not self._held_keys:
            return
        keys = [key for item_id in item_ids if (key := self._held_keys.pop(item_id, None))]
        for book in list(self._books.values()):
            book.free(keys)


def _pair(head: Head) -> tuple[str, str]:
    return head.queue, head.tenant


def _is_free(head: Head, wanted: Filter) -> bool:
    return head.waits and head.seconds <= 0 and wanted.admits(head.kind, head.queue)
