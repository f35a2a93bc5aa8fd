"""The view of events that change capture reads has the columns of an outbox table, on every database."""

# The fixture that decorates is Any.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from automate.events import emit_event
from django.core.management import call_command
from django.db import connection

pytestmark = pytest.mark.usefixtures("db")

COLUMNS = ["id", "aggregatetype", "aggregateid", "type", "payload"]
COLUMNS += ["timestamp", "source", "tenant", "tracingspancontext"]


def rows() -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM automate_event_change ORDER BY id")
        names = [column[0] for column in cursor.description]
        assert names == COLUMNS
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def test_each_event_is_a_row() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    paid = emit_event("order.paid", {"n": 1}, subject="o-1", source="shop", tenant="t", traceparent=trace)
    ping = emit_event("ping", {})
    first, second = rows()
    assert uuid.UUID(str(first["id"])) == uuid.UUID(paid)
    assert (first["aggregatetype"], first["aggregateid"], first["type"]) == ("order", "o-1", "order.paid")
    payload = first["payload"]
    assert (json.loads(payload) if isinstance(payload, str) else payload) == {"n": 1}
    assert (first["source"], first["tenant"]) == ("shop", "t")
    assert first["tracingspancontext"] == f"traceparent={trace}"
    assert first["timestamp"] is not None
    assert (second["aggregatetype"], second["tracingspancontext"]) == ("ping", "")
    assert uuid.UUID(second["aggregateid"]) == uuid.UUID(ping)


def test_the_migration_can_be_taken_back() -> None:
    emit_event("ping", {})
    call_command("migrate", "automate", "0001", verbosity=0)
    assert "automate_event_change" not in connection.introspection.table_names(include_views=True)
    call_command("migrate", "automate", verbosity=0)
    assert len(rows()) == 1
