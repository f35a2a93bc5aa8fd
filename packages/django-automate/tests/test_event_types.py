"""Declared event types: what they are, that they are found, and that they bind only where the project asks for it."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from automate import emit_event, emit_events, event_type
from automate.event_types import event_types
from automate.models import DedupeKey, Event
from automate_core.errors import ConfigurationError, InvalidPayloadError
from automate_outbox.models import OutboxJob
from django.core.management import call_command
from django.db import transaction
from pydantic import BaseModel


class Customer(BaseModel):
    country: str


class OrderPaid(BaseModel):
    """An order was paid."""

    amount: float
    paid_at: datetime
    customer: Customer


PAID = {"amount": 5, "paid_at": "2026-01-01T10:00:00Z", "customer": {"country": "DE"}}


@pytest.fixture(autouse=True)
def no_event_types() -> Iterator[None]:
    known = dict(event_types._declared)
    event_types.clear()
    yield
    event_types.clear()
    event_types._declared.update(known)


def test_a_model_or_a_json_schema() -> None:
    declared = event_type("order.paid", OrderPaid)
    assert (declared.name, declared.title) == ("order.paid", "OrderPaid")
    assert declared.schema["required"] == ["amount", "paid_at", "customer"]
    assert declared.origin.startswith(f"{__name__}:")
    event_type("order.new", {"type": "object"})
    assert [one.name for one in event_types.all()] == ["order.new", "order.paid"]
    assert event_types.schema_for("order.paid") == declared.schema
    assert event_types.schema_for("order.*") is None
    assert event_types.schema_for("order.gone") is None


def test_what_cannot_be_declared() -> None:
    for name, schema, says in (
        ("order paid", {}, "'order.paid'"),
        ("order.*", {}, "not the name of an event type"),
        ("a", {"propertys": {}}, "propertys"),
        ("a", {"type": "text"}, "must be one of"),
        ("a", 5, "pydantic model or a JSON Schema"),
    ):
        with pytest.raises(ConfigurationError, match=says):
            event_type(name, schema)  # type: ignore[arg-type]  # that is what is tested
    for _ in range(2):  # a module that is imported twice is one place
        event_type("order.paid", {})
    with pytest.raises(ConfigurationError, match="declared twice"):
        event_type("order.paid", {})


@pytest.mark.usefixtures("db")
def test_nothing_is_enforced_unless_the_project_asks_for_it(configured: Any) -> None:
    event_type("order.paid", OrderPaid)
    emit_event("order.paid", {"amount": "much"})
    configured(EVENTS={"enforce_schemas": True})
    with transaction.atomic():
        with pytest.raises(InvalidPayloadError, match=r"does not fit the schema of 'order\.paid'") as caught:
            emit_event("order.paid", {**PAID, "amount": "much", "customer": {}}, dedupe_key="k")
        assert caught.value.context["pointer"] == "/amount"
        assert [problem["pointer"] for problem in caught.value.context["problems"]] == ["/amount", "/customer"]
        assert __name__ in str(caught.value)
        with pytest.raises(InvalidPayloadError, match=r"events\[1\]") as caught:
            emit_events([{"type": "order.paid", "payload": PAID}, {"type": "order.paid", "payload": {}}])
        assert caught.value.context["index"] == 1
    assert (Event.objects.count(), OutboxJob.objects.count(), DedupeKey.objects.count()) == (1, 1, 0)
    emit_event("order.paid", PAID)
    emit_event("undeclared", {"anything": "goes"})
    assert Event.objects.count() == 3


def test_they_are_listed_and_exported() -> None:
    def schemas(*arguments: str) -> str:
        out = io.StringIO()
        call_command("automate", "events", "schemas", *arguments, stdout=out)
        return out.getvalue()

    assert "event_type()" in schemas()
    event_type("order.paid", OrderPaid)
    head, line = schemas().splitlines()
    assert head.split("  ")[0] == "event type"
    assert line.startswith(f"order.paid  OrderPaid  {__name__}:")
    assert json.loads(schemas("--json"))["order.paid"]["properties"]["amount"] == {"title": "Amount", "type": "number"}
