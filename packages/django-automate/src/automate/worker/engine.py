"""What a worker has in hand: items become decisions, runs and calls, and all that follows is written together."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from automate_core.errors import DoubtfulCommitError, EventNotFound, InvalidPayloadError, LeaseLostError
from automate_core.outbox import OutboxItem
from automate_core.registry import Registry, registry
from automate_core.workflow.planner import RunState
from automate_outbox.counters import Counters
from automate_outbox.handlers import get_handler
from automate_outbox.store import DatabaseOutboxStore

from automate import signals
from automate.dispatch import births_of, decide
from automate.events import EVENT_JOB, RUN_JOB
from automate.matching import Listeners, listeners
from automate.models import Event, ExecutionRun, RunStatus
from automate.models.bulk import load_rows
from automate.models.executions import LIVE
from automate.runtime.advance import Advance
from automate.runtime.changes import RunChange
from automate.runtime.connections import AWAY
from automate.runtime.execute import Attempt, Result, timed_out
from automate.runtime.journal import Births, ClaimRequest, End, Entry, Journal
from automate.runtime.pacing import take_tokens
from automate.runtime.runs import DatabaseClock, load_runs, state_of
from automate.worker.failures import Failures
from automate.worker.launch import Launcher

__all__ = ["Engine"]

logger = logging.getLogger("automate.worker")

_LOOK_AROUND = 0.05
"""How often attempts past their deadline, and retries that are due, are looked for, in seconds."""
_GATHER = 0.002
"""How long an entry waits for others to share its commit, in seconds."""
_MOST_TOGETHER = 800
"""Entries that are not kept waiting for more."""


@dataclass(slots=True)
class _Flight:
    advance: Advance
    attempt: Attempt


class Engine:
    """Handles claimed items. Everything but actions and handlers happens in the thread that owns it.

    Args:
        store: The store that claims the items.
        worker_id: Who claims them.
        launcher: Where actions and handlers are called.
        draining: Set when nothing further shall be started: each run is handed back at its next checkpoint.
        registry: Where actions are looked up.
        announce: Sends signals of :mod:`automate.signals`.
        counters: Counts what becomes of the items.

    Attributes:
        in_hand: The items in hand, by id.
        ended: How many actions and handlers have ended.
        dismissed: How many items left the hand with nothing called for them, other than those that were handed back.
    """

    def __init__(
        self,
        store: DatabaseOutboxStore,
        worker_id: str,
        launcher: Launcher,
        draining: threading.Event,
        *,
        registry: Registry = registry,
        announce: Callable[..., None] = signals.send,
        counters: Counters | None = None,
    ) -> None:
        counters = Counters() if counters is None else counters
        self.in_hand: dict[int, OutboxItem] = {}
        self._store, self._launcher, self._draining = store, launcher, draining
        self._registry, self._announce = registry, announce
        self._journal = Journal(store, worker_id, counters)
        self._failures = Failures(store, worker_id, self._forget, counters)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._runs: dict[int, Advance] = {}
        self._flights: dict[int, _Flight] = {}
        self._unread: list[OutboxItem] = []
        self._looked_at = 0.0
        self.ended = self.dismissed = 0

    # -- taking items in hand ---------------------------------------------------------------------------------------

    def accept(self, items: Sequence[OutboxItem]) -> None:
        """Take claimed items in hand.

        Args:
            items: The items.

        Raises:
            OperationalError, InterfaceError, InternalError: If the database went away; the items stay in hand, and the
                next call takes them up again.
        """
        for item in items:
            if earlier := self.in_hand.get(item.id):  # its claim was lost, and nobody has told yet
                self._unread = [one for one in self._unread if one is not earlier]
                self._lose([earlier])
            self.in_hand[item.id] = item
            payload: object = item.payload
            if not isinstance(payload, dict):
                self._dismiss(item, InvalidPayloadError("The payload of an item must be an object."))
            elif item.kind in (EVENT_JOB, RUN_JOB):
                self._unread.append(item)
            elif self._draining.is_set():
                self.hand_back([item])
            else:
                self._launcher.call(item, self._handle)
        if self._unread:
            self._decide([item for item in self._unread if item.kind == EVENT_JOB])
            self._unread = [item for item in self._unread if item.kind != EVENT_JOB]
            self._load(self._unread)
            self._unread = []
        self._launcher.adjust()

    def _handle(self, item: OutboxItem) -> None:
        """Call the handler of an item, in whatever thread the launcher has for it."""
        problem: Exception | None = None
        try:
            get_handler(item.kind).handle(item)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is an outcome of the item
            problem = error
        except BaseException as error:  # noqa: BLE001 - a handler that exits must not take its thread along
            problem = RuntimeError(f"The handler raised {type(error).__name__}.")  # which may not even be shown
            problem.__cause__ = error
        self._inbox.put(partial(self._handled, item, problem))

    def _handled(self, item: OutboxItem, problem: Exception | None) -> None:
        self.ended += 1
        if problem is None:
            self._journal.add(Entry(item, End.COMPLETE, partial(self._settled, item)))
        else:
            self._failures.add(item, problem)

    def _decide(self, items: Sequence[OutboxItem]) -> None:
        if not items:
            return
        events = {str(key): event for key, event in load_rows(Event.objects.all(), _ids(items, "event_id")).items()}
        listening = listeners() if events else Listeners()
        for item in items:
            event = events.get(str(item.payload.get("event_id")))
            try:
                if event is None:
                    raise EventNotFound(
                        f"Event {item.payload.get('event_id')!r} does not exist.", context=dict(item.payload)
                    )
                births = births_of(event, item, decide(event, listening))
            except Exception as error:  # noqa: BLE001 - what is wrong with one event keeps no other waiting
                self._dismiss(item, error)
            else:
                self._journal.add(Entry(item, End.COMPLETE, partial(self._decided, item, event, births), births=births))

    def _decided(self, item: OutboxItem, event: Event, births: Births, problem: Exception | None) -> None:
        if problem is not None or births.first is None:
            self._dismiss(item, problem)
            return
        # The hand is as full as it was: what began with the event ends with its run.
        self.in_hand.pop(item.id, None)
        self.in_hand[births.first.id] = births.first
        self._announce(signals.workflow_started, ExecutionRun, run=births.runs[0])
        self._begin(births.first, births.runs[0], state_of(births.runs[0], event))

    def _load(self, items: Sequence[OutboxItem]) -> None:
        if not items:
            return
        found = {str(key): loaded for key, loaded in load_runs(_ids(items, "run_id")).items()}
        later = self._take_tokens(items, found)
        for item in items:
            loaded = found.get(str(item.payload.get("run_id")))
            if loaded is None:
                missing = ExecutionRun.DoesNotExist(f"Run {item.payload.get('run_id')!r} does not exist.")
                self._dismiss(item, missing)
            elif loaded[0].status not in LIVE:
                self._journal.add(Entry(item, End.COMPLETE, partial(self._dismiss, item)))
            elif due := later.get(loaded[0]):
                change = RunChange(loaded[0], RunStatus.WAITING)
                self._journal.add(Entry(item, End.RESCHEDULE, partial(self._dismiss, item), change=change, due=due))
            else:
                self._begin(item, *loaded)

    def _take_tokens(
        self, items: Sequence[OutboxItem], found: Mapping[str, tuple[ExecutionRun, RunState]]
    ) -> dict[ExecutionRun, datetime]:
        """Return the runs whose rates do not let them begin yet, each with when to ask again."""
        runs = [loaded[0] for item in items if (loaded := found.get(str(item.payload.get("run_id")))) is not None]
        live = [run for run in runs if run.status in LIVE]
        return take_tokens(live, DatabaseClock(items[-1], self._store.lease_seconds))

    # -- runs -------------------------------------------------------------------------------------------------------

    def _begin(self, item: OutboxItem, run: ExecutionRun, state: RunState) -> None:
        try:
            advance = self._runs[item.id] = Advance(
                run,
                item,
                state,
                journal=self._journal,
                launch=self._launch,
                ended=self._run_ended,
                registry=self._registry,
                clock=DatabaseClock(item, self._store.lease_seconds),
                draining=self._draining,
                announce=self._announce,
            )
        except Exception as error:  # noqa: BLE001 - what is wrong with one run keeps no other waiting
            self._failures.add(item, error)
        else:
            self._guarded(advance, advance.begin)

    def _guarded(self, advance: Advance, move: Callable[[], None]) -> None:
        try:
            move()
        except Exception as error:  # noqa: BLE001 - what is wrong with one run keeps no other waiting
            advance.abandon(error)

    def _launch(self, advance: Advance, attempt: Attempt) -> None:
        flight = _Flight(advance, attempt)
        self._flights[id(flight)] = flight
        self._take_off(flight)

    def _take_off(self, flight: _Flight) -> None:
        self._launcher.launch(flight.attempt, lambda result: self._inbox.put(partial(self._landed, flight, result)))

    def _landed(self, flight: _Flight, result: Result) -> None:
        self.ended += 1
        if self._flights.pop(id(flight), None) is None:
            self._launcher.came_back()  # after it had been given up
        else:
            self._guarded(flight.advance, partial(flight.advance.take, result))

    def _run_ended(self, advance: Advance, problem: Exception | None) -> None:
        if self._runs.get(advance.item.id) is advance:
            del self._runs[advance.item.id]
        self._settled(advance.item, problem)

    def _look_around(self) -> None:
        """Take attempts past their deadline for failed, not waiting for their threads; start retries that are due."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_AROUND:
            return
        self._looked_at = now
        for key, flight in list(self._flights.items()):
            if 0.0 < flight.attempt.deadline <= now:
                del self._flights[key]
                self._launcher.give_up()
                self._guarded(flight.advance, partial(flight.advance.take, timed_out(flight.attempt)))
        for advance in {id(flight.advance): flight.advance for flight in self._flights.values()}.values():
            self._guarded(advance, advance.look_again)

    # -- out of hand ------------------------------------------------------------------------------------------------

    def _dismiss(self, item: OutboxItem, problem: Exception | None) -> None:
        self.dismissed += 1
        self._settled(item, problem)

    def _settled(self, item: OutboxItem, problem: Exception | None) -> None:
        if problem is None:
            self._forget(item)
        elif isinstance(problem, LeaseLostError | DoubtfulCommitError):
            logger.warning("Item %s is put down: %s", item.id, problem)
            self._forget(item)
        else:
            self._failures.add(item, problem)

    def _forget(self, item: OutboxItem) -> None:
        if self._holds(item):
            del self.in_hand[item.id]

    def _holds(self, item: OutboxItem) -> bool:
        """Whether this claim is in hand, and not a later one of the same item."""
        held = self.in_hand.get(item.id)
        return held is not None and held.lease_token == item.lease_token

    def lose(self, item_ids: Sequence[int]) -> None:
        """Put down items whose claims are no longer live, unless they ended here; may be called from any thread.

        Args:
            item_ids: The items.
        """
        held = [self.in_hand.get(item_id) for item_id in item_ids]
        self._inbox.put(partial(self._lose, [item for item in held if item is not None]))

    def _lose(self, items: Sequence[OutboxItem]) -> None:
        for item in items:
            if not self._holds(item):
                continue
            problem = LeaseLostError(f"Item {item.id} was taken over.", context={"item": item.id})
            if (advance := self._runs.get(item.id)) is not None:
                advance.abandon(problem)
            else:
                self._settled(item, problem)

    # -- the turn ---------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """End a wait of :meth:`pump`; may be called from any thread."""
        self._inbox.put(lambda: None)

    def pump(self, seconds: float) -> None:
        """Wait for what comes from the threads, and deal with it.

        Args:
            seconds: How long to wait where nothing has come.
        """
        if self._launcher.adjust() or self._journal:
            seconds = min(seconds, _GATHER)
        elif self._flights or self.refused is not None:
            seconds = min(seconds, _LOOK_AROUND)
        try:
            self._inbox.get(timeout=max(seconds, 0.0001))()
            while True:
                self._inbox.get_nowait()()
        except queue.Empty:
            pass
        self._look_around()

    @property
    def wants_flush(self) -> bool:
        """Whether entries should be written now: there are many, they waited, or there is nothing to wait for."""
        entries = len(self._journal)
        if not entries:
            return bool(self._failures)
        return entries >= min(len(self.in_hand), _MOST_TOGETHER) or time.monotonic() - self._journal.since >= _GATHER

    @property
    def refused(self) -> Exception | None:
        """What the database said where it failed on what is kept to be written later; None where that is nothing."""
        return self._journal.refused

    def flush(self, claim: ClaimRequest | None = None) -> list[OutboxItem]:
        """Write what has come together, and claim with the same commit.

        Args:
            claim: What to claim, if anything.

        Returns:
            The claimed items, not yet accepted.

        Raises:
            OperationalError, InterfaceError, InternalError: If the database is away; nothing is forgotten.
        """
        claimed = self._journal.flush(claim)
        try:
            self._failures.record()
        except AWAY:
            self.hand_back(claimed)
            raise
        self._launcher.adjust()
        return claimed

    @property
    def waiting(self) -> int:
        """How many actions and handlers wait for a thread."""
        return self._launcher.waiting

    def put_down_waiting(self) -> None:
        """Hand back what no thread has begun."""
        dropped = self._launcher.drop_waiting()
        self.hand_back([item for item in dropped if isinstance(item, OutboxItem)])
        attempts = {id(attempt) for attempt in dropped}
        together: dict[Advance, list[int]] = {}
        for key, flight in self._flights.items():
            if id(flight.attempt) in attempts:
                together.setdefault(flight.advance, []).append(key)
        for advance, keys in together.items():
            if advance.put_back([self._flights[key].attempt for key in keys]):
                for key in keys:
                    del self._flights[key]
            else:
                for key in keys:
                    self._take_off(self._flights[key])

    def hand_back(self, items: Sequence[OutboxItem]) -> None:
        """Give claimed items back with the next flush, the attempt uncharged.

        Args:
            items: The items; nothing of them has begun.
        """
        for item in items:
            self.in_hand[item.id] = item
            self._journal.add(Entry(item, End.RELEASE, partial(self._settled, item)))

    def finish(self) -> None:
        """Write what has ended, down to the last result that came; raises what :meth:`flush` raises."""
        self.pump(0.0)
        while self._journal:
            self.flush()

    def abandon(self) -> list[OutboxItem]:
        """Put everything down as it is, and tell the actions under way.

        Returns:
            What was in hand.
        """
        left = list(self.in_hand.values())
        for advance in list(self._runs.values()):
            advance.abandon()
        self.in_hand.clear()
        return left


def _ids(items: Sequence[OutboxItem], name: str) -> list[str]:
    """Return the ids that items name; what is no UUID would fail the statement for all of them."""
    found = []
    for item in items:
        try:
            found.append(str(UUID(str(item.payload.get(name)))))
        except ValueError:
            continue
    return found
