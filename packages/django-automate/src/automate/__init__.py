"""Event-driven workflow automation for Django: when this happens, and these conditions hold, do that, for sure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from automate.__about__ import __version__

if TYPE_CHECKING:
    from automate.actions import action
    from automate.builder import workflow
    from automate.event_types import event_type
    from automate.events import (
        NewEvent,
        aemit_event,
        aemit_events,
        arun_workflow,
        emit_event,
        emit_events,
        run_workflow,
    )

__all__ = [
    "NewEvent",
    "__version__",
    "action",
    "aemit_event",
    "aemit_events",
    "arun_workflow",
    "emit_event",
    "emit_events",
    "event_type",
    "run_workflow",
    "workflow",
]

_LAZY = {
    "action": "automate.actions",
    "workflow": "automate.builder",
    "event_type": "automate.event_types",
    "emit_event": "automate.events",
    "aemit_event": "automate.events",
    "NewEvent": "automate.events",
    "emit_events": "automate.events",
    "aemit_events": "automate.events",
    "run_workflow": "automate.events",
    "arun_workflow": "automate.events",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
