"""What the worker does with each kind of outbox item."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from automate_core.errors import ErrorCodes
from automate_core.outbox import OutboxItem
from automate_core.registry import Registry, registry
from automate_outbox.handlers import register_handler
from automate_outbox.store import DatabaseOutboxStore

from automate.events import EVENT_JOB, RUN_JOB
from automate.runtime.callers import Caller
from automate.runtime.stop import Stop
from automate.worker.leases import LeaseKeeper

__all__ = ["EventHandler", "RunHandler", "Work", "register_handlers"]


@dataclass(frozen=True, slots=True)
class Work:
    """What a handler works with.

    Args:
        store: The store that claimed the item.
        worker_id: Who claimed it.
        keeper: Keeps leases alive.
        new_caller: Makes what calls the actions of one run.
        stop: Reasons to put the work down.
        registry: Where actions are looked up.
    """

    store: DatabaseOutboxStore
    worker_id: str
    keeper: LeaseKeeper
    new_caller: Callable[[], Caller]
    stop: Stop
    registry: Registry = field(default=registry)


class EventHandler:
    """Decides about an event, and runs on the first run that it starts."""

    kind = EVENT_JOB

    def handle(self, item: OutboxItem, work: Work) -> None:
        """Handle a claimed item.

        Args:
            item: The item.
            work: What to work with.
        """
        from automate.dispatch import dispatch

        with work.keeper.holding(item, threading.Event()):
            started = dispatch(item, work.store, work.worker_id)
        if started is not None:
            _advance(started[0], work)

    def on_dead(self, item: OutboxItem, error: str) -> None:
        """Leave the event as it is: the dead letter in the outbox is its record.

        Args:
            item: The item.
            error: Why it died.
        """


class RunHandler:
    """Carries a run on."""

    kind = RUN_JOB

    def handle(self, item: OutboxItem, work: Work) -> None:
        """Handle a claimed item.

        Args:
            item: The item.
            work: What to work with.
        """
        _advance(item, work)

    def on_dead(self, item: OutboxItem, error: str) -> None:
        """Fail the run that the item would have carried on.

        Args:
            item: The item.
            error: Why it died.
        """
        from automate.runtime.runs import fail_run

        code = "crashed" if error.startswith("crashed") else ErrorCodes.INTERNAL.value
        fail_run(item.payload["run_id"], {"code": code, "message": error, "retryable": False})


def _advance(item: OutboxItem, work: Work) -> None:
    from automate.models import ExecutionRun
    from automate.models.executions import LIVE
    from automate.runtime.advance import Advance
    from automate.runtime.runs import DatabaseClock, Ledger, load_run

    stop = Stop(draining=work.stop.draining)
    with work.keeper.holding(item, stop.abandoned):
        run: ExecutionRun = load_run(item.payload["run_id"])
        if run.status not in LIVE:
            work.store.mark_success(item.id, work.worker_id, lease_token=item.lease_token)
            return
        clock = DatabaseClock(item, work.store.lease_seconds)
        ledger = Ledger(run, item, work.store, work.worker_id)
        caller = work.new_caller()
        try:
            Advance(ledger, caller, work.registry, clock, stop).run()
        finally:
            caller.cancel()


def register_handlers() -> None:
    """Register the handlers with the outbox."""
    register_handler(EventHandler())
    register_handler(RunHandler())
