"""Who may start: executions of one key that exclude each other, told apart under a lock that the database holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from automate_outbox.store import DatabaseOutboxStore
from django.db import connections, router
from django.utils import timezone

from automate.concurrency import EXCLUSIVE
from automate.models import ConcurrencyKey, Decision, Execution, ExecutionRun, RunStatus
from automate.models.executions import LIVE
from automate.runtime.versions import compiled

__all__ = ["Admission", "admit", "cancel", "exclusive_keys", "is_exclusive", "lock_keys", "mode_of"]

SUPERSEDED: dict[str, Any] = {
    "code": "superseded",
    "message": "A newer run of its concurrency key took its place.",
    "retryable": False,
}
"""The error of a run that was cancelled by the next one."""


@dataclass(slots=True)
class Admission:
    """What becomes of new runs that share keys.

    Args:
        skipped: The runs that do not start, each with the live execution that keeps it from it.
        outdated: The runs whose place was taken by a later one before they started.
    """

    skipped: dict[UUID, UUID] = field(default_factory=dict)
    outdated: set[UUID] = field(default_factory=set)

    def starts(self, run: ExecutionRun) -> bool:
        """Return whether an item carries the run.

        Args:
            run: The run.
        """
        return run.pk not in self.skipped and run.pk not in self.outdated

    def mark(self, runs: Iterable[ExecutionRun]) -> None:
        """Give new runs the status that they have from now on.

        Args:
            runs: The runs that are stored.
        """
        for run in runs:
            if run.execution.concurrency_key is None:
                continue
            # Both ways: what was written about them before may have been rolled back.
            outdated = run.pk in self.outdated
            status, ended = (RunStatus.CANCELLED, timezone.now()) if outdated else (RunStatus.QUEUED, None)
            run.status, run.finished_at, run.error = status, ended, SUPERSEDED if outdated else None
            run.execution.status, run.execution.finished_at = status, ended
            run.execution.live_key = None if outdated else run.execution.concurrency_key

    def explain(self, runs: Iterable[ExecutionRun], decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Say in the decisions about an event which ones start nothing.

        Args:
            runs: The runs that the decisions would start.
            decisions: The decisions.

        Returns:
            The decisions.
        """
        holders = {run.execution.version_id: self.skipped.get(run.pk) for run in runs}
        for decision in decisions:
            holder = holders.get(decision.version_id)
            decision.reason = f"Skipped: execution {holder} of the same concurrency key is under way." if holder else ""
        return decisions


def lock_keys(keys: Iterable[str | None]) -> list[str]:
    """Lock keys until the transaction ends, those that are new too: one statement.

    Whoever locks keys does it before anything else in its transaction, and once, so that nobody deadlocks.

    Args:
        keys: The keys.

    Returns:
        The keys that are locked, without what is none.
    """
    wanted = sorted({key for key in keys if key})
    if not wanted:
        return []
    # Writing is what locks: a row that is pruned this moment is made again, where a look would miss it.
    target = connections[router.db_for_write(ConcurrencyKey)].features.supports_update_conflicts_with_target
    ConcurrencyKey.objects.bulk_create(
        [ConcurrencyKey(key=key) for key in wanted],
        update_conflicts=True,
        update_fields=["used_at"],
        unique_fields=["key"] if target else None,
    )
    return wanted


def exclusive_keys(runs: Iterable[ExecutionRun]) -> list[str | None]:
    """Return the keys that are to be locked before it is decided which of some new runs start.

    Args:
        runs: The runs.
    """
    return [run.execution.concurrency_key for run in runs if is_exclusive(run)]


def is_exclusive(run: ExecutionRun) -> bool:
    """Return whether a run may have to leave the place to another one of its key, or take it from it.

    Args:
        run: The run.
    """
    return mode_of(run) in EXCLUSIVE


def mode_of(run: ExecutionRun) -> str:
    """Return what runs of one key are to each other; empty where the run has no key.

    Args:
        run: The run.
    """
    if run.execution.concurrency_key is None:
        return ""
    concurrency = compiled(run.execution.version).definition.concurrency
    return "" if concurrency is None else concurrency.mode


def admit(runs: Sequence[ExecutionRun], store: DatabaseOutboxStore) -> Admission:
    """Decide which of some new runs start, and cancel what they take the place of.

    The caller's transaction has locked the keys of those that :func:`is_exclusive` names.

    Args:
        runs: The runs, not yet stored, in the order of their events.
        store: Where the items of cancelled runs are.
    """
    admission = Admission()
    exclusive = [run for run in runs if is_exclusive(run)]
    if not exclusive:
        return admission
    live: dict[str, list[UUID]] = {}
    keys = {run.execution.concurrency_key for run in exclusive}
    rows = Execution.objects.filter(live_key__in=keys).order_by("created_at")
    for key, execution_id in rows.values_list("live_key", "id"):
        live.setdefault(str(key), []).append(execution_id)
    newest: dict[str, ExecutionRun] = {}
    ended: list[UUID] = []
    for run in exclusive:
        key = str(run.execution.concurrency_key)
        if mode_of(run) == "skip":
            if key in newest or live.get(key):
                admission.skipped[run.pk] = newest[key].execution_id if key in newest else live[key][-1]
                continue
        else:
            ended += live.pop(key, [])
            if key in newest:
                admission.outdated.add(newest[key].pk)
        newest[key] = run
    cancel(ended, store, SUPERSEDED)
    return admission


def cancel(execution_ids: Sequence[UUID], store: DatabaseOutboxStore, error: Mapping[str, Any]) -> None:
    """Cancel executions, in the caller's transaction.

    Whoever carries one of them on finds at its next checkpoint that it is no longer theirs. What an action is doing
    until then is not undone.

    Args:
        execution_ids: The executions; those that have ended stay as they are.
        store: Where their items are.
        error: Why.
    """
    if not execution_ids:
        return
    runs = ExecutionRun.objects.filter(execution__in=execution_ids, status__in=LIVE)
    # The items first: every checkpoint holds its item before it writes to the run.
    store.withdraw_many([job_id for job_id in runs.values_list("job_id", flat=True) if job_id is not None])
    now = timezone.now()
    runs.update(status=RunStatus.CANCELLED, finished_at=now, error=dict(error))
    ended = {"status": RunStatus.CANCELLED, "finished_at": now, "live_key": None}
    Execution.objects.filter(pk__in=execution_ids, status__in=LIVE).update(**ended)
