"""How work is told to come to an end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

__all__ = ["Stop"]


@dataclass(frozen=True, slots=True)
class Stop:
    """The word that runs are to be put down.

    Args:
        draining: Set when no further step shall be started: the run is handed back at its next checkpoint.
    """

    draining: threading.Event = field(default_factory=threading.Event)
