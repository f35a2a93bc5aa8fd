"""Emitting many events at once: the same as one by one, in few statements, all or nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from automate import NewEvent, aemit_events, emit_event, emit_events
from automate.errors import AutomateError, DuplicateEventError, InvalidPayloadError, OutboxError
from automate.models import DedupeKey, Event
from automate.signals import event_received
from automate_outbox.models import OutboxJob
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("db")


def rows() -> tuple[int, int, int]:
    return Event.objects.count(), OutboxJob.objects.count(), DedupeKey.objects.count()


def empty() -> None:
    with connection.cursor() as cursor:
        for table in ("automate_event", "automate_outbox_job", "automate_dedupekey"):
            cursor.execute(f"DELETE FROM {table}")


@pytest.fixture
def session() -> None:
    """A session of its own: one that emits often calls functions; see test_emit_function.py."""
    connection.close()
    connection.ensure_connection()


def statements(work: Callable[[], object]) -> list[str]:
    """The first words of what a piece of work sent."""
    with CaptureQueriesContext(connection) as captured:
        work()
    return [query["sql"].split(maxsplit=1)[0].rstrip(";") for query in captured]


def many(count: int, **options: Any) -> list[NewEvent]:
    return [NewEvent("order.paid", {"number": number}, **options) for number in range(count)]


# -- the same as one by one --------------------------------------------------------------------------------------------

SPECS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["a.b", "a.c"]),
        "payload": st.sampled_from([{}, {"y": [{"é\"'\\": "%s"}], "a": 2}]),
        "dedupe_key": st.sampled_from(["k", "k", "%s'", None]),
    },
    optional={
        "source": st.sampled_from(["", "", "shop"]),
        "tenant": st.sampled_from([None, None, "t1"]),
        "subject": st.just('order "7"'),
        "ordering_key": st.sampled_from(["", "customer 1"]),
        "priority": st.sampled_from([0, -3]),
        "queue": st.just("slow"),
    },
)


def one_by_one(specs: list[dict[str, Any]]) -> tuple[list[str], AutomateError | None]:
    ids: list[str] = []
    for spec in specs:
        try:
            ids.append(emit_event(**spec))
        except AutomateError as error:
            return ids, error
    return ids, None


def state(ids: list[str]) -> dict[str, Any]:
    """What is in the database, with places in the list in place of ids."""
    place = {name: ids.index(name) for name in ids}
    event_columns = ("type", "payload", "source", "subject", "tenant", "causation_depth")
    job_columns = ("kind", "tenant", "ordering_key", "priority", "queue", "status")
    jobs = OutboxJob.objects.order_by("id")
    return {
        "places": [place[name] for name in ids],
        "events": {place[str(e.id)]: [getattr(e, name) for name in event_columns] for e in Event.objects.all()},
        "jobs": [(place[job.payload["event_id"]], *[getattr(job, name) for name in job_columns]) for job in jobs],
        "keys": {
            (k.tenant, k.source, k.key): (place[str(k.event_id)], k.payload_hash) for k in DedupeKey.objects.all()
        },
    }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(SPECS, max_size=3), expired=st.booleans(), specs=st.lists(SPECS, max_size=8))
def test_many_at_once_are_the_same_as_one_by_one(
    before: list[dict[str, Any]], expired: bool, specs: list[dict[str, Any]]
) -> None:
    def start() -> list[str]:
        empty()
        ids, _ = one_by_one(before)
        if expired:
            DedupeKey.objects.update(expires_at=timezone.now() - timedelta(days=1))
        return ids

    earlier = start()
    ids, refused = one_by_one(specs)
    singly = state([*earlier, *ids])
    earlier = start()
    untouched = state(earlier)
    if refused is None:
        assert state([*earlier, *emit_events(specs)]) == singly
        return
    with transaction.atomic():
        with pytest.raises(type(refused)) as caught:
            emit_events([NewEvent(**spec) for spec in specs])
        assert caught.value.context["index"] == len(ids)
        assert f"events[{len(ids)}]" in str(caught.value)
        assert state(earlier) == untouched
        emit_event("a.b", {})  # the caller's transaction is still usable


def test_the_asynchronous_twin_and_nothing_at_all() -> None:
    async def emit() -> list[str]:
        from asgiref.sync import sync_to_async

        try:
            return await aemit_events([{"type": "a.b", "payload": {"x": 1}}])
        finally:
            await sync_to_async(lambda: connection.close())()

    ids = asyncio.run(emit())
    assert [str(event.id) for event in Event.objects.all()] == ids
    assert emit_events([]) == []


# -- statements --------------------------------------------------------------------------------------------------------

ON_POSTGRES = connection.vendor == "postgresql"
INSERTS = ["WITH"] if ON_POSTGRES else ["INSERT", "INSERT"]


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("count", [1, 1000], ids=["one", "a thousand"])
def test_a_list_costs_one_insert_of_events_and_one_of_items(count: int) -> None:
    alone = statements(lambda: emit_events(many(count)))
    assert alone == (INSERTS if ON_POSTGRES else ["BEGIN", *INSERTS, "COMMIT"])
    with transaction.atomic():
        assert statements(lambda: emit_events(many(count))) == INSERTS
    assert rows() == (2 * count, 2 * count, 0)


@pytest.mark.usefixtures("session")
def test_a_long_list_is_written_in_parts_and_one_commit() -> None:
    with transaction.atomic():
        assert statements(lambda: emit_events(many(2001))) == 3 * INSERTS
    assert statements(lambda: emit_events(many(1001))) == ["BEGIN", *2 * INSERTS, "COMMIT"]


@pytest.mark.usefixtures("session")
def test_keys_cost_the_same_statements_however_many_they_are() -> None:
    def keyed(count: int) -> list[NewEvent]:
        return [NewEvent("a.b", {"n": n}, f"{count} {n}") for n in range(count)]

    with transaction.atomic():
        few, lots = statements(lambda: emit_events(keyed(2))), statements(lambda: emit_events(keyed(300)))
        assert few == lots == ["SAVEPOINT", "INSERT", *INSERTS, "RELEASE"]
        again = statements(lambda: emit_events(keyed(300)))
        assert again == ["SAVEPOINT", "INSERT", "SELECT", "RELEASE"]
        # One alone has nothing to take back, so that it needs no savepoint.
        assert statements(lambda: emit_events([NewEvent("a.b", {}, "alone")])) == ["INSERT", *INSERTS]
    DedupeKey.objects.update(expires_at=timezone.now() - timedelta(days=1))
    expired = statements(lambda: emit_events(keyed(300)))
    assert [word for word in expired if word not in {"BEGIN", "COMMIT"}] == [
        "INSERT",
        "SELECT",
        "DELETE",
        "INSERT",
        *INSERTS,
    ]


def test_no_statement_grows_beyond_what_a_database_takes() -> None:
    # 20 MB in all: the packet of MariaDB is 16 MB, and its client escapes every one of these characters.
    text = '"\\é' * 40_000
    ids = emit_events([NewEvent("a.b", {"text": text}) for _ in range(80)])
    assert Event.objects.count() == len(set(ids)) == 80
    assert Event.objects.get(pk=ids[-1]).payload == {"text": text}


# -- all or nothing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "error", "argument"),
    [
        ({"type": "a b", "payload": {}}, InvalidPayloadError, "type"),
        ({"type": "a.b", "payload": {"x": float("nan")}}, InvalidPayloadError, "/x"),
        ({"type": "a.b", "payload": {}, "dedupe_key": ""}, InvalidPayloadError, "dedupe_key"),
        ({"type": "a.b", "payload": {}, "ordering_key": "x" * 201}, OutboxError, "ordering_key"),
        ({"type": "a.b", "payload": {}, "priority": 40_000}, OutboxError, "priority"),
        ({"type": "a.b", "payload": {}, "priority": None}, OutboxError, "priority"),
        ({"type": "a.b", "payload": {}, "queue": ""}, OutboxError, "queue"),
        ({"type": "a.b", "payload": {}, "kind": "x"}, InvalidPayloadError, "NewEvent"),
        ({"type": "a.b"}, InvalidPayloadError, "NewEvent"),
        ("a.b", InvalidPayloadError, "NewEvent"),
    ],
)
def test_the_first_offender_is_named_and_nothing_is_written(
    bad: Any, error: type[AutomateError], argument: str
) -> None:
    with transaction.atomic():
        with pytest.raises(error, match=argument) as caught:
            emit_events([*many(2, dedupe_key=None), bad, bad])
        assert caught.value.context["index"] == 2
        assert "events[2]" in str(caught.value)
        assert rows() == (0, 0, 0)
        emit_event("a.b", {})
    assert rows() == (1, 1, 0)


def test_a_conflict_in_the_list_takes_back_the_keys_that_were_taken() -> None:
    events = [NewEvent("a.b", {}, "one"), NewEvent("a.b", {}, "two"), NewEvent("a.b", {"x": 1}, "one")]
    for attempt in (emit_events, emit_in_transaction):
        with pytest.raises(DuplicateEventError, match="'one'") as caught:
            attempt(events)
        assert caught.value.context["index"] == 2
        assert rows() == (0, 0, 0)


def emit_in_transaction(events: list[NewEvent]) -> None:
    with transaction.atomic():
        try:
            emit_events(events)
        except DuplicateEventError:
            assert rows() == (0, 0, 0)
            raise


def test_receivers_hear_of_new_events_alone_after_the_commit_in_order() -> None:
    first = emit_event("a.b", {}, "k")
    received: list[Event] = []
    receiver = lambda sender, event, **_: received.append(event)  # noqa: E731
    with transaction.atomic():
        emit_events(many(1))
        assert connection.run_on_commit == []  # nobody listens, so nothing is remembered
        event_received.connect(receiver)
        try:
            ids = emit_events([NewEvent("a.b", {}, "k"), *many(2, tenant="t", subject="s")])
            assert ids[0] == first
            assert received == []
            transaction.on_commit(lambda: None)
            callbacks = connection.run_on_commit
            assert len(callbacks) == 2
        finally:
            event_received.disconnect(receiver)
        event_received.connect(receiver)
    event_received.disconnect(receiver)
    assert [str(event.id) for event in received] == ids[1:]
    for event in received:
        stored = Event.objects.get(pk=event.pk)
        names = [field.name for field in Event._meta.fields]
        assert [getattr(event, name) for name in names] == [getattr(stored, name) for name in names]
        with pytest.raises(AutomateError, match="immutable"):
            event.save()


# -- many emitters -----------------------------------------------------------------------------------------------------


def test_lists_and_single_events_with_the_same_keys_agree_on_one_event_for_each() -> None:
    keys = [f"k{n}" for n in range(12)]
    orders = [keys, keys[::-1], keys[6:] + keys[:6], keys]
    DedupeKey.objects.create(
        key="k3", event_id=Event(type="x").id, payload_hash="old", expires_at=timezone.now() - timedelta(days=1)
    )
    barrier, found, failures = threading.Barrier(len(orders)), [], []

    def emit(order: list[str], *, singly: bool) -> None:
        barrier.wait()
        try:
            for _ in range(3):
                events = [NewEvent("a.b", {"key": key}, key) for key in order]
                ids = [emit_event("a.b", {"key": k}, k) for k in order] if singly else emit_events(events)
                found.append(dict(zip(order, ids, strict=True)))
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=emit, args=(order,), kwargs={"singly": n == 3}) for n, order in enumerate(orders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(one == found[0] for one in found)
    assert len(found) == 12
    assert rows() == (12, 12, 12)
