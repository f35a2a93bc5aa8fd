"""Changing the rows of many runs, and of their executions, together."""

from __future__ import annotations

from collections.abc import Sequence
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


# By the array: the planner takes any JSON for a hundred rows, and would read a table of some thousand from end to end.
_TOGETHER = f"""
    WITH change AS (
        SELECT * FROM json_to_recordset(%s::json) AS row (
            run uuid, execution uuid, status varchar, begins boolean, is_final boolean, outputs jsonb, error jsonb
        )
    ), changed AS (
        UPDATE {ExecutionRun._meta.db_table} AS run SET
            status = change.status,
            started_at = CASE WHEN begins THEN %s ELSE started_at END,
            finished_at = CASE WHEN is_final THEN %s ELSE finished_at END,
            outputs = CASE WHEN is_final THEN change.outputs ELSE run.outputs END,
            error = CASE WHEN is_final THEN change.error ELSE run.error END
        FROM change WHERE run.id = change.run AND run.id = ANY(ARRAY(SELECT run FROM change)) AND run.status = ANY(%s)
    )
    UPDATE {Execution._meta.db_table} AS execution SET
        status = change.status,
        finished_at = CASE WHEN is_final THEN %s ELSE finished_at END,
        live_key = CASE WHEN is_final THEN NULL ELSE live_key END
    FROM change WHERE execution.id = change.execution
        AND execution.id = ANY(ARRAY(SELECT execution FROM change)) AND execution.status = ANY(%s)
"""  # noqa: S608 - names of tables alone


def _change_together(changes: Sequence[RunChange], now: datetime) -> None:
    document = to_json(
        [
            {
                "run": change.run.pk,
                "execution": change.run.execution_id,
                "status": change.status,
                "begins": change.begins,
                "is_final": change.is_final,
                "outputs": change.outputs or {},
                "error": change.error,
            }
            for change in changes
        ]
    ).decode()
    live = list(map(str, LIVE))
    with connection.cursor() as cursor:
        cursor.execute(_TOGETHER, [document, now, now, live, now, live])
