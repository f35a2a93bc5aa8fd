"""The sample: a user is created, a rule holds, two steps run. It needs no network."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["EVENT_KEY", "SAMPLE", "emit", "finished_run", "install"]

EVENT_KEY = "automate-up-sample"
"""The dedupe key of the sample's event: a second ``automate up`` fires nothing again."""

SAMPLE: dict[str, Any] = {
    "slug": "welcome-new-user",
    "trigger": {"type": "event", "event": "user.created", "rule": {"==": [{"var": "plan"}, "trial"]}},
    "steps": [
        {"id": "greet", "action": "flow.log", "params": {"message": "Welcome, {{ event.payload.name }}!"}},
        {
            "id": "remind",
            "action": "flow.log",
            "params": {"message": "{{ event.payload.name | upper }} is on trial for {{ event.payload.days }} days."},
        },
    ],
    "output": {"greeting": "{{ steps.greet.output.message }}"},
}
"""Its definition."""


def install() -> bool:
    """Publish the sample.

    Returns:
        Whether that changed anything.
    """
    from automate.publish import publish

    return publish(SAMPLE, name="Welcome a new user (sample)", actor="automate up")[1]


def emit() -> str:
    """Fire the sample's event, once.

    Returns:
        Its id.
    """
    from automate.events import emit_event

    payload = {"name": "Ada", "plan": "trial", "days": 14}
    return emit_event("user.created", payload, EVENT_KEY, source="automate-up", subject="Ada")


def finished_run(event_id: str, *, seconds: float = 30.0) -> Any:
    """Wait until the run of an event has ended.

    Args:
        event_id: The event.
        seconds: How long at the most.

    Returns:
        The run (:class:`automate.models.ExecutionRun`); None where it has not ended in time.
    """
    from automate.models import ExecutionRun
    from automate.models.executions import LIVE

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run = ExecutionRun.objects.filter(execution__event_id=event_id).exclude(status__in=LIVE).first()
        if run is not None:
            return run
        time.sleep(0.05)
    return None
