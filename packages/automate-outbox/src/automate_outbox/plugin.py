"""What automate-outbox registers with the core."""

from __future__ import annotations

from automate_core.hookspecs import hookimpl
from automate_core.specs import Spec

__all__ = ["automate_register_outbox_stores"]


@hookimpl
def automate_register_outbox_stores() -> list[Spec]:
    """Register both stores."""
    return [
        Spec("skip_locked", "automate_outbox.store:SkipLockedClaimOutboxStore", "Claims with FOR UPDATE SKIP LOCKED"),
        Spec("optimistic", "automate_outbox.store:OptimisticClaimOutboxStore", "Claims by compare and set"),
    ]
