"""Actions that write the same database: their effect and its checkpoint are one transaction."""

from __future__ import annotations

import inspect
import logging
from dataclasses import replace

from automate_core.errors import (
    AutomateError,
    DoubtfulCommitError,
    ErrorCodes,
    LeaseLostError,
    PermanentError,
    TransientError,
)
from django.db import connection, transaction

from automate.runtime.connections import AWAY
from automate.runtime.execute import Attempt, Prepared, Result, call, prepare, timed_out

__all__ = ["execute_transactional"]

logger = logging.getLogger("automate.runtime")


def execute_transactional(attempt: Attempt) -> Result:
    """Execute an attempt in one transaction with its checkpoint.

    What the action writes to the default database, the record of its success and the fence of the run are committed
    together, so the effect happens once, however often the step is tried. An error takes all of it back.

    Args:
        attempt: The attempt, with its checkpoint.

    Returns:
        Its result, durable where it succeeded. Its error is a :class:`DoubtfulCommitError` where the database went
        away within the commit.
    """
    prepared = prepare(attempt)
    if isinstance(prepared, Result):
        return prepared
    result: Result | None = None
    committed: list[bool] = []
    try:
        with transaction.atomic():
            transaction.on_commit(lambda: committed.append(True))  # before the hooks of the action, which may raise
            if connection.vendor == "sqlite" and attempt.checkpoint is not None:
                attempt.checkpoint.fence()  # a reader that turns into a writer is refused while another one writes
            result = _within(prepared)
            if result.error is not None:
                transaction.set_rollback(True)
    except LeaseLostError as error:
        return Result(attempt, attempt.clock(), error=error)
    except BaseException as error:
        if result is None or not committed:
            return Result(attempt, attempt.clock(), error=_not_committed(attempt, result, error))
        logger.error("A hook of step %r failed after its commit.", attempt.step.id, exc_info=error)
    return replace(result, durable=result.error is None)


def _not_committed(attempt: Attempt, result: Result | None, error: BaseException) -> AutomateError:
    """Return why a transaction did not end in a commit, as far as anybody knows."""
    text = f"{type(error).__name__}: {error}"
    if not isinstance(error, AWAY):  # a deferred constraint, say
        return PermanentError(text, code=ErrorCodes.STEP_FAILED, context={"type": type(error).__name__})
    if result is None or result.error is not None:
        return TransientError(text)
    return DoubtfulCommitError(f"Whether step {attempt.step.id!r} was committed is not known: {error}")


def _within(prepared: Prepared) -> Result:
    attempt, result = prepared.attempt, call(prepared)
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        error = PermanentError(f"{attempt.step.action!r} is asynchronous and cannot share a transaction.")
        return Result(attempt, attempt.clock(), error=error)
    if result.error is None and attempt.cancelled.is_set():
        return timed_out(attempt)
    if result.error is None and attempt.checkpoint is not None:
        attempt.checkpoint.fence()
        attempt.checkpoint.save(result)
    return result
