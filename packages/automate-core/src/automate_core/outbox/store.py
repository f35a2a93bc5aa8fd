"""The stores of the package ``automate-outbox``, under the name by which the core documents them."""

from __future__ import annotations

try:
    from automate_outbox.store import OptimisticClaimOutboxStore, SkipLockedClaimOutboxStore, get_store
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "automate_outbox":
        raise
    raise ImportError(
        "automate_core.outbox.store needs a package that is missing: pip install automate-outbox", name=error.name
    ) from error

__all__ = ["OptimisticClaimOutboxStore", "SkipLockedClaimOutboxStore", "get_store"]
