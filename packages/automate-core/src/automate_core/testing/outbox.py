"""What every outbox store must do, as a test class to subclass.

Name the store under test in a subclass whose name begins with ``Test``::

    class TestMyStore(OutboxStoreContract):
        def make_store(self, lease_seconds=30.0):
            return MyStore(lease_seconds)

        # and the other abstract methods: how to reap, to look at a row, to move time
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from automate_core.errors import InvalidPayloadError, OutboxError
from automate_core.outbox import JobStatus, NewJob
from automate_core.testing._outbox_harness import LATER, SOON, JobRow
from automate_core.testing._outbox_many import OutboxMany
from automate_core.testing._outbox_races import OutboxRaces
from automate_core.testing._outbox_turns import OutboxTurns

__all__ = ["JobRow", "OutboxStoreContract"]


class OutboxStoreContract(OutboxMany, OutboxTurns, OutboxRaces):
    """The contract. A store that passes it loses nothing, and lets no two workers hold one item."""

    # -- adding and claiming ----------------------------------------------------------------------------------------

    def test_what_was_added_is_claimed_whole(self) -> None:
        """The payload survives, the attempt is charged, the claim has a token and a lease."""
        store = self.make_store()
        payload = {
            "text": "naïve 🦓 \" \\u0000 '%s {x}",
            "n": [1, 2.5, -0.1, None, True, 2**60],
            "deep": {"a": {"b": []}},
        }
        item_id = self.add(store, kind="a.b", payload=payload, queue="q", tenant="t", max_attempts=7)
        (item,) = store.claim_batch("w", 10)
        assert item.id == item_id
        assert (item.kind, item.payload, item.queue, item.tenant, item.max_attempts) == ("a.b", payload, "q", "t", 7)
        assert (item.attempts, item.crashes, item.lease_owner) == (1, 0, "w")
        assert len(item.lease_token) >= 32
        assert item.lease_expires_at.utcoffset() == timedelta()
        row = self.row(item_id)
        assert (row.status, row.attempts, row.lease_token) == (JobStatus.CLAIMED, 1, item.lease_token)
        assert store.claim_batch("w", 10) == []

    def test_claims_go_by_priority_then_by_age_up_to_the_limit(self) -> None:
        """The order of a claim."""
        store = self.make_store()
        jobs = [NewJob("test", {"n": n}, priority=priority) for n, priority in enumerate([0, 5, 0, 5, -1])]
        ids = store.add(jobs)
        assert ids == sorted(ids)
        first = store.claim_batch("w", 3)
        assert [item.payload["n"] for item in first] == [1, 3, 0]
        assert [item.payload["n"] for item in store.claim_batch("w", 3)] == [2, 4]
        assert store.claim_batch("w", 0) == []

    def test_a_claim_takes_only_wanted_kinds_and_queues(self) -> None:
        """What a worker cannot handle waits for another one."""
        store = self.make_store()
        a, b, c = store.add([NewJob("a"), NewJob("b"), NewJob("a", queue="slow")])
        assert store.claim_batch("w", kinds=[]) == store.claim_batch("w", queues=()) == []
        assert [item.id for item in store.claim_batch("w", kinds=["a", "x"], queues=["default"])] == [a]
        assert [item.id for item in store.claim_batch("w", queues=["slow"])] == [c]
        assert store.seconds_until_due(["x"]) is None
        assert store.seconds_until_due(["b"]) == 0.0
        assert [item.id for item in store.claim_batch("w", kinds=["b"])] == [b]

    def test_nothing_is_claimed_before_its_time(self) -> None:
        """Due times, as a delay and as a moment."""
        store = self.make_store()
        assert store.seconds_until_due() is None
        delayed = self.add(store, due=LATER)
        left = store.seconds_until_due()
        assert left is not None
        assert 3500 < left <= 3600
        (now,) = store.claim_batch("w") or [self.claim(store)]
        dated = self.add(store, due=now.lease_expires_at + timedelta(days=300))
        past = self.add(store, due=now.lease_expires_at - timedelta(days=300))
        assert [item.id for item in store.claim_batch("w")] == [past]
        assert store.claim_job("w", delayed, due_only=True) is None
        self.make_due(delayed)
        assert [item.id for item in store.claim_batch("w")] == [delayed]
        assert self.row(dated).status is JobStatus.PENDING

    def test_many_items_are_added_in_order(self) -> None:
        """More than fit one statement; their ids come in the order of the jobs."""
        store = self.make_store()
        ids = store.add([NewJob("test", {"n": n}) for n in range(2050)])
        assert len(set(ids)) == 2050
        item = store.claim_job("w", ids[1999])
        assert item is not None
        assert item.payload == {"n": 1999}
        assert store.add([]) == []

    def test_one_given_item_is_claimed_if_nobody_holds_it(self) -> None:
        """``claim_job``: also before its time, never from somebody, never what is finished."""
        store, other = self.make_store(), self.make_store()
        item_id = self.add(store, due=LATER)
        item = store.claim_job("w", item_id)
        assert item is not None
        assert (item.id, item.attempts) == (item_id, 1)
        assert other.claim_job("w", item_id) is None
        assert store.mark_retry(item_id, "w", LATER) is JobStatus.RETRY
        again = other.claim_job("v", item_id)
        assert again is not None
        assert again.attempts == 2
        other.mark_success(item_id, "v")
        assert store.claim_job("w", item_id) is None
        assert store.claim_job("w", item_id + 1) is None

    def test_an_item_born_claimed_belongs_to_its_worker(self) -> None:
        """``add_claimed``: no other worker sees it, and a crash recovers it."""
        store, other = self.make_store(), self.make_store()
        item = store.add_claimed("w", NewJob("test", {"n": 1}, due=LATER))
        assert (item.attempts, item.lease_owner, item.payload) == (1, "w", {"n": 1})
        assert other.claim_batch("v") == []
        self.expire_lease(item.id)
        assert self.reap() == 1
        (again,) = other.claim_batch("v")
        assert (again.id, again.attempts, again.crashes) == (item.id, 2, 1)
        self.assert_refused(item.id, store, "w", None)
        self.assert_refused(item.id, store, "w", item.lease_token)

    # -- ending a claim ---------------------------------------------------------------------------------------------

    def test_terminal_states_are_final(self) -> None:
        """What is completed or failed is never claimed, reaped or changed again."""
        store = self.make_store()
        done, failed = self.claim(store), self.claim(store)
        store.mark_success(done.id, "w")
        store.mark_failed(failed.id, "w", "no such order")
        assert self.row(done.id).status is JobStatus.COMPLETED
        assert self.row(failed.id).status is JobStatus.FAILED
        assert self.row(failed.id).last_error == "no such order"
        for item in (done, failed):
            self.assert_refused(item.id, store, "w", None)
            self.assert_refused(item.id, store, "w", item.lease_token)
            assert self.row(item.id).lease_token == (item.lease_token if item is done else "")
        assert self.reap() == 0
        assert store.claim_batch("w") == []

    def test_a_retry_waits_for_its_time_and_keeps_its_error(self) -> None:
        """The next attempt has another token and is charged."""
        store = self.make_store()
        item = self.claim(store)
        assert store.mark_retry(item.id, "w", LATER, "busy") is JobStatus.RETRY
        row = self.row(item.id)
        assert (row.status, row.attempts, row.last_error, row.lease_owner) == (JobStatus.RETRY, 1, "busy", "")
        assert store.claim_batch("w") == []
        self.make_due(item.id)
        (again,) = store.claim_batch("w")
        assert again.attempts == 2
        assert again.lease_token != item.lease_token
        self.assert_refused(item.id, store, "w", item.lease_token)
        store.mark_success(item.id, "w")
        assert self.row(item.id).status is JobStatus.COMPLETED

    def test_the_last_retry_is_a_failure(self) -> None:
        """``max_attempts`` counts attempts."""
        store = self.make_store()
        item = self.claim(store, max_attempts=2)
        assert store.mark_retry(item.id, "w", item.lease_expires_at - LATER, "first") is JobStatus.RETRY
        (item,) = store.claim_batch("w")
        assert store.mark_retry(item.id, "w", SOON, "second") is JobStatus.FAILED
        row = self.row(item.id)
        assert (row.status, row.attempts, row.last_error) == (JobStatus.FAILED, 2, "second")
        assert store.claim_batch("w") == []

    def test_a_release_charges_nothing(self) -> None:
        """Handing back is as if the item had never been claimed."""
        store, other = self.make_store(), self.make_store()
        item = self.claim(store, max_attempts=2)
        store.release(item.id, "w")
        assert (self.row(item.id).status, self.row(item.id).attempts) == (JobStatus.PENDING, 0)
        self.assert_refused(item.id, store, "w", item.lease_token)
        (item,) = other.claim_batch("v")
        assert item.attempts == 1
        other.mark_retry(item.id, "v", SOON, "busy")
        (item,) = store.claim_batch("w")
        store.release(item.id, "w")
        row = self.row(item.id)
        assert (row.status, row.attempts, row.last_error) == (JobStatus.RETRY, 1, "busy")

    # -- fencing ----------------------------------------------------------------------------------------------------

    def test_only_the_claimer_ends_its_claim(self) -> None:
        """Another worker, another store, a made-up token: refused. The right token from elsewhere: accepted."""
        store, other = self.make_store(), self.make_store()
        item = self.claim(store)
        self.assert_refused(item.id, store, "v", None)
        self.assert_refused(item.id, store, "v", item.lease_token)
        self.assert_refused(item.id, other, "w", None)
        self.assert_refused(item.id, other, "w", "0" * 32)
        self.assert_refused(item.id, store, "w", "0" * 32)
        other.mark_success(item.id, "w", lease_token=item.lease_token)
        assert self.row(item.id).status is JobStatus.COMPLETED
        self.assert_refused(item.id, store, "w", None)

    def test_the_token_decides_between_workers_of_one_name(self) -> None:
        """ABA: the item was taken away and claimed again under the same worker id."""
        stale, live = self.make_store(), self.make_store()
        item = self.claim(stale)
        self.expire_lease(item.id)
        assert self.reap() == 1
        self.assert_refused(item.id, stale, "w", item.lease_token)
        (again,) = live.claim_batch("w")
        assert (again.id, again.crashes) == (item.id, 1)
        self.assert_refused(item.id, stale, "w", None)
        self.assert_refused(item.id, stale, "w", item.lease_token)
        self.assert_refused(item.id, live, "w", item.lease_token)
        live.renew(item.id, "w")
        live.mark_success(item.id, "w")
        self.assert_refused(item.id, stale, "w", item.lease_token)

    def test_a_lease_that_ran_out_holds_until_it_is_taken_away(self) -> None:
        """Nobody else has the item, so finishing it is right."""
        store = self.make_store()
        item = self.claim(store)
        self.expire_lease(item.id)
        assert store.claim_batch("v") == []
        store.mark_success(item.id, "w")
        assert self.reap() == 0
        assert self.row(item.id).status is JobStatus.COMPLETED

    def test_renewing_keeps_the_reaper_away(self) -> None:
        """One by one, and many at once; what was lost is named."""
        store = self.make_store()
        one, two, three = (self.claim(store) for _ in range(3))
        store.mark_success(three.id, "w")
        for item in (one, two):
            self.expire_lease(item.id)
        store.renew(one.id, "w")
        assert store.renew_many([one.id, two.id, three.id, 10**9], "w") == {three.id, 10**9}
        assert self.reap() == 0
        end = self.row(two.id).lease_expires_at
        assert end is not None
        assert end >= two.lease_expires_at
        self.expire_lease(two.id)
        assert self.reap() == 1
        assert store.renew_many({one.id: one.lease_token, two.id: two.lease_token}, "w") == {two.id}
        assert store.renew_many([], "w") == set()
        self.assert_refused(two.id, store, "w", None)
        store.mark_success(one.id, "w")

    # -- the reaper -------------------------------------------------------------------------------------------------

    def test_crashes_are_counted_and_end(self) -> None:
        """The item that kills its workers is failed, with the reason."""
        store = self.make_store()
        item_id = self.add(store, max_attempts=10)
        for crash in (1, 2, 3):
            (item,) = store.claim_batch("w")
            assert (item.attempts, item.crashes) == (crash, crash - 1)
            assert self.reap() == 0
            self.expire_lease(item_id)
            assert self.reap() == 1
        row = self.row(item_id)
        assert (row.status, row.crashes) == (JobStatus.FAILED, 3)
        assert row.last_error.startswith("crashed")
        assert self.reap() == 0
        assert store.claim_batch("w") == []

    def test_what_a_dead_worker_held_is_recovered_before_its_leases_end(self) -> None:
        """Its name says which items: nobody else loses any, and it may not write any more."""
        store = self.make_store()
        dead, alive = self.claim(store, "dead"), self.claim(store, "alive")
        assert self.reap() == 0
        assert self.reap(owner="dead") == 1
        assert self.reap(owner="dead") == 0
        row = self.row(dead.id)
        assert (row.status, row.attempts, row.crashes, row.lease_owner) == (JobStatus.RETRY, 1, 1, "")
        row = self.row(alive.id)
        assert (row.status, row.crashes, row.lease_token) == (JobStatus.CLAIMED, 0, alive.lease_token)
        self.assert_refused(dead.id, store, "dead", dead.lease_token)
        (again,) = store.claim_batch("other")
        assert (again.id, again.crashes) == (dead.id, 1)
        store.mark_success(alive.id, "alive")
        assert self.reap(owner="other", max_crashes=2) == 1
        assert self.row(again.id).status is JobStatus.FAILED

    def test_a_crash_in_the_last_attempt_is_a_failure(self) -> None:
        """The attempt was charged at the claim."""
        store = self.make_store()
        item = self.claim(store, max_attempts=1)
        self.expire_lease(item.id)
        assert self.reap() == 1
        row = self.row(item.id)
        assert (row.status, row.attempts, row.crashes) == (JobStatus.FAILED, 1, 1)
        assert row.last_error.startswith("crashed")

    # -- bad input --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "bad",
        [
            {"payload": {"x": float("nan")}},
            {"payload": {"x": "\x00"}},
            {"payload": {"x": "\ud800"}},
            {"payload": {"x": object()}},
            {"payload": {"x": b"bytes"}},
            {"kind": ""},
            {"max_attempts": 0},
            {"due": datetime(2030, 1, 1)},
        ],
        ids=str,
    )
    def test_what_cannot_be_stored_is_refused_whole(self, bad: dict[str, Any]) -> None:
        """A typed error, and none of the other jobs of the call is written.

        Args:
            bad: The wrong field.
        """
        store = self.make_store()
        wrong = NewJob(**{"kind": "test", **bad})
        with pytest.raises((InvalidPayloadError, OutboxError)):
            store.add([NewJob("test"), wrong])
        if "due" not in bad:
            with pytest.raises((InvalidPayloadError, OutboxError)):
                store.add_claimed("w", wrong)
        assert self.rows() == {}

    def test_a_wrong_call_leaves_the_claim_alone(self) -> None:
        """A time without a zone, a worker without a name."""
        store = self.make_store()
        item = self.claim(store)
        with pytest.raises(OutboxError):
            store.mark_retry(item.id, "w", datetime(2030, 1, 1))
        for claim in (lambda: store.claim_batch(""), lambda: store.claim_job("", item.id)):
            with pytest.raises(OutboxError):
                claim()
        store.mark_success(item.id, "w")

    def test_errors_are_redacted_and_bounded(self) -> None:
        """What a step raises may hold anything."""
        store = self.make_store()
        item = self.claim(store)
        store.mark_failed(item.id, "w", "Authorization: Bearer eyJhbGciOi.hunter2.sig " + "x\x00\ud800" * 100_000)
        error = self.row(item.id).last_error
        assert "hunter2" not in error
        assert error.startswith("Authorization")
        assert len(error) <= 4000

    # -- histories --------------------------------------------------------------------------------------------------

    def test_any_history_of_calls_leaves_what_the_model_says(self) -> None:
        """Random calls by two workers through two stores, stale ones included."""
        pytest.importorskip("hypothesis", reason="the random histories of the contract need hypothesis")
        from automate_core.testing._outbox_machine import run_outbox_machine

        run_outbox_machine(self, self.histories)
