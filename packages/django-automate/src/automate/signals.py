"""What is announced while automations run. A receiver's error is logged and changes nothing.

Every signal is sent after the transaction that it tells of has been committed, in the process that wrote it.

- ``event_received``: ``event`` (:class:`automate.models.Event`) was written.
- ``workflow_started``, ``workflow_completed``, ``workflow_failed``: ``run`` (:class:`automate.models.ExecutionRun`).
- ``step_started``: ``run``, ``step_id``, ``attempt``.
- ``step_completed``, ``step_failed``: ``run``, ``step`` (:class:`automate.models.StepRun`); ``step_failed`` also for an
  attempt that will be repeated.
"""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal

__all__ = [
    "event_received",
    "send",
    "step_completed",
    "step_failed",
    "step_started",
    "workflow_completed",
    "workflow_failed",
    "workflow_started",
]

logger = logging.getLogger("automate.signals")

event_received = Signal()
workflow_started = Signal()
workflow_completed = Signal()
workflow_failed = Signal()
step_started = Signal()
step_completed = Signal()
step_failed = Signal()


def send(signal: Signal, sender: Any, **named: Any) -> None:
    """Send a signal and log what its receivers raise.

    Args:
        signal: One of this module.
        sender: The class of what it is about.
        **named: Its arguments.
    """
    for receiver, answer in signal.send_robust(sender=sender, **named):
        if isinstance(answer, Exception):
            logger.error("Signal receiver %r failed", receiver, exc_info=answer)
