"""Waking within a process: whoever commits new items rings, and the wakers of the same database hear it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

__all__ = ["CHANNEL", "is_heard", "listen", "ring", "unlisten"]

CHANNEL = "automate_outbox"
"""The channel of PostgreSQL on which new items are announced, with an empty payload."""

_bells: dict[str, tuple[Callable[[], object], ...]] = {}
_changing = threading.Lock()


def ring(using: str = "default") -> None:
    """Wake the workers of this process; to be called after the commit of new items, from any thread.

    Where nobody listens it costs one look into a dictionary.

    Args:
        using: Alias of the database that was written to.
    """
    for on_wake in _bells.get(using, ()):
        on_wake()


def is_heard(using: str = "default") -> bool:
    """Whether anybody in this process would hear :func:`ring`.

    Args:
        using: Alias of the database.
    """
    return bool(_bells.get(using))


def listen(using: str, on_wake: Callable[[], object]) -> None:
    """Be woken by :func:`ring`; once is enough.

    Args:
        using: Alias of the database.
        on_wake: What is called, in the thread that rings.
    """
    with _changing:
        if on_wake not in _bells.get(using, ()):
            _bells[using] = (*_bells.get(using, ()), on_wake)


def unlisten(using: str, on_wake: Callable[[], object]) -> None:
    """Undo :func:`listen`.

    Args:
        using: Alias of the database.
        on_wake: What was given there; what was not is as good as undone.
    """
    with _changing:
        _bells[using] = tuple(bell for bell in _bells.get(using, ()) if bell != on_wake)


def _forget() -> None:
    """Start empty in a forked child: its parent's workers cannot be woken from there, and its locks may be held."""
    global _changing
    _bells.clear()
    _changing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
