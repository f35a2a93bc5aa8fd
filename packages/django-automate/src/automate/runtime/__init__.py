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

if TYPE_CHECKING:
    from automate_core.outbox import OutboxItem
    from automate_outbox.store import DatabaseOutboxStore

    from automate.models import Execution, ExecutionRun

__all__ = ["Runtime", "aemit_event", "arun_workflow", "emit_event", "run_workflow"]


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
            PolicyError: If automation is switched off (``ENABLED``).
        """
        from automate_outbox.store import get_store

        if not settings.current().enabled:
            raise PolicyError("Automation is switched off: DJANGO_AUTOMATE['ENABLED'] is False.")
        worker_id = f"direct-{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"
        store = get_store()
        while (execution := _live_execution(execution_id)) is not None:
            claimed = self._claim(execution, store, worker_id)
            if claimed is not None:
                self._advance(*claimed, store, worker_id)
            else:
                self._wait(execution)

    def _claim(
        self, execution: Execution, store: DatabaseOutboxStore, worker_id: str
    ) -> tuple[ExecutionRun, OutboxItem] | None:
        from django.db import IntegrityError

        from automate.runtime.runs import queue_run

        run = execution.runs.order_by("-number").first()
        if run is None:
            try:
                run, item = queue_run(execution, store, worker_id)
            except IntegrityError:  # somebody else began it this moment; the next turn finds their run
                return None
        else:
            found = None if run.job_id is None else store.claim_job(worker_id, run.job_id, due_only=True)
            if found is None:
                return None
            item = found
        run.execution = execution
        return run, item

    def _advance(self, run: ExecutionRun, item: OutboxItem, store: DatabaseOutboxStore, worker_id: str) -> None:
        from contextlib import nullcontext, suppress

        from automate_core.errors import LeaseLostError
        from django.db import connection

        from automate.runtime.advance import Advance
        from automate.runtime.callers import InlineCaller
        from automate.runtime.runs import DatabaseClock, Ledger
        from automate.runtime.stop import Stop
        from automate.worker.leases import LeaseKeeper

        stop = Stop()
        clock = DatabaseClock(item, store.lease_seconds)
        advance = Advance(Ledger(run, item, store, worker_id), InlineCaller(), self._registry, clock, stop)
        with LeaseKeeper(store, worker_id) as keeper:
            # Within the caller's transaction the item is locked, or not to be seen, until that ends: nobody can take
            # it, and the keeper, on its own connection, could not renew it.
            held = nullcontext() if connection.in_atomic_block else keeper.holding(item, stop.abandoned)
            with held, suppress(LeaseLostError):  # whoever holds it now carries it on, and the caller's loop waits
                advance.run()

    def _wait(self, execution: Execution) -> None:
        """Sleep until the run's item is due, or look again soon where a worker has it, who may have died over it."""
        from automate_outbox.models import OutboxJob
        from automate_outbox.reaper import OutboxReaper
        from django.utils import timezone

        OutboxReaper(max_crashes=settings.current().outbox.max_crashes).reap_stale_items()
        job_ids = execution.runs.order_by("-number").values_list("job_id", flat=True)[:1]
        waiting = OutboxJob.objects.filter(pk__in=list(job_ids))
        due = waiting.values_list("next_attempt_at", flat=True).first()
        seconds = 0.0 if due is None else (due - timezone.now()).total_seconds()
        time.sleep(min(max(seconds, 0.02), settings.current().worker.poll_seconds))


def _live_execution(execution_id: UUID | str) -> Execution | None:
    from django.core.exceptions import ValidationError

    from automate.models import Execution
    from automate.models.executions import LIVE

    try:
        execution = Execution.objects.select_related("version__workflow").get(pk=execution_id)
    except ValidationError:
        raise Execution.DoesNotExist(f"{execution_id!r} is not the id of an execution.") from None
    return execution if execution.status in LIVE else None
