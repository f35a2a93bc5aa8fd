"""The reaper of the package ``automate-outbox``, under the name by which the core documents it."""

from __future__ import annotations

try:
    from automate_outbox.reaper import OutboxReaper, ReapedItem
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "automate_outbox":
        raise
    raise ImportError(
        "automate_core.outbox.reaper needs a package that is missing: pip install automate-outbox", name=error.name
    ) from error

__all__ = ["OutboxReaper", "ReapedItem"]
