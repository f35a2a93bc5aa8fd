"""Bugs planted into the product, each of which the simulation must find within a few seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from automate import dedupe
from automate.runtime.advance import Advance, OwnCheckpoint
from automate.runtime.journal import Journal
from automate.worker.engine import Engine
from automate.worker.loop import Worker
from automate.worker.suspects import Suspects
from automate_outbox import reaper
from automate_outbox.store import endings, lane_dialect, sqlite
from automate_outbox.store.endings import ClaimEndings
from automate_outbox.store.sqlite import SQLiteDialect
from automate_outbox.store.statements import Change, Pairs
from django.db import OperationalError

__all__ = ["PLANTS", "RARE", "planted"]

Plant = tuple[Any, str, Any]
"""What has an attribute, its name, and what is put in its place."""


def _settled_before_commit() -> list[Plant]:
    write = Journal._write

    def early(self: Journal, entries: list[Any], claim: Any) -> Any:
        for entry in entries:
            entry.settled(None)
            entry.settled = lambda problem: None
        return write(self, entries, claim)

    return [(Journal, "_write", early)]


def _on_lost_answer(react: Callable[[Journal, list[Any], Exception], None]) -> list[Plant]:
    flush = Journal.flush

    def forgetful(self: Journal, claim: Any = None) -> Any:
        entries = list(self._entries)
        try:
            return flush(self, claim)
        except OperationalError as error:
            self._entries = []
            react(self, entries, error)
            raise

    return [(Journal, "flush", forgetful)]


def _entries_dropped() -> list[Plant]:
    return _on_lost_answer(lambda journal, entries, error: None)


def _lost_commit_is_a_failure() -> list[Plant]:
    def fail(journal: Journal, entries: list[Any], error: Exception) -> None:
        for entry in entries:
            entry.settled(error)

    return _on_lost_answer(fail)


def _goes_on_at_once() -> list[Plant]:
    write = Advance._write

    def hasty(self: Advance, *args: Any, **kwargs: Any) -> None:
        write(self, *args, **kwargs)
        self._awaiting = False
        self._proceed()

    return [(Advance, "_write", hasty)]


def _fence_on_the_owner() -> list[Plant]:
    pairs = SQLiteDialect.pairs

    def loose(self: SQLiteDialect, held: Any) -> Pairs:
        exact = pairs(self, held)
        return Pairs(exact.source, exact.params, "id = held_id AND held_token <> ''", exact.values)

    return [(SQLiteDialect, "pairs", loose)]


def _order_ignored() -> list[Plant]:
    newest = sqlite._HEADS.replace("ordering_key, id LIMIT 1", "ordering_key, id DESC LIMIT 1")
    return [(lane_dialect, "_TURN", "1 = 1"), (sqlite, "_HEADS", newest)]


def _renewals_lost() -> list[Plant]:
    return [(ClaimEndings, "renew_many", lambda self, claims, worker_id: set())]


PLANTS: dict[str, Callable[[], list[Plant]]] = {
    "checkpoints are not fenced": lambda: [(ClaimEndings, "hold_many", lambda self, claims, worker_id: set())],
    "transactions of actions are not fenced": lambda: [(OwnCheckpoint, "fence", lambda self: None)],
    "fence on the owner alone": _fence_on_the_owner,
    "settled before the commit": _settled_before_commit,
    "entries dropped when the database is away": _entries_dropped,
    "a commit without an answer is a failure": _lost_commit_is_a_failure,
    "goes on before the checkpoint is durable": _goes_on_at_once,
    "crashes are not counted": lambda: [
        (reaper, "_REVIVE", Change(reaper._REVIVE.text.replace("crashes + 1", "crashes")))
    ],
    "live leases are reaped": lambda: [(reaper, "_EXPIRED", "{claimed} AND {cutoff} IS NOT NULL")],
    "a release charges the attempt": lambda: [
        (endings, "_RELEASE", endings._RELEASE.replace("THEN attempts - 1", "THEN attempts"))
    ],
    "a claim charges nothing": lambda: [
        (lane_dialect, "_TAKE", lane_dialect._TAKE.replace("attempts = attempts + 1", "attempts = attempts"))
    ],
    "order per key is ignored": _order_ignored,
    "leases are not renewed": _renewals_lost,
    "a worker that waits spins": lambda: [(Worker, "_patience", lambda self: 0.0)],
    "suspects share a worker": lambda: [(Suspects, "refuse", lambda self, claimed, in_hand: [])],
    "claims are dropped when the database goes away": lambda: [(Engine, "hand_back", lambda self, items: None)],
    "dedupe keys are forgotten": lambda: [(dedupe, "claim_keys", lambda drafts, now, connection: {})],
}
"""What is wrong, and how."""

RARE = {"claims are dropped when the database goes away"}
"""What takes some hundred seeds: two faults have to meet."""


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Plant a bug for a while.

    Args:
        name: One of :data:`PLANTS`; None for none.
    """
    with ExitStack() as stack:
        for owner, attribute, value in PLANTS[name]() if name else ():
            stack.enter_context(patch.object(owner, attribute, value))
        yield
