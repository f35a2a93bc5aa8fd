"""Group commit: what became of many items is made durable in one transaction, and each goes on only after that."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from itertools import chain
from typing import Any
from uuid import UUID

from automate_core.errors import ArtifactUnavailable, ConfigurationError, LeaseLostError
from automate_core.outbox import NewJob, OutboxItem
from automate_outbox.counters import Counters
from automate_outbox.store import DatabaseOutboxStore
from django.db import connection, transaction
from django.utils import timezone

from automate.artifacts import Owner, keep
from automate.artifacts.files import in_row
from automate.models import Decision, ExecutionRun, RunStatus, StepRun
from automate.models.bulk import insert_rows
from automate.runtime.admission import admit, exclusive_keys, lock_keys
from automate.runtime.changes import RunChange, keep_outputs, write_changes
from automate.runtime.connections import AWAY, pipelined, tidy_connections
from automate.runtime.denials import record_denials
from automate.runtime.refusals import Refusals, Trouble

__all__ = ["Births", "ClaimRequest", "End", "Entry", "Journal"]

logger = logging.getLogger("automate.runtime")


class End(Enum):
    """What becomes of the claim of an item."""

    HOLD = "hold"
    """It goes on: this is a checkpoint."""
    COMPLETE = "complete"
    RESCHEDULE = "reschedule"
    """It waits for a time, which is no failure."""
    RELEASE = "release"
    """It is handed back, the attempt uncharged."""


@dataclass(slots=True)
class Births:
    """What a decided event starts.

    Args:
        decisions: Why.
        runs: The new runs, each with its new execution.
        jobs: The outbox jobs that carry them, one each.
        claims_first: Whether the first job, if there is one, is born claimed, so that its run goes on at once.
        first: Its item, once it is written.
    """

    decisions: list[Decision]
    runs: list[ExecutionRun] = field(default_factory=list)
    jobs: list[NewJob] = field(default_factory=list)
    claims_first: bool = True
    first: OutboxItem | None = None

    @property
    def claimed(self) -> list[tuple[ExecutionRun, NewJob]]:
        """The run that goes on at once, with its job: one or none."""
        return self._carried()[:1] if self.claims_first else []

    @property
    def waiting(self) -> list[tuple[ExecutionRun, NewJob]]:
        """The runs that wait in the outbox, each with its job."""
        return self._carried()[1:] if self.claims_first else self._carried()

    def _carried(self) -> list[tuple[ExecutionRun, NewJob]]:
        return list(zip(self.runs, self.jobs, strict=True))


@dataclass(slots=True)
class Entry:
    """What one item wants to be made durable, all of it or nothing.

    Args:
        item: The claimed item; nothing is written unless its claim is live.
        end: What becomes of the claim.
        steps: Step rows to insert.
        change: What changes in the row of its run.
        births: What it starts.
        due: With RESCHEDULE, when it goes on.
        again: Whether it may have been written before, by a flush whose answer was lost.
        trouble: What it has been through where the database failed on it alone.
        settled: Called after the commit with None, or with why nothing was written: a
            :class:`~automate_core.errors.LeaseLostError`, or what the database said about this entry alone.
    """

    item: OutboxItem
    end: End
    settled: Callable[[Exception | None], None]
    steps: list[StepRun] = field(default_factory=list)
    change: RunChange | None = None
    births: Births | None = None
    due: datetime | timedelta | None = None
    again: bool = False
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """New items to be claimed with the same commit.

    Args:
        limit: How many at the most.
        kinds: Only these kinds.
        queues: Only these queues; None means all.
    """

    limit: int
    kinds: Sequence[str]
    queues: Sequence[str] | None = None


class Journal:
    """Collects entries and writes them together. It belongs to one thread.

    An entry whose claim was lost is left out, and one that the database refuses ends up alone: neither keeps the
    others from their commit. One on which the database fails although it answers is kept, and tried again now and then.

    Args:
        store: The store that claimed the items.
        worker_id: Who claimed them.
        counters: Counts what became of them.

    Attributes:
        since: ``time.monotonic()`` when the oldest entry came.
    """

    def __init__(self, store: DatabaseOutboxStore, worker_id: str, counters: Counters) -> None:
        self.store, self.worker_id, self._counters = store, worker_id, counters
        self._entries: list[Entry] = []
        self._refusals = Refusals()
        self.since = 0.0

    def __len__(self) -> int:
        """How many entries the next flush would write; those that are kept for later do not count."""
        return len(self._entries) + self._refusals.count_due()

    @property
    def refused(self) -> Exception | None:
        """What the database said where it failed on entries that are kept for later; None where there are none."""
        return self._refusals.error

    def add(self, entry: Entry) -> None:
        """Add an entry; an item has one at a time.

        Args:
            entry: The entry.
        """
        if not self._entries:
            self.since = time.monotonic()
        self._entries.append(entry)

    def flush(self, claim: ClaimRequest | None = None) -> list[OutboxItem]:
        """Write all entries in one transaction, and claim with it.

        Args:
            claim: What to claim, if anything.

        Returns:
            The claimed items.

        Raises:
            OperationalError, InterfaceError, InternalError: If the database is away. The entries are kept for the next
                flush, which recognises those that were written although the answer was lost.
        """
        self._write_apart(deque([entry] for entry in self._refusals.take_due()))
        if not self._entries:
            return self._claim(claim)
        entries, self._entries = self._entries, []
        try:
            lost, claimed = self._write(entries, claim)
        except Exception as error:
            _renew(entries, error)
            if _is_away(error):
                self._entries = entries + self._entries
                raise
            logger.debug("A group of %s entries is written in parts: %s", len(entries), error)
            self._write_apart(deque(_halves(entries)))
            return self._claim(claim)
        self._settle(entries, lost)
        return claimed

    def _claim(self, claim: ClaimRequest | None) -> list[OutboxItem]:
        if claim is None or claim.limit <= 0:
            return []
        return self.store.claim_batch(self.worker_id, claim.limit, kinds=claim.kinds, queues=claim.queues)

    def _write_apart(self, parts: deque[list[Entry]]) -> None:
        """Write groups one after the other, one that fails in halves, so that a refused entry keeps no other waiting.

        Args:
            parts: The groups.
        """
        while parts:
            part = parts.popleft()
            try:
                lost, _ = self._write(part, None)
            except Exception as error:
                _renew(part, error)
                if _is_away(error):
                    self._entries = [*part, *chain.from_iterable(parts), *self._entries]
                    raise
                if len(part) == 1:
                    self._refuse(part[0], error)
                else:
                    parts.extendleft(reversed(_halves(part)))
            else:
                self._settle(part, lost)

    def _refuse(self, entry: Entry, error: Exception) -> None:
        """Find out what becomes of an entry that was not written although the database answers."""
        if isinstance(error, AWAY) and self._refusals.keep(entry, error):
            return
        if isinstance(error, ArtifactUnavailable | ConfigurationError):
            with suppress(ArtifactUnavailable, ConfigurationError):  # the same one again
                if _fill_rows(entry, error):
                    self.add(entry)
                    return
        entry.settled(error)

    def _settle(self, entries: Iterable[Entry], lost: set[int]) -> None:
        for entry in entries:
            if entry.item.id in lost:
                self._counters.stale_refused += 1
                entry.settled(LeaseLostError(f"Item {entry.item.id} was taken over.", context={"item": entry.item.id}))
            else:
                self._refusals.note_written(entry)
                self._counters.completed += entry.end is End.COMPLETE
                self._counters.released += entry.end is End.RELEASE
                entry.settled(None)

    # -- one transaction --------------------------------------------------------------------------------------------

    def _write(self, entries: list[Entry], claim: ClaimRequest | None) -> tuple[set[int], list[OutboxItem]]:
        if all(_is_bare(entry) for entry in entries):
            return self._complete(entries, claim)
        with transaction.atomic():
            lock_keys(exclusive_keys(run for entry in entries if entry.births for run in entry.births.runs))
            lost = self._end_claims(entries)
            alive = [entry for entry in entries if entry.item.id not in lost]
            births = [entry.births for entry in alive if entry.births is not None]
            self._claim_first(births)
            steps, changes = _new_steps(alive), [entry.change for entry in alive if entry.change is not None]
            keep(uses_of(steps))
            keep_outputs(changes)
            with pipelined():
                insert_rows(steps)
                # Before the births: what has ended keeps no run of its key from starting, and is not cancelled by it.
                write_changes(changes)
            self._give_birth(births)
            lost -= self._written_before(entries, lost)
            claimed = self._claim(claim)
            record_denials(steps)  # last: nobody waits for a lock while he holds that of the audit log
            return lost, claimed

    def _complete(self, entries: list[Entry], claim: ClaimRequest | None) -> tuple[set[int], list[OutboxItem]]:
        claims = _claims(entries)
        if claim is None or claim.limit <= 0:
            return self.store.mark_success_many(claims, self.worker_id), []
        return self.store.complete_and_claim(
            claims, self.worker_id, claim.limit, kinds=claim.kinds, queues=claim.queues
        )

    def _end_claims(self, entries: list[Entry]) -> set[int]:
        """End or hold every claim, and return the items whose claim was not live."""
        store, worker_id = self.store, self.worker_id
        by_end: dict[End, list[Entry]] = {}
        for entry in entries:
            by_end.setdefault(entry.end, []).append(entry)
        lost: set[int] = set()
        if held := by_end.get(End.HOLD):
            lost |= store.hold_many(_claims(held), worker_id)
        if done := by_end.get(End.COMPLETE):
            lost |= store.mark_success_many(_claims(done), worker_id)
        if waiting := by_end.get(End.RESCHEDULE):
            dues = {entry.item.id: entry.due for entry in waiting if entry.due is not None}
            lost |= store.reschedule_many(_claims(waiting), worker_id, dues)
        if released := by_end.get(End.RELEASE):
            lost |= store.release_many(_claims(released), worker_id)
        return lost

    def _written_before(self, entries: list[Entry], lost: set[int]) -> set[int]:
        """Return which completions were written by the flush whose answer was lost."""
        doubtful = [e for e in entries if e.again and e.end is End.COMPLETE and e.item.id in lost]
        return self.store.completed_by(_claims(doubtful)) if doubtful else set()

    def _give_birth(self, births: list[Births]) -> None:
        if not births:
            return
        admission = admit([run for birth in births for run in birth.runs], self.store)
        waiting = [(run, job) for birth in births for run, job in birth.waiting if admission.starts(run)]
        job_ids = self.store.add([job for _, job in waiting]) if waiting else []
        for (run, _), job_id in zip(waiting, job_ids, strict=True):
            run.job_id = job_id
        runs = [run for birth in births for run in birth.runs if run.pk not in admission.skipped]
        admission.mark(runs)
        keep([(run.execution.context, Owner.EXECUTION, run.execution_id) for run in runs])
        decisions = [decision for birth in births for decision in admission.explain(birth.runs, birth.decisions)]
        with pipelined():
            insert_rows([run.execution for run in runs])
            insert_rows(runs)
            insert_rows(decisions)

    def _claim_first(self, births: list[Births]) -> None:
        """Write the items that are born claimed, and begin their runs."""
        claimed = [(birth, run, job) for birth in births for run, job in birth.claimed]
        if not claimed:
            return
        now, items = timezone.now(), self.store.add_claimed_many(self.worker_id, [job for *_, job in claimed])
        for (birth, run, _), item in zip(claimed, items, strict=True):
            birth.first = item
            run.job_id, run.status, run.started_at = item.id, RunStatus.RUNNING, now
            run.execution.status = RunStatus.RUNNING


def uses_of(steps: Iterable[StepRun]) -> list[tuple[Any, Owner, UUID]]:
    """Return what step rows hold, and whose it is; see :func:`automate.artifacts.keep`.

    Args:
        steps: The rows.
    """
    return [(value, Owner.RUN, step.run_id) for step in steps for value in (step.input, step.output)]


def _new_steps(entries: list[Entry]) -> list[StepRun]:
    """Return the step rows that are to be inserted: all but those which a flush whose answer was lost has written."""
    known = _known_steps([entry for entry in entries if entry.again])
    return [step for entry in entries for step in entry.steps if _key(step) not in known]


def _known_steps(entries: list[Entry]) -> set[tuple[UUID, str, int]]:
    """Return the checkpoints that are there already: nobody else writes them under a live claim, so they are ours."""
    runs = {step.run_id for entry in entries for step in entry.steps}
    return set(StepRun.objects.filter(run__in=runs).values_list("run", "step_id", "attempt")) if runs else set()


def _key(step: StepRun) -> tuple[UUID, str, int]:
    return step.run_id, step.step_id, step.attempt


def _halves(entries: list[Entry]) -> list[list[Entry]]:
    """Cut a group in two; of one entry there is one half, which is tried by itself."""
    middle = (len(entries) + 1) // 2
    return [half for half in (entries[:middle], entries[middle:]) if half]


def _is_bare(entry: Entry) -> bool:
    return entry.end is End.COMPLETE and not (entry.steps or entry.change or entry.births or entry.again)


def _claims(entries: Iterable[Entry]) -> dict[int, str]:
    return {entry.item.id: entry.item.lease_token for entry in entries}


def _renew(entries: list[Entry], error: Exception) -> None:
    """Make entries ready to be written again: keys that a rolled back INSERT gave out are not theirs."""
    for entry in entries:
        entry.again = entry.again or isinstance(error, AWAY)
        for step in entry.steps:
            step.pk = None
        for decision in entry.births.decisions if entry.births else ():
            decision.pk = None


def _fill_rows(entry: Entry, reason: Exception) -> bool:
    """Put the large values of what was done into the rows themselves, and return whether there were any."""
    filled = False
    for step in entry.steps:
        given, returned = step.input, step.output
        step.input, step.output = in_row(given, reason), in_row(returned, reason)
        filled = filled or step.input is not given or step.output is not returned
    if entry.change is not None:
        outputs = entry.change.outputs
        entry.change.outputs = in_row(outputs, reason)
        filled = filled or entry.change.outputs is not outputs
    return filled


def _is_away(error: Exception) -> bool:
    """Whether the database does not answer, not even over a new connection; where it does, it may be the entry."""
    if not isinstance(error, AWAY) or connection.in_atomic_block:
        return False
    try:
        tidy_connections()  # an entry too large for a packet costs the connection
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except AWAY:
        return True
    return False
