"""The part of the contract in which callers meet: in threads, and in the caller's transaction."""

from __future__ import annotations

import pytest

from automate_core.errors import LeaseLostError
from automate_core.outbox import JobStatus, NewJob, OutboxItem, OutboxStore
from automate_core.testing._outbox_harness import LATER, OutboxHarness

__all__ = ["OutboxRaces"]


class OutboxRaces(OutboxHarness):
    """Several callers at once."""

    # -- many at once -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("names", [["a", "b", "c", "d"], ["w"] * 4], ids=["four names", "one name"])
    def test_two_claimers_never_share_an_item(self, names: list[str]) -> None:
        """Claim and complete until nothing is left: each item once, none forgotten.

        Args:
            names: The worker ids.
        """
        ids = self.make_store().add([NewJob("test", {"n": n}) for n in range(120)])

        def work(name: str) -> list[int]:
            store, mine = self.make_store(), []
            while items := store.claim_batch(name, 3):
                for item in items:
                    mine.append(item.id)
                    store.mark_success(item.id, name)
            return mine

        done = [
            item_id for mine in self.together(*(lambda name=name: work(name) for name in names)) for item_id in mine
        ]
        assert sorted(done) == ids
        assert {self.row(item_id).status for item_id in ids} == {JobStatus.COMPLETED}
        assert {self.row(item_id).attempts for item_id in ids} == {1}

    def test_threads_may_share_a_store(self) -> None:
        """One store object, one worker id, tokens passed by hand."""
        store = self.make_store()
        ids = store.add([NewJob("test") for _ in range(60)])

        def work() -> int:
            count = 0
            while items := store.claim_batch("w", 4):
                assert store.renew_many({item.id: item.lease_token for item in items}, "w") == set()
                for item in items:
                    store.mark_success(item.id, "w", lease_token=item.lease_token)
                count += len(items)
            return count

        assert sum(self.together(work, work, work)) == len(ids)

    def test_one_given_item_goes_to_one_claimer(self) -> None:
        """``claim_job`` from several threads."""
        for _ in range(10):
            item_id = self.add(self.make_store())

            def claim(item_id: int = item_id) -> OutboxItem | None:
                return self.make_store().claim_job("w", item_id)

            assert sum(item is not None for item in self.together(claim, claim, claim)) == 1

    def test_of_a_reaper_and_a_slow_worker_one_wins(self) -> None:
        """Whoever comes first; the other changes nothing."""
        for _ in range(20):
            store = self.make_store()
            item = self.claim(store)
            self.expire_lease(item.id)

            def finish(store: OutboxStore = store, item: OutboxItem = item) -> int:
                try:
                    store.mark_success(item.id, "w", lease_token=item.lease_token)
                except LeaseLostError:
                    return 0
                return 1

            finished, reaped, reaped_too = self.together(finish, self.reap, self.reap)
            assert finished + reaped + reaped_too == 1
            row = self.row(item.id)
            assert row.status is (JobStatus.COMPLETED if finished else JobStatus.RETRY)
            assert row.crashes == 1 - finished
            if not finished:
                (again,) = store.claim_batch("w")
                store.mark_success(again.id, "w")

    # -- transactions -----------------------------------------------------------------------------------------------

    def test_the_store_takes_part_in_the_callers_transaction(self) -> None:
        """A rollback undoes the mark, and the claim stays live with its remembered token."""
        if not self.supports_transactions:
            pytest.skip("the store has no transactions")
        store = self.make_store()
        item = self.claim(store)

        def work(fail: bool) -> None:
            with self.atomic():
                self.add(store, due=LATER)
                store.mark_success(item.id, "w")
                if fail:
                    raise KeyError("rolled back")

        with pytest.raises(KeyError):
            work(fail=True)
        assert (len(self.rows()), self.row(item.id).status) == (1, JobStatus.CLAIMED)
        work(fail=False)
        assert (len(self.rows()), self.row(item.id).status) == (2, JobStatus.COMPLETED)

    def test_a_lost_lease_rolls_the_callers_transaction_back(self) -> None:
        """So an effect and its completion hold together, or neither does."""
        if not self.supports_transactions:
            pytest.skip("the store has no transactions")
        store = self.make_store()
        item = self.claim(store)
        self.expire_lease(item.id)
        assert self.reap() == 1

        def work() -> None:
            with self.atomic():
                self.add(store)
                store.mark_success(item.id, "w")

        with pytest.raises(LeaseLostError):
            work()
        assert (len(self.rows()), self.row(item.id).status) == (1, JobStatus.RETRY)
