"""Emitting: one commit with the caller's work, or nothing; bad input changes nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from automate.errors import DuplicateEventError, InvalidPayloadError, OutboxError, WorkflowNotFound
from automate.events import aemit_event, arun_workflow, emit_event, run_workflow
from automate.models import DedupeKey, Event, Execution
from automate.publish import publish
from automate.signals import event_received
from automate_outbox.models import OutboxJob
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.usefixtures("db")

MANUAL = {
    "slug": "hello",
    "trigger": {"type": "manual"},
    "steps": [{"id": "a", "action": "flow.log", "params": {"message": "hi"}}],
}


def rows() -> tuple[int, int, int]:
    return Event.objects.count(), OutboxJob.objects.count(), DedupeKey.objects.count()


def test_an_event_and_its_job_share_the_callers_commit() -> None:
    received: list[Event] = []
    receiver = lambda sender, event, **_: received.append(event)  # noqa: E731
    event_received.connect(receiver)
    try:
        with transaction.atomic():
            event_id = emit_event("order.paid", {"amount": 3}, source="shop", subject="order 7", tenant="t1")
            assert received == []
        with transaction.atomic():
            emit_event("order.paid", {"amount": 4}, "key")
            transaction.set_rollback(True)
    finally:
        event_received.disconnect(receiver)
    event = Event.objects.get()
    assert str(event.id) == event_id
    assert (event.type, event.payload, event.source, event.tenant) == ("order.paid", {"amount": 3}, "shop", "t1")
    assert [e.pk for e in received] == [event.pk]
    job = OutboxJob.objects.get()
    assert (job.kind, job.payload, job.tenant) == ("automate.event", {"event_id": event_id}, "t1")
    assert rows() == (1, 1, 0)


def test_emitting_costs_one_statement_on_postgresql_and_two_elsewhere() -> None:
    on_postgres = connection.vendor == "postgresql"
    inserts = ["WITH"] if on_postgres else ["INSERT", "INSERT"]
    connection.close()  # a session that emits often calls functions; see test_emit_function.py
    connection.ensure_connection()
    assert sent(lambda: emit_event("order.paid", {"amount": 3})) == (
        inserts if on_postgres else ["BEGIN", *inserts, "COMMIT"]
    )
    with transaction.atomic():
        assert sent(lambda: emit_event("order.paid", {"amount": 3})) == inserts
        assert sent(lambda: emit_event("order.paid", {"amount": 3}, "key")) == ["INSERT", *inserts]
        assert sent(lambda: emit_event("order.paid", {"amount": 3}, "key")) == ["INSERT", "SELECT"]


def sent(work: Callable[[], object]) -> list[str]:
    """The first words of the statements of a piece of work."""
    with CaptureQueriesContext(connection) as captured:
        work()
    return [query["sql"].split(maxsplit=1)[0] for query in captured]


def test_a_payload_is_found_by_its_whole_value() -> None:
    payload = {"b": "é", "a": [1, {"x": 2.5}]}
    emit_event("a.b", payload)
    assert Event.objects.get(payload=payload).payload == payload


def test_order_priority_and_queue_are_those_of_the_item() -> None:
    emit_event("a.b", {}, ordering_key="customer 7", priority=-5, queue="slow")
    job = OutboxJob.objects.get()
    assert (job.ordering_key, job.priority, job.queue) == ("customer 7", -5, "slow")
    with transaction.atomic():
        for options in ({"ordering_key": "x" * 201}, {"ordering_key": 7}, {"priority": 2**15}, {"queue": "a\x00"}):
            with pytest.raises(OutboxError, match=next(iter(options))):
                emit_event("a.b", {}, "key", **options)
        assert rows() == (1, 1, 0)


def test_the_same_key_gives_the_first_event_and_says_when_the_payload_differs() -> None:
    first = emit_event("payment.received", {"a": 1, "b": [1]}, dedupe_key="k")
    assert emit_event("payment.received", {"b": [1], "a": 1}, dedupe_key="k") == first
    assert emit_event("payment.received", {"a": 1, "b": [1]}, dedupe_key="k", tenant="other") != first
    assert emit_event("payment.received", {"a": 1, "b": [1]}, dedupe_key="k", source="other") != first
    with transaction.atomic():
        with pytest.raises(DuplicateEventError, match=first):
            emit_event("payment.received", {"a": 2}, dedupe_key="k")
        emit_event("another", {})  # the caller's transaction is still usable
    assert rows() == (4, 4, 3)


def test_another_type_under_the_same_key_is_not_swallowed() -> None:
    emit_event("order.paid", {"id": 1}, dedupe_key="order 1")
    with pytest.raises(DuplicateEventError):
        emit_event("order.shipped", {"id": 1}, dedupe_key="order 1")


def test_an_empty_key_would_make_all_events_one() -> None:
    with pytest.raises(InvalidPayloadError, match="dedupe_key"):
        emit_event("a.b", {}, dedupe_key="")
    assert rows() == (0, 0, 0)


def test_one_of_many_concurrent_emitters_renews_an_expired_key() -> None:
    from datetime import timedelta

    from django.utils import timezone

    for _ in range(5):
        first = emit_event("a.b", {}, dedupe_key="k")
        DedupeKey.objects.update(expires_at=timezone.now() - timedelta(days=1))
        ids = emit_at_once(6, dedupe_key="k")
        assert len(set(ids)) == 1
        assert first not in ids
        DedupeKey.objects.all().delete()


def test_a_key_is_free_again_after_its_window() -> None:
    from datetime import timedelta

    from django.utils import timezone

    first = emit_event("a.b", {}, dedupe_key="k")
    DedupeKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    second = emit_event("a.b", {"x": 1}, dedupe_key="k")
    assert second != first
    assert emit_event("a.b", {"x": 1}, dedupe_key="k") == second


def emit_at_once(count: int, *, dedupe_key: str) -> list[str]:
    barrier, ids = threading.Barrier(count), []

    def emit() -> None:
        barrier.wait()
        try:
            ids.append(emit_event("a.b", {}, dedupe_key=dedupe_key))
        finally:
            connection.close()

    threads = [threading.Thread(target=emit) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == count
    return ids


def test_one_of_many_concurrent_emitters_of_a_key_wins() -> None:
    assert len(set(emit_at_once(6, dedupe_key="k"))) == 1
    assert rows() == (1, 1, 1)


CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param({"x": "a\x00b"}, id="NUL"),
        pytest.param({"x": float("nan")}, id="NaN"),
        pytest.param({"x": float("inf")}, id="infinity"),
        pytest.param({"x": "\ud800"}, id="lone surrogate"),
        pytest.param({"x": Decimal("1")}, id="Decimal"),
        pytest.param({1: "x"}, id="key"),
        pytest.param({"x": b"bytes"}, id="bytes"),
        pytest.param([1], id="list"),
        pytest.param("text", id="text"),
        pytest.param({"x": "y" * 11_000_000}, id="too large"),
        pytest.param({"x": 10**400}, id="huge integer"),
        pytest.param(CYCLE, id="cycle"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(payload: Any) -> None:
    publish(MANUAL)
    OutboxJob.objects.all().delete()
    with transaction.atomic():
        with pytest.raises(InvalidPayloadError):
            emit_event("a.b", payload)
        with pytest.raises(InvalidPayloadError):
            run_workflow("hello", payload)
        assert rows() == (0, 0, 0)
        emit_event("a.b", {"fine": True})
    assert Event.objects.count() == 1


@pytest.mark.parametrize("event_type", ["", "a b", ".a", "a..b", "a\x00", "x" * 201, "ä.b", 7])
def test_a_bad_type_is_refused(event_type: Any) -> None:
    with pytest.raises(InvalidPayloadError, match="type"):
        emit_event(event_type, {})
    assert rows() == (0, 0, 0)


def test_an_unknown_workflow_is_refused_with_what_exists_nearby() -> None:
    publish(MANUAL)
    with pytest.raises(WorkflowNotFound, match="Did you mean 'hello'"):
        run_workflow("helo", {})
    assert Execution.objects.count() == 0


@pytest.mark.parametrize("slug", ["a\x00b", "a\ud800b", "x" * 1000, None, 7, ["a"]])
def test_a_slug_that_no_column_holds_leaves_the_transaction_usable(slug: Any) -> None:
    with transaction.atomic():
        with pytest.raises(InvalidPayloadError, match="workflow_slug"):
            run_workflow(slug, {})
        emit_event("a.b", {})
    assert rows() == (1, 1, 0)


def test_a_disabled_workflow_is_refused() -> None:
    version, _ = publish(MANUAL)
    version.workflow.enabled = False
    version.workflow.save()
    with pytest.raises(WorkflowNotFound, match="disabled"):
        run_workflow("hello", {})


def test_the_asynchronous_twins() -> None:
    publish(MANUAL)

    async def both() -> tuple[str, str]:
        try:
            return await aemit_event("a.b", {"x": 1}, "k"), await arun_workflow("hello", {"x": 1})
        finally:
            from asgiref.sync import sync_to_async

            await sync_to_async(lambda: connection.close())()

    event_id, execution_id = asyncio.run(both())
    assert str(Event.objects.get().id) == event_id
    assert str(Execution.objects.get().id) == execution_id


def test_events_are_immutable() -> None:
    emit_event("a.b", {})
    event = Event.objects.get()
    event.type = "c.d"
    with pytest.raises(Exception, match="immutable"):
        event.save()
