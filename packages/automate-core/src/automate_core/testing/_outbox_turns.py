"""The part of the contract about whose turn it is: order per key, and fairness between lanes."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

import pytest

from automate_core.errors import OutboxError
from automate_core.outbox import JobStatus, NewJob, OutboxItem, OutboxStore
from automate_core.testing._outbox_harness import LATER, SOON, OutboxHarness

__all__ = ["OutboxTurns"]


class OutboxTurns(OutboxHarness):
    """Order and fairness."""

    def ordered(self, store: OutboxStore, count: int, key: str = "k", **fields: Any) -> list[int]:
        """Add items of one key.

        Args:
            store: The store.
            count: How many.
            key: The key.
            **fields: Of :class:`~automate_core.outbox.NewJob`.
        """
        return store.add([NewJob(**{"kind": "test", "ordering_key": key, **fields}) for _ in range(count)])

    # -- order ------------------------------------------------------------------------------------------------------

    def test_items_of_one_key_go_one_by_one(self) -> None:
        """The next one is there at once when the first is completed; other keys and plain items do not wait."""
        store = self.make_store()
        first, second, third = self.ordered(store, 3)
        (other,) = self.ordered(store, 1, "other")
        plain = self.add(store)
        items = store.claim_batch("w", 10)
        assert {item.id for item in items} == {first, other, plain}
        assert {item.ordering_key for item in items} == {"k", "other", ""}
        assert store.claim_batch("w", 10) == self.make_store().claim_batch("w", 10) == []
        assert store.seconds_until_due() is None
        store.mark_success_many([first, plain], "w")
        assert [item.id for item in store.claim_batch("w", 10)] == [second]
        lost, items = store.complete_and_claim([second, other], "w", 10)
        assert (lost, [item.id for item in items]) == (set(), [third])

    def test_priority_and_time_do_not_change_the_order(self) -> None:
        """Within a key, the ids do."""
        store = self.make_store()
        late = self.add(store, ordering_key="k", due=LATER)
        urgent = self.add(store, ordering_key="k", priority=9)
        assert store.claim_batch("w") == []
        seconds = store.seconds_until_due()
        assert seconds is not None
        assert seconds > 3000
        self.make_due(late)
        (item,) = store.claim_batch("w")
        assert item.id == late
        store.mark_success(late, "w")
        (item,) = store.claim_batch("w")
        assert (item.id, item.priority) == (urgent, 9)

    @pytest.mark.parametrize("how", ["retry", "release", "reschedule", "crash"])
    def test_what_is_given_back_keeps_its_key(self, how: str) -> None:
        """Whoever follows waits until it is done.

        Args:
            how: How it is given back.
        """
        store = self.make_store()
        first, second = self.ordered(store, 2)
        assert [item.id for item in store.claim_batch("w")] == [first]
        if how == "retry":
            store.mark_retry(first, "w", LATER, "busy")
        elif how == "release":
            store.release(first, "w")
        elif how == "reschedule":
            store.reschedule_many([first], "w", {first: LATER})
        else:
            self.expire_lease(first)
            assert self.reap() == 1
        if how in {"retry", "reschedule"}:
            assert store.claim_batch("w") == []
            self.make_due(first)
        assert [item.id for item in store.claim_batch("w", 10)] == [first]
        assert self.row(second).attempts == 0

    def test_a_dead_letter_releases_its_key(self) -> None:
        """So one bad item does not stop the others for ever."""
        store = self.make_store()
        ids = self.ordered(store, 4, max_attempts=1)
        store.claim_batch("w")
        store.mark_failed(ids[0], "w", "no")
        assert [item.id for item in store.claim_batch("w")] == [ids[1]]
        assert store.mark_retry(ids[1], "w", SOON, "no") is JobStatus.FAILED
        assert [item.id for item in store.claim_batch("w")] == [ids[2]]
        self.expire_lease(ids[2])
        assert self.reap() == 1
        assert [item.id for item in store.claim_batch("w")] == [ids[3]]

    def test_a_key_belongs_to_its_queue_and_tenant(self) -> None:
        """The same key elsewhere is another one."""
        store = self.make_store()
        places: list[dict[str, str]] = [{}, {"tenant": "t"}, {"queue": "q"}, {"queue": "q", "tenant": "t"}]
        firsts = {self.ordered(store, 2, **place)[0] for place in places}
        assert {item.id for item in store.claim_batch("w", 10)} == firsts

    def test_a_given_item_waits_for_its_turn_too(self) -> None:
        """``claim_job``; and nothing that has an order is born claimed."""
        store = self.make_store()
        first, second = self.ordered(store, 2)
        assert store.claim_job("w", second) is None
        assert store.claim_job("w", first) is not None
        assert store.claim_job("w", second) is None
        store.mark_success(first, "w")
        item = store.claim_job("w", second)
        assert item is not None
        assert item.ordering_key == "k"
        with pytest.raises(OutboxError):
            store.add_claimed("w", NewJob("test", ordering_key="k"))

    def test_every_key_gets_its_turn(self) -> None:
        """Small claims go round: nothing is done twice before everything was done once."""
        store = self.make_store()
        keys = [f"k{number}" for number in range(11)]
        for key in keys:
            self.ordered(store, 2, key)
        seen: list[str] = []
        while len(seen) < len(keys):
            items = store.claim_batch("w", 3)
            assert items
            seen += [item.ordering_key for item in items]
        assert sorted(seen[: len(keys)]) == sorted(keys)

    def test_a_key_that_goes_on_leaves_room_for_others(self) -> None:
        """A worker of one item at a time does not stay with one key."""
        store = self.make_store()
        for _ in range(4):
            for key in "ab":
                self.ordered(store, 1, key)
        seen = []
        for _ in range(8):
            (item,) = store.claim_batch("w", 1)
            seen.append(item.ordering_key)
            store.mark_success(item.id, "w")
        assert set(seen[:4]) == {"a", "b"}
        assert sorted(seen) == ["a"] * 4 + ["b"] * 4

    def test_claimers_never_hold_two_items_of_a_key(self) -> None:
        """Four claimers, three keys: each key's items are done in order, one at a time."""
        ids = {key: self.ordered(self.make_store(), 12, key) for key in ("a", "b", "c")}
        done: defaultdict[str, list[int]] = defaultdict(list)
        busy: set[str] = set()
        lock = threading.Lock()
        left = sum(map(len, ids.values()))

        def handle(store: OutboxStore, item: OutboxItem) -> None:
            with lock:
                assert item.ordering_key not in busy
                busy.add(item.ordering_key)
                done[item.ordering_key].append(item.id)
            with lock:
                busy.remove(item.ordering_key)
            store.mark_success(item.id, "w", lease_token=item.lease_token)

        def work() -> None:
            store = self.make_store()
            for _ in range(2000):
                for item in store.claim_batch("w", 2):
                    handle(store, item)
                if sum(map(len, done.values())) == left:
                    return

        self.together(work, work, work, work)
        assert done == ids

    # -- fairness ---------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("place", ["tenant", "queue", "kind"])
    def test_a_backlog_delays_nobody_else(self, place: str) -> None:
        """One item behind three hundred of somebody else's is done with the first few claims.

        Args:
            place: What tells them apart.
        """
        store = self.make_store()
        wanted: dict[str, Any] = {"kind": "test", place: "big"}
        store.add([NewJob(**wanted) for _ in range(300)])
        late = self.add(store, **{place: "small"})
        items = [item for _ in range(2) for item in store.claim_batch("w", 10)]
        assert late in {item.id for item in items}
        assert len(items) == 20

    def test_shares_are_even_and_are_used_up(self) -> None:
        """Three tenants, then what is left of two."""
        store = self.make_store()
        for tenant, count in (("a", 100), ("b", 100), ("c", 4)):
            store.add([NewJob("test", tenant=tenant) for _ in range(count)])
        items = store.claim_batch("w", 30)
        counts = {tenant: sum(item.tenant == tenant for item in items) for tenant in "abc"}
        assert counts["c"] == 4
        assert min(counts["a"], counts["b"]) >= 10
        assert sum(counts.values()) == 30

    def test_priority_is_strict_between_lanes(self) -> None:
        """What is urgent goes first, whoever else waits."""
        store = self.make_store()
        for tenant in "abc":
            store.add([NewJob("test", tenant=tenant) for _ in range(10)])
        store.add([NewJob("test", tenant="a", priority=5) for _ in range(10)])
        assert {item.priority for item in store.claim_batch("w", 10)} == {5}
        assert {item.priority for item in store.claim_batch("w", 10)} == {0}

    def test_ordered_and_plain_items_share_a_claim(self) -> None:
        """Neither starves the other, whichever has the backlog."""
        store = self.make_store()
        for number in range(30):
            self.ordered(store, 1, f"k{number}")
        store.add([NewJob("test") for _ in range(30)])
        items = store.claim_batch("w", 10)
        assert len(items) == 10
        assert sum(bool(item.ordering_key) for item in items) == 5
        rest = [item for _ in range(5) for item in store.claim_batch("w", 10)]
        assert len(rest) == 50
