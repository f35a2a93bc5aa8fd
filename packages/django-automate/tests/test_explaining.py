"""Why an event started a workflow or did not, as its tenant and its shadows have it."""

from __future__ import annotations

from typing import Any

import pytest
from automate.events import emit_event
from automate.explaining import explain_event
from automate.models import Event
from automate.publish import publish

pytestmark = pytest.mark.usefixtures("db")


def definition(slug: str, amount: int = 0, **more: Any) -> dict[str, Any]:
    trigger = {"type": "event", "event": "order.paid", "rule": {">=": [{"var": "amount"}, amount]}}
    return {
        "slug": slug,
        "trigger": trigger,
        "steps": [{"id": "log", "action": "flow.log", "params": {"message": "x"}}],
        **more,
    }


def emitted(tenant: str) -> Event:
    return Event.objects.get(pk=emit_event("order.paid", {"amount": 70}, tenant=tenant))


def test_the_workflows_of_other_tenants_are_not_asked() -> None:
    publish(definition("ours"))
    publish(definition("theirs"), tenant="acme")
    event = emitted("globex")
    assert [(one.workflow, one.matched) for one in explain_event(event)] == [("ours", True)]
    (theirs,) = explain_event(event, "theirs")
    assert (theirs.matched, "tenant 'acme'" in theirs.reason) == (False, True)


def test_a_key_that_cannot_be_rendered_is_no_match() -> None:
    publish(definition("keyed", concurrency={"key": "{{ event.payload.nope }}", "mode": "queue"}))
    (keyed,) = explain_event(emitted(""))
    assert (keyed.matched, "nope" in keyed.reason) == (False, True)


def test_what_a_shadow_decided_is_told_as_that(work: Any) -> None:
    publish(definition("shop", 100))
    publish(definition("shop", 50), shadow=True)
    event = emitted("")
    work()
    found = [(one.version, one.matched, one.shadow) for one in explain_event(event)]
    assert found == [(1, False, False), (2, True, True)]
