"""Why work is put down before it has ended."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

__all__ = ["Stop"]


@dataclass(frozen=True, slots=True)
class Stop:
    """Reasons for a run to be put down.

    Args:
        draining: Set when no further step shall be started: the run is handed back at its next checkpoint.
        abandoned: Set when the lease was lost, or time is up: what is under way is not waited for.
    """

    draining: threading.Event = field(default_factory=threading.Event)
    abandoned: threading.Event = field(default_factory=threading.Event)
