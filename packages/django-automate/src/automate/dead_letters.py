"""What dead letters mean to runs and to the audit log; finding and requeueing them is ``automate_outbox.dead``.

A run whose outbox item died is FAILED, and that is final. Requeueing the item therefore adds a run to the same
execution: it takes over every checkpoint of the dead run, and its idempotency keys, and goes on from there, so that no
finished step is done again and a step that was cut off is known again to whom it calls. The execution, whose status is
that of its latest run, is open again with it.

Of executions whose concurrency key allows one at a time, requeueing opens no second one. What is dead is as old as it
was: with ``skip`` it waits outside while another one is live, and with ``cancel_running`` it gives way to a newer one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from automate_core.errors import AutomateError

if TYPE_CHECKING:
    from automate_outbox.dead import DeadLetters

    from automate.models import ExecutionRun

__all__ = ["audit", "carry_on"]

logger = logging.getLogger("automate.runtime")


def carry_on(payloads: Mapping[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Make a new run for each dead one that can be carried on, in the caller's transaction.

    Args:
        payloads: The payloads of dead ``automate.run`` items, by id.

    Returns:
        The payloads with which the items go on. Left out are those whose run is gone, was not failed, or is not the
        latest of its execution, and those whose concurrency key gives the place to another execution.
    """
    from django.db.models import F

    from automate.artifacts import Owner, share
    from automate.models import Execution, ExecutionRun, RunStatus
    from automate.runtime.admission import lock_keys

    by_run = {run_id: item_id for item_id, payload in payloads.items() if (run_id := _run_id(payload))}
    rows = ExecutionRun.objects.select_related("execution__version__workflow").defer("execution__context")
    dead = list(rows.filter(pk__in=by_run, status=RunStatus.FAILED))
    lock_keys(run.execution.concurrency_key for run in dead if _is_exclusive(run))
    # Their executions are locked first, so that nobody else adds a run meanwhile.
    executions = Execution.objects.filter(pk__in={run.execution_id for run in dead}, status=RunStatus.FAILED)
    opened = set(executions.order_by("pk").select_for_update().values_list("pk", flat=True))
    latest = {run.execution_id: run for run in ExecutionRun.objects.filter(execution__in=opened).order_by("number")}
    wanted = _admitted([run for run in dead if run.execution_id in opened and latest[run.execution_id].pk == run.pk])
    new = [_successor(run, by_run[run.pk]) for run in wanted]
    Execution.objects.filter(pk__in=[run.execution_id for run in new]).update(
        status=RunStatus.QUEUED, finished_at=None, live_key=F("concurrency_key")
    )
    ExecutionRun.objects.bulk_create(new)
    for old, run in zip(wanted, new, strict=True):
        _copy_checkpoints(old, run)
        share(Owner.RUN, old.pk, run.pk)
    return {item_id: {"run_id": str(run.pk)} for run in new if (item_id := run.job_id) is not None}


def _is_exclusive(run: ExecutionRun) -> bool:
    from automate.runtime.admission import is_exclusive

    try:
        return is_exclusive(run)
    except AutomateError:
        return False  # its version cannot be compiled: when it goes on, it says what is wrong with it


def _admitted(runs: Sequence[ExecutionRun]) -> Sequence[ExecutionRun]:
    """Leave out the runs whose key, which the caller has locked, gives the place to another execution."""
    from automate_outbox.store import get_store

    from automate.models import Execution
    from automate.runtime.admission import admit

    exclusive = sorted((run for run in runs if _is_exclusive(run)), key=lambda run: run.execution_id)
    if not exclusive:
        return runs
    keys = {run.execution.concurrency_key for run in exclusive}
    live = Execution.objects.filter(live_key__in=keys).order_by("pk")
    newest = dict(live.values_list("live_key", "pk"))
    older = {
        run.pk: holder
        for run in exclusive
        if (holder := newest.get(run.execution.concurrency_key)) and holder > run.execution_id
    }
    # The others may take the place of what is live and older than they are: it was requeued too.
    admission = admit([run for run in exclusive if run.pk not in older], get_store())
    admission.skipped |= older
    for run in exclusive:
        if not admission.starts(run):
            first = admission.skipped.get(run.pk) or "of a newer letter"
            logger.warning("Item %s stays dead: its concurrency key belongs to execution %s.", run.job_id, first)
    return [run for run in runs if admission.starts(run)]


def _run_id(payload: Mapping[str, Any]) -> UUID | None:
    try:
        return UUID(str(payload.get("run_id")))
    except ValueError:
        return None


def _successor(run: ExecutionRun, job_id: int) -> ExecutionRun:
    from automate.models import ExecutionRun

    return ExecutionRun(
        execution_id=run.execution_id,
        number=run.number + 1,
        trace_id=run.trace_id,
        job_id=job_id,
        idempotency_run_id=run.idempotency_run_id or run.pk,
    )


def _copy_checkpoints(old: ExecutionRun, new: ExecutionRun) -> None:
    """Copy the steps within the database: their outputs may be large."""
    from django.db import connections, router

    from automate.models import StepRun

    connection = connections[router.db_for_write(StepRun)]
    quote, run_field = connection.ops.quote_name, StepRun._meta.get_field("run")
    copied = [field for field in StepRun._meta.concrete_fields if field.name not in ("id", "run")]
    columns = ", ".join(quote(str(field.column)) for field in copied)
    table, run_column = quote(StepRun._meta.db_table), quote(str(run_field.column))
    statement = (
        f"INSERT INTO {table} ({run_column}, {columns}) "  # noqa: S608 - names of the model alone
        f"SELECT %s, {columns} FROM {table} WHERE {run_column} = %s ORDER BY id"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [run_field.get_db_prep_save(run.pk, connection) for run in (new, old)])


def audit(
    *, action: str, actor: str, letters: DeadLetters, ids: Sequence[int], tenants: Sequence[str], **_: Any
) -> None:
    """Write down who requeued or discarded dead letters: one entry for each batch, in its transaction.

    Args:
        action: ``"requeued"`` or ``"discarded"``.
        actor: Who did it.
        letters: Which ones were meant.
        ids: Which ones it became, by id.
        tenants: Whose those are; the entry belongs to the tenant where there is one.
        **_: What else the signal sends.
    """
    from automate.audit import record

    record(
        f"dead_letters.{action}",
        f"outbox:{ids[0]}" if len(ids) == 1 else "outbox",
        actor=actor,
        tenant=tenants[0] if len(tenants) == 1 else "",
        details={"filter": letters.given(), "count": len(ids), "first": ids[0], "last": ids[-1]},
    )
