"""Claims that a worker cannot take in hand, and claims of items that it still has in hand."""

from __future__ import annotations

from typing import Any

import pytest
from automate.worker.loop import Worker, WorkerOptions
from automate_core.outbox import NewJob
from automate_outbox.handlers import register_handler, unregister_handler
from automate_outbox.models import OutboxJob
from automate_outbox.store import get_store
from django.db import OperationalError

pytestmark = pytest.mark.usefixtures("db")


class Handler:
    """Handles items of the kind ``test``."""

    kind = "test"

    def handle(self, item: Any) -> None:
        """Do nothing."""

    def on_dead(self, item: Any, error: str) -> None:
        """Do nothing."""

    def on_requeue(self, payloads: Any) -> Any:
        return payloads


def test_suspects_are_handed_back_although_the_database_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = Handler()
    register_handler(handler)
    try:
        get_store().add([NewJob("test", {}) for _ in range(4)])
        OutboxJob.objects.update(crashes=2, status="RETRY", attempts=2)
        worker = Worker(WorkerOptions.from_settings(concurrency=4, poll=0.02, lease=60.0))
        store: Any = worker._store
        release = store.release_many
        refused: list[Any] = []

        def away(*args: Any) -> Any:
            if not refused:
                refused.append(args)
                raise OperationalError("gone away")
            return release(*args)

        monkeypatch.setattr(store, "release_many", away)
        worker.run(drain=True)
    finally:
        unregister_handler("test")
    assert refused
    assert set(OutboxJob.objects.values_list("status", "attempts", "crashes")) == {("COMPLETED", 3, 2)}


def test_a_later_claim_of_an_item_in_hand_takes_the_place_of_the_earlier_one() -> None:
    store = get_store(lease_seconds=60.0)
    store.add([NewJob("automate.run", {"run_id": "no uuid"})])
    worker = Worker(WorkerOptions.from_settings(concurrency=4, worker_id="again"))
    engine = worker._engine
    (earlier,) = store.claim_batch("again")
    engine.in_hand[earlier.id] = earlier
    engine._unread.append(earlier)  # as where the database went away before its run was read
    OutboxJob.objects.update(status="RETRY", lease_owner="", lease_token="", lease_expires_at=None)
    (later,) = store.claim_batch("again")
    engine.accept([later])
    engine._settled(earlier, None)  # an answer to what was asked under the earlier claim
    assert engine.in_hand == {later.id: later}
    assert len(engine._failures._failed) == 1, "its run is missing, which is told once"
