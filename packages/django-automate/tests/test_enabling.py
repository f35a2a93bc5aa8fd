"""A workflow that is disabled is not started, until it is enabled again."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from automate.errors import WorkflowNotFound
from automate.events import emit_event, run_workflow
from automate.matching import listeners
from automate.models import AuditLogEntry, Execution
from automate.models.listening import read_stamp
from automate.publish import disable, enable, publish
from django.core.management import call_command
from django.db import transaction

pytestmark = pytest.mark.usefixtures("db")

LOG = {"id": "note", "action": "flow.log", "params": {"message": "x"}}
REFUNDS = {"slug": "refunds", "trigger": {"type": "event", "event": "order.paid"}, "steps": [LOG]}


def test_nothing_starts_a_disabled_workflow_until_it_is_enabled(work: Any) -> None:
    publish(REFUNDS)
    assert disable("refunds").enabled is False
    emit_event("order.paid", {})
    work()
    with pytest.raises(WorkflowNotFound, match="is disabled: 'automate workflows enable refunds' enables it"):
        run_workflow("refunds", {})
    publish({**REFUNDS, "steps": [{**LOG, "params": {"message": "y"}}]})
    assert not listeners()
    assert not Execution.objects.exists()
    assert enable("refunds").enabled is True
    emit_event("order.paid", {})
    work()
    assert Execution.objects.count() == 1


def test_a_switch_is_audited_and_seen_with_its_commit_and_not_without() -> None:
    publish(REFUNDS)
    before = read_stamp("default")
    with transaction.atomic():
        disable("refunds")
        assert read_stamp("default") != before
        transaction.set_rollback(True)
    assert read_stamp("default") == before
    assert len(listeners()) == 1
    disable("refunds", actor="ann")
    assert len(listeners()) == 0
    after = read_stamp("default")
    assert after != before
    disable("refunds", actor="ben")  # it is so already: nothing changes, and nothing is to be told
    assert read_stamp("default") == after
    enable("refunds", actor="cid")
    assert len(listeners()) == 1
    trail = AuditLogEntry.objects.filter(action__in=("workflow.enabled", "workflow.disabled")).order_by("pk")
    assert list(trail.values_list("actor", "action", "resource")) == [
        ("ann", "workflow.disabled", "workflow:refunds"),
        ("cid", "workflow.enabled", "workflow:refunds"),
    ]


@pytest.mark.parametrize("switch", [enable, disable])
def test_a_workflow_that_is_not_there_is_named_with_those_nearby(switch: Any) -> None:
    publish(REFUNDS)
    with pytest.raises(WorkflowNotFound, match=r"There is no workflow 'refund'. Did you mean 'refunds'"):
        switch("refund")


def test_the_list_shows_what_listens_to_what() -> None:
    assert "automate_sync" in listed()
    publish(REFUNDS)
    publish({**REFUNDS, "steps": [{**LOG, "params": {"message": "y"}}]}, shadow=True)
    publish({"slug": "by-hand", "steps": [LOG]}, tenant="acme")
    publish({**REFUNDS, "slug": "new"}, shadow=True)
    disable("refunds")
    assert listed().splitlines() == [
        "workflow  state     live  shadow  event       tenant",
        "by-hand   enabled   v1    -       -           acme",
        "new       enabled   -     v1      order.paid  -",
        "refunds   disabled  v1    v2      order.paid  -",
    ]
    assert json.loads(listed("--json"))[2] == {
        "workflow": "refunds",
        "enabled": False,
        "live": 1,
        "shadow": 2,
        "event": "order.paid",
        "tenant": "",
    }


def listed(*options: str) -> str:
    out = io.StringIO()
    call_command("automate", "workflows", "list", *options, stdout=out)
    return out.getvalue()
