"""The part of the contract about many claims in one call: each is fenced by its own token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import pytest

from automate_core.errors import OutboxError
from automate_core.outbox import Claims, JobStatus, NewJob, OutboxItem, OutboxStore
from automate_core.testing._outbox_harness import LATER, SOON, OutboxHarness

__all__ = ["ENDINGS", "OutboxMany"]

Ending = Callable[[OutboxStore, Claims, str], set[int]]


def _retry(store: OutboxStore, claims: Claims, worker: str) -> set[int]:
    return set(claims) - store.mark_retry_many(claims, worker, dict.fromkeys(claims, (LATER, "busy"))).keys()


def _fail(store: OutboxStore, claims: Claims, worker: str) -> set[int]:
    return store.mark_failed_many(claims, worker, dict.fromkeys(claims, "no"))


def _reschedule(store: OutboxStore, claims: Claims, worker: str) -> set[int]:
    return store.reschedule_many(claims, worker, dict.fromkeys(claims, LATER))


ENDINGS: dict[str, Ending] = {
    "mark_success_many": lambda store, claims, worker: store.mark_success_many(claims, worker),
    "mark_failed_many": _fail,
    "mark_retry_many": _retry,
    "release_many": lambda store, claims, worker: store.release_many(claims, worker),
    "reschedule_many": _reschedule,
    "complete_and_claim": lambda store, claims, worker: store.complete_and_claim(claims, worker, 1)[0],
    "renew_many": lambda store, claims, worker: store.renew_many(claims, worker),
    "hold_many": lambda store, claims, worker: store.hold_many(claims, worker),
}
"""Every call that names claims, as one that returns the lost ones."""
KEEPING = {"renew_many", "hold_many"}


class OutboxMany(OutboxHarness):
    """Calls for many items."""

    def in_transaction(self) -> AbstractContextManager[Any]:
        """Return a transaction, where the store takes part in one."""
        return self.atomic() if self.supports_transactions else nullcontext()

    def held(self, store: OutboxStore, count: int, worker_id: str = "w", **fields: Any) -> list[OutboxItem]:
        """Write items that are claimed.

        Args:
            store: The store.
            count: How many.
            worker_id: Who holds them.
            **fields: Of :class:`~automate_core.outbox.NewJob`.
        """
        return store.add_claimed_many(worker_id, [NewJob(**{"kind": "test", **fields})] * count)

    def lost_claims(self, store: OutboxStore) -> dict[int, str]:
        """Return claims that are not live, or not of worker ``w``.

        Args:
            store: The store.
        """
        taken, done, released = self.held(store, 3)
        self.expire_lease(taken.id)
        assert self.reap() == 1
        assert self.make_store().claim_job("w", taken.id)
        store.mark_success(done.id, "w")
        store.release(released.id, "w")
        assert self.make_store().claim_job("v", released.id)
        (foreign,) = self.held(self.make_store(), 1, "v")
        items = (taken, done, released, foreign)
        return {**{item.id: item.lease_token for item in items}, 10**9: "0" * 32}

    @pytest.mark.parametrize("how", ENDINGS)
    def test_what_is_live_is_written_and_what_is_lost_is_named(self, how: str) -> None:
        """Live claims of two batches, beside claims that were taken away, finished, handed back, or never there.

        Args:
            how: The call.
        """
        store = self.make_store()
        live = [*self.held(store, 3), *self.held(store, 2)]
        lost = self.lost_claims(store)
        before = self.rows()
        claims = {**{item.id: item.lease_token for item in live}, **lost}
        with self.in_transaction():
            assert ENDINGS[how](store, claims, "w") == set(lost)
        after = self.rows()
        assert {item_id: row for item_id, row in after.items() if item_id in lost} == {
            item_id: row for item_id, row in before.items() if item_id in lost
        }
        statuses = {after[item.id].status for item in live}
        assert (statuses == {JobStatus.CLAIMED}) == (how in KEEPING)

    @pytest.mark.parametrize("how", ENDINGS)
    def test_a_token_counts_for_its_own_item_alone(self, how: str) -> None:
        """Tokens of two live claims of one worker, the wrong way round.

        Args:
            how: The call.
        """
        store = self.make_store()
        (one,), (two,) = self.held(store, 1), self.held(store, 1)
        before = self.rows()
        crossed = {one.id: two.lease_token, two.id: one.lease_token}
        with self.in_transaction():
            assert ENDINGS[how](self.make_store(), crossed, "w") == {one.id, two.id}
        assert self.rows() == before

    @pytest.mark.parametrize("how", ENDINGS)
    def test_the_store_remembers_the_tokens_of_ids(self, how: str) -> None:
        """Of its own claims; of no others, and of none when a claim has ended.

        Args:
            how: The call.
        """
        store, other = self.make_store(), self.make_store()
        mine, foreign = self.held(store, 3), self.held(other, 2)
        ids = [item.id for item in mine + foreign]
        lost = {item.id for item in foreign}
        with self.in_transaction():
            assert ENDINGS[how](store, ids, "w") == lost
            assert ENDINGS[how](store, [], "w") == set()
        with self.in_transaction():
            again = ENDINGS[how](store, ids, "w")
        assert again == (lost if how in KEEPING else set(ids))

    def test_each_item_has_its_own_time_and_reason(self) -> None:
        """Retries: some are the last, some are due at once."""
        store = self.make_store()
        last, soon, late = (*self.held(store, 1, max_attempts=1), *self.held(store, 2, max_attempts=2))
        retries = {last.id: (SOON, "one"), soon.id: (SOON, "two"), late.id: (LATER, "three")}
        expected = {last.id: JobStatus.FAILED, soon.id: JobStatus.RETRY, late.id: JobStatus.RETRY}
        assert store.mark_retry_many([late.id, last.id, soon.id], "w", retries) == expected
        rows = self.rows()
        assert [rows[item_id].last_error for item_id in retries] == ["one", "two", "three"]
        assert [item.id for item in store.claim_batch("w")] == [soon.id]

    def test_a_failure_of_one_cause_has_one_fingerprint(self) -> None:
        """Written wherever an item fails, and nowhere else."""
        store = self.make_store()
        errors = ["order 17 of 'ada' is gone", "order 4711 of 'bob' is gone", "timeout"]
        failed = [item.id for item in self.held(store, 3)]
        assert store.mark_failed_many(failed, "w", dict(zip(failed, errors, strict=True))) == set()
        retried = self.held(store, 2, max_attempts=1) + self.held(store, 1, max_attempts=2)
        assert (
            len(store.mark_retry_many({i.id: "" for i in retried}, "w", {i.id: (SOON, errors[0]) for i in retried}))
            == 3
        )
        rows = self.rows()
        first, second, third = (rows[item_id].fingerprint for item_id in failed)
        assert first == second != third
        assert len(first) == 16
        assert [rows[item.id].fingerprint for item in retried] == [first, first, ""]
        crashed = self.held(store, 2, max_attempts=1)
        for item in crashed:
            self.expire_lease(item.id)
        assert self.reap() == 2
        assert len({self.row(item.id).fingerprint for item in crashed} - {""}) == 1

    def test_a_planned_wait_is_no_attempt(self) -> None:
        """Rescheduled: the same row, as if it had never been tried."""
        store = self.make_store()
        (crashed,) = self.held(store, 1, max_attempts=2)
        self.expire_lease(crashed.id)
        assert self.reap() == 1
        (item,) = store.claim_batch("w")
        (other,) = self.held(store, 1, max_attempts=2)
        assert (item.attempts, item.crashes) == (2, 1)
        assert store.reschedule_many([item.id, other.id], "w", {item.id: LATER, other.id: SOON}) == set()
        row = self.row(item.id)
        assert (row.status, row.attempts, row.crashes, row.lease_owner) == (JobStatus.PENDING, 0, 0, "")
        assert [one.id for one in store.claim_batch("w")] == [other.id]
        self.make_due(item.id)
        (again,) = store.claim_batch("w")
        assert (again.id, again.attempts) == (item.id, 1)

    def test_completed_under_a_token_can_be_asked(self) -> None:
        """For a caller whose COMMIT had no answer: was it this claim?"""
        store = self.make_store()
        mine, theirs, failed, open_ = self.held(store, 4)
        assert store.mark_success_many([mine.id, theirs.id], "w") == set()
        store.mark_failed(failed.id, "w", "no")
        claims = {item.id: item.lease_token for item in (mine, failed, open_)}
        assert store.completed_by({**claims, theirs.id: "0" * 32, 10**9: mine.lease_token}) == {mine.id}
        assert self.make_store().completed_by({mine.id: mine.lease_token}) == {mine.id}
        assert store.completed_by({}) == set()

    def test_completing_brings_the_next_items(self) -> None:
        """Up to the limit, of the wanted kinds; also with nothing to complete."""
        store = self.make_store()
        ids = store.add([NewJob("test") for _ in range(5)] + [NewJob("other")])
        lost, first = store.complete_and_claim([], "w", 2, kinds=["test"])
        assert (lost, [item.id for item in first]) == (set(), ids[:2])
        lost, second = store.complete_and_claim([item.id for item in first], "w", 10, kinds=["test"])
        assert (lost, [item.id for item in second]) == (set(), ids[2:5])
        assert {item.attempts for item in second} == {1}
        lost, rest = store.complete_and_claim({item.id: item.lease_token for item in second}, "w", 0)
        assert (lost, rest) == (set(), [])
        assert {self.row(item_id).status for item_id in ids[:5]} == {JobStatus.COMPLETED}
        assert self.row(ids[5]).status is JobStatus.PENDING

    def test_items_born_claimed_have_one_token(self) -> None:
        """And come in the order of the jobs."""
        store = self.make_store()
        items = store.add_claimed_many("w", [NewJob("test", {"n": n}, tenant=f"t{n}") for n in range(30)])
        assert [(item.payload, item.tenant) for item in items] == [({"n": n}, f"t{n}") for n in range(30)]
        assert len({item.lease_token for item in items}) == 1
        assert store.add_claimed_many("w", []) == []
        with pytest.raises(OutboxError):
            store.add_claimed_many("w", [NewJob("test"), NewJob("test", ordering_key="k")])
        assert len(self.rows()) == 30
        assert store.mark_success_many([item.id for item in items], "w") == set()

    def test_an_entry_that_is_missing_stops_the_call(self) -> None:
        """Nothing is written."""
        store = self.make_store()
        ids = [item.id for item in self.held(store, 2)]
        before = self.rows()
        some: Mapping[int, Any] = {ids[0]: timedelta()}
        calls: list[Callable[[], Any]] = [
            lambda: store.mark_failed_many(ids, "w", {ids[0]: "no"}),
            lambda: store.mark_retry_many(ids, "w", {ids[0]: (SOON, "no")}),
            lambda: store.reschedule_many(ids, "w", some),
        ]
        for call in calls:
            with pytest.raises(OutboxError):
                call()
        assert self.rows() == before
