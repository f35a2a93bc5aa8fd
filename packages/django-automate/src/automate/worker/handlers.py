"""What the worker does with each kind of outbox item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from automate_core.errors import ErrorCodes, PermanentError
from automate_core.outbox import OutboxItem
from automate_outbox.handlers import register_handler

from automate.events import EVENT_JOB, RUN_JOB
from automate.permissions import REPLAY_RUN

__all__ = ["EventHandler", "RunHandler", "register_handlers"]


class EventHandler:
    """Stands for events: the engine decides about many of them together."""

    kind = EVENT_JOB
    requeue_permission = REPLAY_RUN

    def handle(self, item: OutboxItem) -> None:
        """Refuse: events are not handled one by one.

        Args:
            item: The item.

        Raises:
            PermanentError: Always.
        """
        raise PermanentError(f"{self.kind!r} is handled by automate_worker alone.")

    def on_dead(self, item: OutboxItem, error: str) -> None:
        """Leave the event as it is: the dead letter in the outbox is its record.

        Args:
            item: The item.
            error: Why it died.
        """

    def on_requeue(self, payloads: Mapping[int, dict[str, Any]]) -> Mapping[int, Mapping[str, Any]]:
        """Let the events be decided again: no dead letter has left anything behind.

        Args:
            payloads: The payloads of the dead items, by id.
        """
        return payloads


class RunHandler:
    """Stands for runs: the engine carries many of them on together."""

    kind = RUN_JOB
    requeue_permission = REPLAY_RUN

    def handle(self, item: OutboxItem) -> None:
        """Refuse: runs are not handled one by one.

        Args:
            item: The item.

        Raises:
            PermanentError: Always.
        """
        raise PermanentError(f"{self.kind!r} is handled by automate_worker alone.")

    def on_dead(self, item: OutboxItem, error: str) -> None:
        """Fail the run that the item would have carried on.

        Args:
            item: The item.
            error: Why it died.
        """
        from automate.runtime.runs import fail_run

        code = "crashed" if error.startswith("crashed") else ErrorCodes.INTERNAL.value
        try:
            run_id = UUID(str(item.payload["run_id"]))
        except (LookupError, TypeError, ValueError):
            return  # what names no run dies all the same
        fail_run(run_id, {"code": code, "message": error, "retryable": False})

    def on_requeue(self, payloads: Mapping[int, dict[str, Any]]) -> Mapping[int, Mapping[str, Any]]:
        """Let a new run carry on each dead one.

        Args:
            payloads: The payloads of the dead items, by id.
        """
        from automate.dead_letters import carry_on

        return carry_on(payloads)


def register_handlers() -> None:
    """Register the handlers with the outbox."""
    register_handler(EventHandler())
    register_handler(RunHandler())
