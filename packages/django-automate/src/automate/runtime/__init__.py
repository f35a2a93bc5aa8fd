"""Running workflows. ``emit_event`` and ``run_workflow`` are also found here."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING
from uuid import UUID

from automate_core import settings
from automate_core.errors import PolicyError
from automate_core.registry import Registry, registry

from automate.events import aemit_event, arun_workflow, emit_event, run_workflow
from automate.policy.switch import Watch

if TYPE_CHECKING:
    from automate_core.outbox import OutboxItem
    from automate_outbox.store import DatabaseOutboxStore

    from automate.models import Execution

__all__ = ["Runtime", "aemit_event", "arun_workflow", "emit_event", "run_workflow"]


_PATIENCE_SECONDS = 120.0
"""How long a checkpoint is tried; by then the lease has run out, and somebody else has the run."""
_LOOK_AGAIN_SECONDS = 0.2
_SHORTEST_PAUSE = 0.02


class Runtime:
    """Runs executions in the calling process.

    Args:
        registry: Where actions are looked up.
    """

    def __init__(self, *, registry: Registry = registry) -> None:
        self._registry = registry

    def run_execution(self, execution_id: UUID | str) -> None:
        """Run an execution to its end in the calling thread.

        Steps are checkpointed as in a worker, and retries are rows with a time: where a worker takes one up, its
        result is waited for; otherwise the call waits until it is due. An execution that has ended is left as it is.

        Args:
            execution_id: The execution.

        Raises:
            Execution.DoesNotExist: If there is none.
            PolicyError: If automation is switched off (``ENABLED``) or paused, or is so meanwhile: the execution is put
                down after the step that it is in.
        """
        from automate_outbox.reaper import OutboxReaper
        from automate_outbox.store import get_store

        watch = Watch()
        worker_id = f"direct-{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"
        store = get_store()
        looks, next_reap = 0, 0.0
        while (execution := _live_execution(execution_id)) is not None:
            _ensure_on(watch)
            job_id = execution.runs.order_by("-number").values_list("job_id", flat=True).first()
            if (claimed := self._claim(execution, job_id, store, worker_id)) is not None:
                self._carry_on(claimed, store, worker_id, watch)
                looks = 0
                continue
            if time.monotonic() >= next_reap:  # whoever has it may have died over it
                next_reap = time.monotonic() + settings.current().outbox.reaper_interval_seconds
                OutboxReaper(max_crashes=settings.current().outbox.max_crashes).reap_stale_items()
            time.sleep(_pause(job_id, looks))
            looks += 1

    def _claim(
        self, execution: Execution, job_id: int | None, store: DatabaseOutboxStore, worker_id: str
    ) -> OutboxItem | None:
        from django.db import IntegrityError

        from automate.runtime.runs import queue_run

        if job_id is not None:
            return store.claim_job(worker_id, job_id, due_only=True)
        try:
            return queue_run(execution, store, worker_id)
        except IntegrityError:  # somebody else began it this moment; the next turn finds their run
            return None

    def _carry_on(self, item: OutboxItem, store: DatabaseOutboxStore, worker_id: str, watch: Watch) -> None:
        from django.db import connection

        from automate.runtime.connections import AWAY, tidy_connections
        from automate.worker.engine import Engine
        from automate.worker.launch import InlineLauncher
        from automate.worker.leases import LeaseKeeper
        from automate.worker.stopping import Holding

        holding = Holding(watch)
        engine = Engine(store, worker_id, InlineLauncher(), holding, registry=self._registry)
        keeper = LeaseKeeper(store, worker_id, engine.in_hand, engine.lose)
        # Within the caller's transaction the item is locked, or not to be seen, until that ends: nobody can take it,
        # and the keeper, on its own connection, could not renew it.
        if not connection.in_atomic_block:
            keeper.start()
        items, give_up = [item], time.monotonic() + _PATIENCE_SECONDS
        try:
            while items or engine.in_hand:
                try:
                    holding.look()
                    engine.accept(items)
                    items = []
                    engine.flush()
                    if engine.refused is not None:
                        raise engine.refused
                except AWAY:
                    # What the steps did outside cannot be undone, so giving up means doing it twice.
                    if connection.in_atomic_block or time.monotonic() > give_up:
                        raise
                    items = []
                    tidy_connections()
                    time.sleep(_LOOK_AGAIN_SECONDS)
                engine.pump(0.0)
        finally:
            keeper.close()


def _ensure_on(watch: Watch) -> None:
    if not watch.is_on():
        raise PolicyError(watch.why)


def _pause(job_id: int | None, looks: int) -> float:
    """Return the seconds until an item is due, or until the next look where somebody has it."""
    from automate_core.outbox import JobStatus
    from automate_outbox.models import OutboxJob
    from django.utils import timezone

    longest = settings.current().worker.poll_seconds
    pause = min(_SHORTEST_PAUSE * 2.0 ** min(looks, 10), longest)
    if job_id is None:
        return pause
    waiting = OutboxJob.objects.filter(pk=job_id).exclude(status=JobStatus.CLAIMED.value)
    due = waiting.values_list("next_attempt_at", flat=True).first()
    return pause if due is None else min(max((due - timezone.now()).total_seconds(), _SHORTEST_PAUSE), longest)


def _live_execution(execution_id: UUID | str) -> Execution | None:
    from django.core.exceptions import ValidationError

    from automate.models import Execution
    from automate.models.executions import LIVE

    try:
        execution = Execution.objects.select_related("version__workflow").get(pk=execution_id)
    except ValidationError:
        raise Execution.DoesNotExist(f"{execution_id!r} is not the id of an execution.") from None
    return execution if execution.status in LIVE else None
