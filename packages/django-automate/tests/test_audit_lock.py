"""The lock of the end of the audit log is the last one that a transaction takes: whoever holds it waits for nobody."""

from __future__ import annotations

import pytest
from automate.events import run_workflow
from automate.models import AuditLogEntry, ExecutionRun, StepRun
from automate.models.audit import AuditHead
from automate.policy.switch import pause, resume
from automate.publish import publish
from automate.runtime.journal import ClaimRequest, End, Entry, Journal
from automate_core.errors import ErrorCodes
from automate_outbox.counters import Counters
from automate_outbox.handlers import registered_kinds
from automate_outbox.store import get_store
from django.db import connection
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.usefixtures("db")

LOG = {"id": "f", "action": "flow.log", "params": {"message": "x"}}


def under_the_lock(captured: CaptureQueriesContext) -> tuple[int, list[str]]:
    """Return how often the end of the log was locked, and the statements about other tables before it was let go."""
    locked, times, others = False, 0, []
    for sql in (query["sql"] for query in captured):
        if sql.startswith(("BEGIN", "COMMIT", "ROLLBACK", "START")):
            locked = False
        elif AuditHead._meta.db_table in sql:
            times += not locked
            locked = True
        elif locked and AuditLogEntry._meta.db_table not in sql:
            others.append(sql)
    return times, others


def test_the_switch_is_turned_before_that_is_recorded() -> None:
    with CaptureQueriesContext(connection) as captured:
        pause("a bad deploy", actor="ann")
        resume(actor="ann")
    assert under_the_lock(captured) == (2, [])


def test_what_the_policy_denies_is_recorded_after_the_next_items_are_claimed() -> None:
    publish({"slug": "orders", "steps": [LOG]})
    store, kinds = get_store(), registered_kinds()
    run_workflow("orders", {})
    (item,) = store.claim_batch("w", 1, kinds=kinds)
    run_workflow("orders", {})
    run = ExecutionRun.objects.select_related("execution__version__workflow").get(job_id=item.id)
    error = {"code": ErrorCodes.POLICY.value, "message": "denied"}
    step = StepRun(run=run, step_id="f", action="flow.log", status="FAILED", error=error)
    journal = Journal(store, "w", Counters())
    journal.add(Entry(item, End.COMPLETE, lambda error: None, steps=[step]))

    with CaptureQueriesContext(connection) as captured:
        claimed = journal.flush(ClaimRequest(1, kinds, None))

    assert len(claimed) == 1
    assert AuditLogEntry.objects.filter(action="policy.denied").count() == 1
    assert under_the_lock(captured) == (1, [])
