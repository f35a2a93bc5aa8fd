"""Items that are withdrawn, whoever holds them."""

from __future__ import annotations

import pytest
from automate_core.errors import LeaseLostError
from automate_core.outbox import NewJob
from automate_outbox.models import OutboxJob
from automate_outbox.store import get_store


def test_a_withdrawn_item_is_nobodys_and_its_key_is_free(using: str) -> None:
    store, other = get_store(using=using), get_store(using=using)
    held, behind = store.add([NewJob("test", {"n": n}, ordering_key="k") for n in range(2)])
    waiting, done, dead = store.add([NewJob("test", {"n": n}) for n in range(2, 5)])
    claimed = {item.id: item for item in store.claim_batch("w", 10)}
    assert claimed.keys() == {held, waiting, done, dead}
    store.release(waiting, "w")
    store.mark_success(done, "w")
    store.mark_failed(dead, "w", "as told")
    assert other.withdraw_many([dead, done, waiting, held]) == {waiting, held}
    rows = OutboxJob.objects.using(using).in_bulk()
    assert {rows[item_id].status for item_id in (held, waiting, done)} == {"COMPLETED"}
    assert all(rows[item_id].completed_at for item_id in (held, waiting, done))
    assert (rows[held].lease_owner, rows[held].lease_expires_at) == ("", None)
    assert rows[dead].status == "FAILED"
    with pytest.raises(LeaseLostError):
        store.mark_success(held, "w", lease_token=claimed[held].lease_token)
    assert store.completed_by({held: claimed[held].lease_token}) == set()
    assert [item.id for item in get_store(using=using).claim_batch("w", 10)] == [behind]
    assert other.withdraw_many([]) == set()
