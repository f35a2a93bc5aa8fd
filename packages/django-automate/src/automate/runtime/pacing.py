"""How fast runs of a key begin: each takes a token of its key's bucket first, or is given a time to come back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from automate_core.errors import AutomateError
from automate_core.workflow.definition import Concurrency
from django.db import transaction

from automate.models import ConcurrencyKey, ExecutionRun, RunStatus
from automate.runtime.admission import lock_keys
from automate.runtime.versions import compiled

__all__ = ["take_tokens"]


def take_tokens(runs: Iterable[ExecutionRun], clock: Callable[[], datetime]) -> dict[ExecutionRun, datetime]:
    """Take a token for each run that is about to begin and whose workflow has a rate.

    It is a transaction of its own, of three statements for however many runs and keys. Where what should follow is
    not written, the tokens are lost, and no more: the rate is never exceeded.

    Args:
        runs: Claimed runs, in the order in which they shall begin.
        clock: Tells the time as the database has it.

    Returns:
        The runs that may not begin yet, each with the time at which to ask again.
    """
    paced = [(run, limits) for run in runs if run.started_at is None and (limits := _limits(run)) is not None]
    if not paced:
        return {}
    later: dict[ExecutionRun, datetime] = {}
    with transaction.atomic():
        keys = lock_keys(run.execution.concurrency_key for run, _ in paced)
        now = clock()
        for run, limits in paced:
            row, rate = keys[str(run.execution.concurrency_key)], limits.rate
            if rate is None:
                continue
            alone = limits.mode != "parallel"
            waited = run.status == RunStatus.WAITING
            row.bucket, slot = rate.take(row.bucket, now, waited=waited, alone=alone)
            if slot is not None:
                later[run] = slot
        ConcurrencyKey.objects.bulk_update(keys.values(), ["arrival", "booked"])
    return later


def _limits(run: ExecutionRun) -> Concurrency | None:
    if run.execution.concurrency_key is None:
        return None
    try:
        concurrency = compiled(run.execution.version).definition.concurrency
    except AutomateError:
        return None  # when it begins, it says what is wrong with it
    return concurrency if concurrency is not None and concurrency.rate is not None else None
