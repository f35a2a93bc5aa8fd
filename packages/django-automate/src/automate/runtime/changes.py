"""Changing the rows of many runs, and of their executions, together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils import timezone
from pydantic_core import to_json

from automate.artifacts import Owner, keep
from automate.models import Execution, ExecutionRun, RunStatus
from automate.models.executions import LIVE

__all__ = ["RunChange", "change_runs", "keep_outputs", "write_changes"]


@dataclass(slots=True)
class RunChange:
    """What changes in the row of a run, and with it in that of its execution.

    Args:
        run: The run.
        status: Its new status.
        outputs: What it returned; None leaves them.
        error: Why it failed.
        is_first: Whether the run had not begun before; a write that is taken back leaves it as it is.
    """

    run: ExecutionRun
    status: RunStatus
    outputs: Any = None
    error: dict[str, Any] | None = None
    is_first: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_first = self.run.started_at is None

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.status not in LIVE

    @property
    def begins(self) -> bool:
        """Whether the run begins with it: before its first step it waits only for what its rate allows."""
        return self.is_first and self.status is not RunStatus.WAITING

    def values(self, now: datetime) -> dict[str, Any]:
        """Return the new values of the run's columns.

        Args:
            now: The time.
        """
        values: dict[str, Any] = {"status": self.status}
        if self.begins:
            values["started_at"] = now
        if self.is_final:
            values.update(finished_at=now, outputs=self.outputs or {}, error=self.error)
        return values


def change_runs(changes: Sequence[RunChange]) -> None:
    """Change runs that are not final yet, and their executions with them.

    Args:
        changes: The changes, one for each run.
    """
    keep_outputs(changes)
    write_changes(changes)


def keep_outputs(changes: Sequence[RunChange]) -> None:
    """Keep the large outputs of runs that are about to be changed.

    Args:
        changes: The changes.
    """
    keep([(change.outputs, Owner.RUN, change.run.pk) for change in changes])


def write_changes(changes: Sequence[RunChange]) -> None:
    """Write what :func:`change_runs` does: on PostgreSQL in one statement, elsewhere two for all that change alike.

    Args:
        changes: The changes, whose outputs are kept.
    """
    if not changes:
        return
    now = timezone.now()
    if connection.vendor == "postgresql":
        _change_together(changes, now)
    else:
        _change_alike(changes, now)
    for change in changes:
        for name, value in change.values(now).items():
            setattr(change.run, name, value)


def _change_alike(changes: Sequence[RunChange], now: datetime) -> None:
    groups: dict[Any, list[RunChange]] = {}
    for change in changes:
        own = change.run.pk if change.outputs or change.error else None
        groups.setdefault((change.status, change.begins, own), []).append(change)
    for group in groups.values():
        first, runs = group[0], [change.run for change in group]
        ExecutionRun.objects.filter(pk__in=[run.pk for run in runs], status__in=LIVE).update(**first.values(now))
        shared = {"status": first.status, **({"finished_at": now, "live_key": None} if first.is_final else {})}
        Execution.objects.filter(pk__in=[run.execution_id for run in runs], status__in=LIVE).update(**shared)


# Each row looks its own change up. A join with the changes would cost the square of their number: the planner, whose
# statistics of a growing table lag behind, takes it for a join with hardly a row.
_TOGETHER = f"""
    WITH change AS MATERIALIZED (SELECT %s::jsonb AS runs, %s::jsonb AS executions), changed AS (
        UPDATE {ExecutionRun._meta.db_table} AS run SET (status, started_at, finished_at, outputs, error) = (
            SELECT new.status,
                CASE WHEN new.begins THEN %s ELSE run.started_at END,
                CASE WHEN new.is_final THEN %s ELSE run.finished_at END,
                CASE WHEN new.is_final THEN new.outputs ELSE run.outputs END,
                CASE WHEN new.is_final THEN new.error ELSE run.error END
            FROM change, jsonb_to_record(change.runs -> run.id::text) AS new (
                status varchar, begins boolean, is_final boolean, outputs jsonb, error jsonb
            )
        ) WHERE run.id = ANY(%s::uuid[]) AND run.status = ANY(%s)
    )
    UPDATE {Execution._meta.db_table} AS execution SET (status, finished_at, live_key) = (
        SELECT new.status,
            CASE WHEN new.is_final THEN %s ELSE execution.finished_at END,
            CASE WHEN new.is_final THEN NULL ELSE execution.live_key END
        FROM change, jsonb_to_record(change.executions -> execution.id::text) AS new (status varchar, is_final boolean)
    ) WHERE execution.id = ANY(%s::uuid[]) AND execution.status = ANY(%s)
"""  # noqa: S608 - names of tables alone


def _change_together(changes: Sequence[RunChange], now: datetime) -> None:
    runs, executions = {}, {}
    for change in changes:
        shared = {"status": change.status, "is_final": change.is_final}
        own = {"begins": change.begins, "outputs": change.outputs or {}, "error": change.error}
        runs[str(change.run.pk)] = shared | own
        executions[str(change.run.execution_id)] = shared
    live = list(map(str, LIVE))
    params: list[Any] = [to_json(runs).decode(), to_json(executions).decode()]
    params += [now, now, _array(runs), live, now, _array(executions), live]
    with connection.cursor() as cursor:
        cursor.execute(_TOGETHER, params)


def _array(ids: Iterable[str]) -> str:
    return f"{{{','.join(ids)}}}"
