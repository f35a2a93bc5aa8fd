"""Pruning one kind of row: bounded windows of the key, oldest first, each transaction short.

Each function is a generator that yields after every transaction, so that its caller may pause, or leave it: where it
stood is then the key to begin after the next time. A window is read by its key alone and never counts more rows than
a batch, whatever is kept among them; nothing is skipped with OFFSET.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from automate_core.ids import uuid7_floor
from automate_core.outbox import JobStatus
from automate_outbox.models import OutboxJob
from django.db.models import Count, Model, QuerySet

from automate.models import ArtifactUse, ConcurrencyKey, Decision, Event, Execution, ExecutionRun, StepRun
from automate.retention.due import Due
from automate.retention.turns import Turns

__all__ = [
    "Progress",
    "artifact_uses",
    "artifacts",
    "concurrency_keys",
    "dead_letters",
    "decisions",
    "dedupe_keys",
    "delete",
    "events",
    "executions",
    "jobs",
]

_DAY = 86_400.0
"""In seconds."""
_drawn: dict[str, float] = {}
"""When this process last drew whether to look for files without a row, by database."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one transaction did.

    Args:
        after: The key to go on after; None to begin again.
        pruned: Rows that went, by kind.
    """

    after: Any = None
    pruned: Mapping[str, int] = field(default_factory=dict)


def delete(rows: QuerySet[Any]) -> int:
    """Delete rows by one statement: nothing is loaded, no signal is sent, nothing cascades.

    This is the one way past :class:`automate.models.immutable.AppendOnlyModel`, for rows that are due.

    Args:
        rows: Which.

    Returns:
        How many went.
    """
    return int(rows.order_by()._raw_delete(rows.db))


def jobs(due: Due, turns: Turns, after: int | None, status: JobStatus = JobStatus.COMPLETED) -> Iterator[Progress]:
    """Prune finished items of the outbox.

    Args:
        due: What is due.
        turns: Runs the transactions.
        after: Where an earlier sweep stood.
        status: COMPLETED or FAILED.
    """
    kind = "completed_jobs" if status is JobStatus.COMPLETED else "dead_letters"
    before = due.jobs_before if status is JobStatus.COMPLETED else due.dead_before
    rows = OutboxJob.objects.using(due.using).filter(status=status.value).order_by("id")
    columns = rows.values_list("id", "created_at", "completed_at")
    while window := list(columns.filter(id__gt=after or 0)[: due.policy.batch_size]):
        ids = [key for key, _, ended in window if ended is not None and ended < before]
        gone = {kind: turns.run(partial(delete, due.jobs(status).filter(id__in=ids)))} if ids else {}
        after, created_at, _ = window[-1]
        yield Progress(after, gone)
        if created_at >= before:
            return


def dead_letters(due: Due, turns: Turns, after: int | None) -> Iterator[Progress]:
    """Prune dead letters.

    Args:
        due: What is due.
        turns: Runs the transactions.
        after: Where an earlier sweep stood.
    """
    return jobs(due, turns, after, JobStatus.FAILED)


def artifact_uses(due: Due, turns: Turns, after: int | None) -> Iterator[Progress]:
    """Forget the uses of artifacts by rows that are gone.

    Args:
        due: What is due.
        turns: Runs the transactions.
        after: Where an earlier sweep stood.
    """
    from automate.artifacts.collection import lost_uses

    rows = ArtifactUse.objects.using(due.using)
    left = after or 0
    while True:
        lost, behind = lost_uses(left, due.policy.batch_size, using=due.using)
        if lost:
            turns.run(partial(delete, rows.filter(pk__in=lost)))
        if behind is None:
            return
        left = behind
        yield Progress(left)


def artifacts(due: Due) -> Iterator[Progress]:
    """Remove the files of large values that nothing uses any more; about once a day, also those without a row.

    The latter is once a day for each worker process. Any number may do so at the same time, so no turn is taken.

    Args:
        due: What is due.

    Raises:
        ArtifactUnavailable: If a file cannot be removed, or the storage cannot be listed.
        ConfigurationError: If nothing says where artifacts are kept.
    """
    from automate.artifacts.collection import collect_orphans, remove_unused

    while gone := remove_unused(using=due.using):
        yield Progress(pruned={"artifacts": gone})
    if _is_chosen(due):
        while gone := collect_orphans(using=due.using):
            yield Progress(pruned={"artifacts": gone})


def _is_chosen(due: Due) -> bool:
    """Choose one of the sweeps that a process makes in a day, by chance, as few processes live for a day.

    The chance grows with the time since the last draw, so that it does not matter how many sweeps there are.
    """
    now = time.monotonic()
    since = now - _drawn.get(due.using, now - due.policy.interval_seconds)
    _drawn[due.using] = now
    return random.random() < since / _DAY  # noqa: S311 - nothing to guess


def dedupe_keys(due: Due, turns: Turns, after: None) -> Iterator[Progress]:
    """Prune keys that have expired; all of them go, so the index on their expiry is the cursor.

    Args:
        due: What is due.
        turns: Runs the transactions.
        after: Nothing.
    """
    while ids := list(due.dedupe_keys().order_by("expires_at").values_list("id", flat=True)[: due.policy.batch_size]):
        yield Progress(pruned={"dedupe_keys": turns.run(partial(delete, due.dedupe_keys().filter(id__in=ids)))})


def concurrency_keys(due: Due, turns: Turns, after: str | None) -> Iterator[Progress]:
    """Prune keys of concurrency and rate that are not used: gone, they say the same as before.

    Args:
        due: What is due.
        turns: Runs the transactions.
        after: Where an earlier sweep stood.
    """
    keys = ConcurrencyKey.objects.using(due.using).order_by("key").values_list("key", flat=True)
    while window := list(keys.filter(key__gt=after or "")[: due.policy.batch_size]):
        idle = list(due.concurrency_keys().filter(key__in=window).values_list("key", flat=True))
        # Asked again when they go: one of them may be used again by now.
        gone = turns.run(partial(delete, due.concurrency_keys().filter(key__in=idle))) if idle else 0
        after = window[-1]
        yield Progress(after, {"concurrency_keys": gone} if gone else {})


def decisions(due: Due, turns: Turns, after: int | None) -> Iterator[Progress]:
    """Prune decisions that did not match.

    Args:
        due: What is due.
        turns: Runs the transactions.
        after: Where an earlier sweep stood.
    """
    columns = Decision.objects.using(due.using).order_by("id").values_list("id", "created_at", "matched")
    while window := list(columns.filter(id__gt=after or 0)[: due.policy.batch_size]):
        ids = [key for key, _, matched in window if not matched]
        gone = {"decisions": turns.run(partial(delete, due.non_matches().filter(id__in=ids)))} if ids else {}
        after, created_at, _ = window[-1]
        yield Progress(after, gone)
        if created_at >= due.non_matches_before:
            return


def events(due: Due, turns: Turns, after: UUID | None, held: set[str]) -> Iterator[Progress]:
    """Prune events with their decisions.

    Args:
        due: What is due.
        turns: Runs the transactions.
        after: Where an earlier sweep stood.
        held: Events that items of the outbox refer to.
    """
    size, bound = due.policy.batch_size, uuid7_floor(due.events_before)
    rows = Event.objects.using(due.using).filter(id__lt=bound).order_by("id")
    while window := list(rows.filter(id__gt=after or UUID(int=0)).values_list("id", flat=True)[:size]):
        free = due.events().filter(id__in=[key for key in window if str(key) not in held])
        ids = list(free.values_list("id", flat=True))
        about = Decision.objects.using(due.using).filter(event_id__in=ids).order_by().values_list("id", flat=True)
        while ids:
            some = list(about[:size])
            yield Progress(after, turns.run(partial(_delete_events, due, ids if len(some) < size else [], some)))
            if len(some) < size:
                break
        after = window[-1]
        yield Progress(after)


def _delete_events(due: Due, ids: Sequence[UUID], decision_ids: Sequence[int]) -> dict[str, int]:
    gone = {"decisions": _delete_by_id(Decision, due, decision_ids)}
    if ids:
        gone["events"] = delete(due.events().filter(id__in=ids))
    return gone


def executions(due: Due, turns: Turns, after: UUID | None) -> Iterator[Progress]:
    """Prune executions with their runs and the steps of those.

    Args:
        due: What is due.
        turns: Runs the transactions.
        after: Where an earlier sweep stood.
    """
    size, bound = due.policy.batch_size, uuid7_floor(max(due.runs_before, due.failed_runs_before))
    rows = Execution.objects.using(due.using).filter(id__lt=bound).order_by("id")
    while window := list(rows.filter(id__gt=after or UUID(int=0)).values_list("id", flat=True)[:size]):
        ids = list(due.executions().filter(id__in=window).order_by("id").values_list("id", flat=True))
        for pack in _packs(_weights(due, ids), size):
            while True:
                gone, whole = turns.run(partial(_delete_pack, due, pack))
                yield Progress(after, gone)
                if whole:
                    break
        after = window[-1]
        yield Progress(after)


def _weights(due: Due, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return how many steps each execution has, at least 1."""
    runs = ExecutionRun.objects.using(due.using).filter(execution_id__in=ids).order_by()
    weights = Counter(dict.fromkeys(ids, 1))
    for execution_id, steps in runs.values_list("execution_id").annotate(rows=Count("steps")):
        weights[execution_id] = max(steps, 1)
    return weights


def _packs(weights: Mapping[UUID, int], size: int) -> Iterator[list[UUID]]:
    """Group executions so that a group has no more than a batch of steps, unless it is one execution alone."""
    pack: list[UUID] = []
    weight = 0
    for key, rows in weights.items():
        if pack and weight + rows > size:
            yield pack
            pack, weight = [], 0
        pack.append(key)
        weight += rows
    if pack:
        yield pack


def _delete_pack(due: Due, pack: Sequence[UUID]) -> tuple[dict[str, int], bool]:
    """Delete what is still due of some executions; of a very large one, a part of its steps."""
    size = due.policy.batch_size
    # Locked before its first row goes, so that a replay that begins meanwhile finds all of it or nothing.
    free = due.executions().filter(id__in=pack).order_by("id").select_for_update(skip_locked=True)
    ids = list(free.values_list("id", flat=True))
    runs = ExecutionRun.objects.using(due.using).filter(execution_id__in=ids)
    run_ids = list(runs.values_list("id", flat=True))
    steps = StepRun.objects.using(due.using).filter(run_id__in=run_ids)
    gone: dict[str, int] = defaultdict(int)
    some = list(steps.order_by().values_list("id", flat=True)[: size + 1]) if run_ids else []
    gone["steps"] = _delete_by_id(StepRun, due, some[:size])
    if len(some) > size:
        return gone, False
    gone["runs"] = delete(runs.filter(id__in=run_ids)) if run_ids else 0
    gone["executions"] = delete(due.executions().filter(id__in=ids)) if ids else 0
    return gone, True


def _delete_by_id(model: type[Model], due: Due, ids: Sequence[Any]) -> int:
    return delete(model._default_manager.using(due.using).filter(pk__in=ids)) if ids else 0
