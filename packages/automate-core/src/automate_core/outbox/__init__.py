"""What an outbox store is. The stores that ship are in ``automate_outbox``; they are reachable from here, lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from automate_core.outbox._items import Claims, JobStatus, NewJob, OutboxItem
from automate_core.outbox._protocol import OutboxStore

if TYPE_CHECKING:
    from automate_core.outbox.reaper import OutboxReaper
    from automate_core.outbox.store import OptimisticClaimOutboxStore, SkipLockedClaimOutboxStore

__all__ = [
    "Claims",
    "JobStatus",
    "NewJob",
    "OptimisticClaimOutboxStore",
    "OutboxItem",
    "OutboxReaper",
    "OutboxStore",
    "SkipLockedClaimOutboxStore",
]

_LAZY = {
    "OutboxReaper": "automate_core.outbox.reaper",
    "OptimisticClaimOutboxStore": "automate_core.outbox.store",
    "SkipLockedClaimOutboxStore": "automate_core.outbox.store",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
