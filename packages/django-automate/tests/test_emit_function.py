"""PostgreSQL: a session that emits one event after another calls functions, which write what the statement writes."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from automate.events import Causation, causation, emit_event, emit_events
from automate.models import Event
from automate.signals import event_received
from automate_core.ids import uuid7
from automate_outbox.models import OutboxJob
from automate_outbox.store.functions import FEW
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

pytestmark = [
    pytest.mark.usefixtures("session"),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="the functions are PostgreSQL's"),
]

MANY = FEW + 5


@pytest.fixture
def session(db: None) -> Iterator[None]:
    """A session of its own."""
    connection.close()
    connection.ensure_connection()
    yield
    connection.close()


def words(work: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        work()
    return [query["sql"].split(maxsplit=1)[0] for query in captured]


def settle() -> None:
    """Let the session come to the functions."""
    for _ in range(MANY):
        emit_event("a.b", {})


def test_after_a_few_events_one_costs_a_call_and_still_one_statement() -> None:
    assert words(lambda: [emit_event("a.b", {}) for _ in range(MANY)]) == FEW * ["WITH"] + 5 * ["SELECT"]
    with transaction.atomic():
        assert words(lambda: emit_event("a.b", {})) == ["SELECT"]
        assert words(lambda: emit_event("a.b", {}, "key")) == ["INSERT", "SELECT"]
    assert words(lambda: emit_events([{"type": "a.b", "payload": {}}] * 2)) == ["WITH"]


def test_both_write_the_same_rows() -> None:
    cause = Causation(uuid7(), 3, "t%")

    def written() -> list[Any]:
        plain = emit_event("a.b", {"n": [1, "é'\\%s"]})
        token = causation.set(cause)
        try:
            full = emit_event(
                "a.b", {}, source="s'", subject="%s", traceparent="00-1-1-01", ordering_key="k", priority=-5, queue="q"
            )
        finally:
            causation.reset(token)
        columns = "type", "payload", "source", "subject", "tenant", "traceparent", "causation_id", "causation_depth"
        emit_event("a.b", {}, priority=5.0)  # type: ignore[arg-type]  # as good as 5
        found: list[Any] = [Event.objects.values(*columns).get(pk=event_id) for event_id in (plain, full)]
        fields = "kind", "queue", "priority", "ordering_key", "tenant", "max_attempts", "status", "attempts"
        for event_id in (plain, full):
            found.append(OutboxJob.objects.values(*fields).get(payload={"event_id": event_id}))
        return found

    by_statement = written()
    settle()
    assert written() == by_statement
    assert by_statement[1]["causation_id"] == cause.run_id


def test_it_is_of_the_callers_transaction_and_is_announced_after_it() -> None:
    settle()
    before, received = Event.objects.count(), []
    receiver = lambda event, **_: received.append(str(event.pk))  # noqa: E731
    event_received.connect(receiver)
    try:
        with transaction.atomic():
            emit_event("a.b", {})
            transaction.set_rollback(True)
        assert (Event.objects.count(), OutboxJob.objects.count(), received) == (before, before, [])
        with transaction.atomic():
            event_id = emit_event("a.b", {})
            assert received == []
    finally:
        event_received.disconnect(receiver)
    assert received == [event_id]


@pytest.mark.parametrize(("app", "earlier"), [("automate", "0002"), ("automate_outbox", "0001")])
def test_events_are_emitted_on_the_schema_before_and_the_migration_goes_both_ways(app: str, earlier: str) -> None:
    call_command("migrate", app, earlier, verbosity=0)
    try:
        assert words(lambda: [emit_event("a.b", {}) for _ in range(MANY)]) == MANY * ["WITH"]
    finally:
        call_command("migrate", app, verbosity=0)
    connection.close()
    settle()
    assert words(lambda: emit_event("a.b", {})) == ["SELECT"]
    assert Event.objects.count() == OutboxJob.objects.count() == 2 * MANY + 1
