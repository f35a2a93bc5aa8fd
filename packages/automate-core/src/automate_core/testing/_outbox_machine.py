"""The contract as a state machine: any history of calls must leave what a small model says."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from automate_core.errors import LeaseLostError
from automate_core.outbox import JobStatus, NewJob, OutboxItem, OutboxStore
from automate_core.testing._outbox_harness import LATER, SOON
from automate_core.testing._outbox_many import ENDINGS, OutboxMany

__all__ = ["run_outbox_machine"]

_WAITING = (JobStatus.PENDING, JobStatus.RETRY)
_MAX_CRASHES = 3

stores = st.sampled_from([0, 1])
workers = st.sampled_from(["a", "a", "b"])
picks = st.integers(0, 2**16)


@dataclass(eq=False)
class _Claim:
    store: int
    worker: str
    item_id: int
    token: str


@dataclass
class _Row:
    max_attempts: int
    due: bool
    key: tuple[str, str] | None = None
    status: JobStatus = JobStatus.PENDING
    attempts: int = 0
    crashes: int = 0
    claim: _Claim | None = None
    completed_by: str = ""
    expired: bool = False

    def take(self, claim: _Claim) -> None:
        self.status, self.attempts, self.claim, self.expired = JobStatus.CLAIMED, self.attempts + 1, claim, False

    def end(self, status: JobStatus) -> None:
        self.status, self.claim, self.expired = status, None, False


class _Machine(RuleBasedStateMachine):
    """Two store objects, two worker names, and every claim ever made, stale ones included."""

    harness: OutboxMany

    def __init__(self) -> None:
        super().__init__()
        self.harness.clear()
        self.stores: list[OutboxStore] = [self.harness.make_store(), self.harness.make_store()]
        self.rows: dict[int, _Row] = {}
        self.claims: list[_Claim] = []

    def _took(self, store: int, worker: str, item: OutboxItem) -> None:
        claim = _Claim(store, worker, item.id, item.lease_token)
        row = self.rows[item.id]
        assert row.status in _WAITING, "an item was claimed that somebody holds, or that is finished"
        assert all(item.lease_token != other.token for other in self.claims if other.item_id == item.id)
        row.take(claim)
        assert (item.attempts, item.crashes, item.lease_owner) == (row.attempts, row.crashes, worker)
        self.claims.append(claim)

    def _claimable(self, *, waiting_too: bool = False) -> set[int]:
        """Return the items that may be claimed now: of a key only the first, and none while one is held."""
        found = set()
        for item_id, row in self.rows.items():
            alive = (*_WAITING, JobStatus.CLAIMED)
            others = [n for n, other in self.rows.items() if row.key and other.key == row.key and other.status in alive]
            is_first = not row.key or min(others, default=0) == item_id
            if row.status in _WAITING and is_first and (row.due or waiting_too):
                found.add(item_id)
        return found

    def _took_batch(self, store: int, worker: str, items: list[OutboxItem], limit: int) -> None:
        due = self._claimable()
        assert len(items) == min(limit, len(due)), "a claim left out what was due, or brought more"
        assert {item.id for item in items} <= due, "an item was claimed whose turn it was not"
        for item in items:
            self._took(store, worker, item)

    def _pick(self, pick: int, ids: list[int]) -> int:
        return ids[pick % len(ids)]

    # -- adding and claiming ----------------------------------------------------------------------------------------

    @rule(
        max_attempts=st.integers(1, 4),
        due=st.booleans(),
        priority=st.integers(-1, 1),
        tenant=st.sampled_from(["", "", "t"]),
        key=st.sampled_from(["", "", "k", "l"]),
        count=st.integers(1, 3),
    )
    def add(self, max_attempts: int, due: bool, priority: int, tenant: str, key: str, count: int) -> None:
        place = {"tenant": tenant, "ordering_key": key, "priority": priority}
        job = NewJob("test", max_attempts=max_attempts, due=None if due else LATER, **place)  # type: ignore[arg-type]
        for item_id in self.stores[0].add([job] * count):
            self.rows[item_id] = _Row(max_attempts, due, (tenant, key) if key else None)

    @rule(store=stores, worker=workers, max_attempts=st.integers(1, 4), count=st.integers(1, 3))
    def add_claimed(self, store: int, worker: str, max_attempts: int, count: int) -> None:
        jobs = [NewJob("test", max_attempts=max_attempts)] * count
        for item in self.stores[store].add_claimed_many(worker, jobs):
            self.rows[item.id] = _Row(max_attempts, due=True)
            self._took(store, worker, item)

    @rule(store=stores, worker=workers, limit=st.integers(1, 4))
    def claim_batch(self, store: int, worker: str, limit: int) -> None:
        self._took_batch(store, worker, self.stores[store].claim_batch(worker, limit), limit)

    @precondition(lambda self: self.rows)
    @rule(store=stores, worker=workers, pick=picks, due_only=st.booleans())
    def claim_job(self, store: int, worker: str, pick: int, due_only: bool) -> None:
        item_id = self._pick(pick, list(self.rows))
        item = self.stores[store].claim_job(worker, item_id, due_only=due_only)
        assert (item is not None) == (item_id in self._claimable(waiting_too=not due_only))
        if item is not None:
            self._took(store, worker, item)

    # -- ending claims, live and stale ------------------------------------------------------------------------------

    def _is_impostor(self, claim: _Claim) -> bool:
        """Whether somebody else holds the item now, under the same name: the calls that only a token can refuse."""
        holder = self.rows[claim.item_id].claim
        return holder is not None and holder is not claim and holder.worker == claim.worker

    def _addressed(self, claim: _Claim, by_token: bool) -> _Claim:
        """Return the claim that a call means: the given one, or the last that this store remembers for the worker."""
        if by_token:
            return claim
        who = (claim.store, claim.worker, claim.item_id)
        return [other for other in self.claims if (other.store, other.worker, other.item_id) == who][-1]

    @precondition(lambda self: self.claims)
    @rule(
        pick=picks,
        by_token=st.booleans(),
        through=stores,
        how=st.sampled_from(["mark_success", "mark_failed", "mark_retry", "release", "renew", "renew_many"]),
        due=st.booleans(),
        impostor=st.booleans(),
    )
    def end(self, pick: int, by_token: bool, through: int, how: str, due: bool, impostor: bool) -> None:
        claims = (impostor and [claim for claim in self.claims if self._is_impostor(claim)]) or self.claims
        claim = claims[pick % len(claims)]
        meant = self._addressed(claim, by_token)
        store = self.stores[through if by_token else claim.store]
        row = self.rows[claim.item_id]
        call = getattr(self, f"_{how}")
        live = row.claim is meant
        try:
            call(store, claim, meant.token if by_token else None, row if live else None, due)
        except LeaseLostError:
            assert not live, f"{how} was refused to the holder"
        else:
            assert live, f"{how} was granted to a stale caller"

    def _mark_success(self, store: OutboxStore, claim: _Claim, token: str | None, row: _Row | None, due: bool) -> None:
        store.mark_success(claim.item_id, claim.worker, lease_token=token)
        if row:
            row.completed_by = row.claim.token if row.claim else ""
            row.end(JobStatus.COMPLETED)

    def _mark_failed(self, store: OutboxStore, claim: _Claim, token: str | None, row: _Row | None, due: bool) -> None:
        store.mark_failed(claim.item_id, claim.worker, "wrong", lease_token=token)
        if row:
            row.end(JobStatus.FAILED)

    def _mark_retry(self, store: OutboxStore, claim: _Claim, token: str | None, row: _Row | None, due: bool) -> None:
        status = store.mark_retry(claim.item_id, claim.worker, SOON if due else LATER, "busy", lease_token=token)
        if row:
            assert status is (JobStatus.FAILED if row.attempts >= row.max_attempts else JobStatus.RETRY)
            row.end(status)
            row.due = due

    def _release(self, store: OutboxStore, claim: _Claim, token: str | None, row: _Row | None, due: bool) -> None:
        store.release(claim.item_id, claim.worker, lease_token=token)
        if row:
            row.attempts -= 1
            row.end(JobStatus.RETRY if row.attempts else JobStatus.PENDING)

    def _renew(self, store: OutboxStore, claim: _Claim, token: str | None, row: _Row | None, due: bool) -> None:
        store.renew(claim.item_id, claim.worker, lease_token=token)
        if row:
            row.expired = False

    def _renew_many(self, store: OutboxStore, claim: _Claim, token: str | None, row: _Row | None, due: bool) -> None:
        ids: Any = {claim.item_id: token} if token else [claim.item_id]
        if store.renew_many(ids, claim.worker):
            raise LeaseLostError("named as lost")
        if row:
            row.expired = False

    # -- many at once -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.claims)
    @rule(
        chosen=st.lists(picks, min_size=1, max_size=5),
        worker=workers,
        through=stores,
        how=st.sampled_from(sorted(ENDINGS)),
        crossed=st.booleans(),
        limit=st.integers(1, 3),
    )
    def end_many(self, chosen: list[int], worker: str, through: int, how: str, crossed: bool, limit: int) -> None:
        """Any mix of claims, live, stale and of others; sometimes with each other's tokens."""
        claims = [self.claims[pick % len(self.claims)] for pick in chosen]
        tokens = [claim.token for claim in claims]
        if crossed:
            tokens = [*tokens[1:], tokens[0]]
        given = {claim.item_id: token for claim, token in zip(claims, tokens, strict=True)}
        live = set()
        for item_id, token in given.items():
            holder = self.rows[item_id].claim
            if holder and (holder.worker, holder.token) == (worker, token):
                live.add(item_id)
        items: list[OutboxItem] = []
        with self.harness.in_transaction() if how == "hold_many" else nullcontext():
            if how == "complete_and_claim":
                lost, items = self.stores[through].complete_and_claim(given, worker, limit)
            else:
                lost = ENDINGS[how](self.stores[through], given, worker)
        assert lost == given.keys() - live, f"{how} named other claims as lost"
        for item_id in live:
            self._ended_by(how, self.rows[item_id])
        if how == "complete_and_claim":
            self._took_batch(through, worker, items, limit)

    def _ended_by(self, how: str, row: _Row) -> None:
        if how in {"mark_success_many", "complete_and_claim"}:
            row.completed_by = row.claim.token if row.claim else ""
            row.end(JobStatus.COMPLETED)
        elif how == "mark_failed_many":
            row.end(JobStatus.FAILED)
        elif how == "mark_retry_many":
            row.end(JobStatus.FAILED if row.attempts >= row.max_attempts else JobStatus.RETRY)
            row.due = False
        elif how == "release_many":
            row.attempts -= 1
            row.end(JobStatus.RETRY if row.attempts else JobStatus.PENDING)
        elif how == "reschedule_many":
            row.attempts, row.crashes, row.due = 0, 0, False
            row.end(JobStatus.PENDING)
        elif how == "renew_many":
            row.expired = False

    @precondition(lambda self: self.claims)
    @rule(chosen=st.lists(picks, min_size=1, max_size=5))
    def ask_who_completed(self, chosen: list[int]) -> None:
        claims = [self.claims[pick % len(self.claims)] for pick in chosen]
        given = {claim.item_id: claim.token for claim in claims}
        done = {item_id for item_id, token in given.items() if self.rows[item_id].completed_by == token}
        assert self.stores[0].completed_by(given) == done

    # -- time and reaping -------------------------------------------------------------------------------------------

    @precondition(lambda self: any(row.claim for row in self.rows.values()))
    @rule(pick=picks)
    def expire(self, pick: int) -> None:
        item_id = self._pick(pick, [item_id for item_id, row in self.rows.items() if row.claim])
        self.harness.expire_lease(item_id)
        self.rows[item_id].expired = True

    @precondition(lambda self: any(row.status in _WAITING and not row.due for row in self.rows.values()))
    @rule(pick=picks)
    def make_due(self, pick: int) -> None:
        waiting = [item_id for item_id, row in self.rows.items() if row.status in _WAITING and not row.due]
        item_id = self._pick(pick, waiting)
        self.harness.make_due(item_id)
        self.rows[item_id].due = True

    @rule()
    def reap(self) -> None:
        stale = [row for row in self.rows.values() if row.claim and row.expired]
        assert self.harness.reap(max_crashes=_MAX_CRASHES) == len(stale)
        for row in stale:
            row.crashes += 1
            dead = row.crashes >= _MAX_CRASHES or row.attempts >= row.max_attempts
            row.end(JobStatus.FAILED if dead else JobStatus.RETRY)

    @invariant()
    def the_rows_say_what_the_model_says(self) -> None:
        stored = self.harness.rows()
        assert stored.keys() == self.rows.keys()
        for item_id, row in self.rows.items():
            found = stored[item_id]
            owner, token = (row.claim.worker, row.claim.token) if row.claim else ("", row.completed_by)
            assert (found.status, found.attempts, found.crashes) == (row.status, row.attempts, row.crashes)
            assert (found.lease_owner, found.lease_token) == (owner, token)

    @rule()
    def look_for_the_next_due_time(self) -> None:
        waiting = self._claimable(waiting_too=True)
        seconds = self.stores[0].seconds_until_due()
        if not waiting:
            assert seconds is None
        elif any(self.rows[item_id].due for item_id in waiting):
            assert seconds == 0.0
        else:
            assert seconds is not None
            assert 0 < seconds <= LATER / timedelta(seconds=1)


def run_outbox_machine(harness: OutboxMany, examples: int) -> None:
    """Run random histories.

    Args:
        harness: The store under test.
        examples: How many histories.
    """
    machine = type("OutboxMachine", (_Machine,), {"harness": harness})
    options = settings(
        max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=options)
