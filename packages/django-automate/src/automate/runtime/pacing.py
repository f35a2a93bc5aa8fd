"""How fast runs of a key begin: each takes a token of its key's bucket first, or is given a time to come back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from automate_core.errors import AutomateError
from automate_core.workflow.rates import Rate
from django.db import transaction

from automate.models import ConcurrencyKey, ExecutionRun, RunStatus
from automate.runtime.admission import lock_keys, mode_of
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
    paced = [(run, rate) for run in runs if run.started_at is None and (rate := _rate_of(run)) is not None]
    if not paced:
        return {}
    later: dict[ExecutionRun, datetime] = {}
    with transaction.atomic():
        keys = ConcurrencyKey.objects.in_bulk(lock_keys(run.execution.concurrency_key for run, _ in paced))
        now = clock()
        for run, rate in paced:
            row = keys[str(run.execution.concurrency_key)]
            waited = run.status == RunStatus.WAITING
            row.bucket, slot = rate.take(row.bucket, now, waited=waited, alone=mode_of(run) != "parallel")
            if slot is not None:
                later[run] = slot
        ConcurrencyKey.objects.bulk_update(keys.values(), ["arrival", "booked"])
    return later


def _rate_of(run: ExecutionRun) -> Rate | None:
    if run.execution.concurrency_key is None:
        return None
    try:
        concurrency = compiled(run.execution.version).definition.concurrency
    except AutomateError:
        return None  # when it begins, it says what is wrong with it
    return None if concurrency is None else concurrency.rate
