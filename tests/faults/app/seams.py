"""Named places at which a process kills itself, found by looking at the statements that Django sends.

``AUTOMATE_CRASH_AT=before-checkpoint:2`` kills the process right before the second commit of a transaction that
writes a checkpoint, ``after-claim`` right after the first commit of a claim. The product knows nothing of it. A point
kills once: the file that ``FAULTS_CRASHED`` names is made first, and nobody dies where it is.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db.backends.signals import connection_created

POINTS: dict[str, str] = {
    "claim": r"UPDATE \W?automate_outbox_job\W?.*CLAIMED",
    "complete": r"UPDATE \W?automate_outbox_job\W?.*COMPLETED",
    "dispatch": r"INSERT INTO \W?automate_execution\W",
    "checkpoint": r"INSERT INTO \W?automate_steprun\W",
    "finish": r"UPDATE \W?automate_executionrun\W?.*SUCCESS",
    "emit": r"INSERT INTO \W?automate_event\W|automate_event_add_",
}
"""What a transaction does, and how its statements show it."""

_PATTERNS = {name: re.compile(pattern, re.DOTALL) for name, pattern in POINTS.items()}


class Seam:
    """Counts the commits of one kind, and kills the process at the chosen one.

    Args:
        point: ``before-<what>`` or ``after-<what>``, with ``:<n>`` for the nth.
    """

    def __init__(self, point: str) -> None:
        name, _, number = point.partition(":")
        self.when, _, self.what = name.partition("-")
        if self.when not in ("before", "after") or self.what not in POINTS:
            raise ValueError(f"AUTOMATE_CRASH_AT={point!r}: before- or after- one of {', '.join(POINTS)}")
        self.number = int(number or 1)
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()

    def pass_by(self, when: str, tags: set[str]) -> None:
        """Die here, where this is the place."""
        if when != self.when or self.what not in tags:
            return
        with self.lock:
            self.seen[when] += 1
            if self.seen[when] == self.number:
                die()


def die() -> None:
    """Kill this process, the first time that any process comes here."""
    try:
        os.close(os.open(os.environ["FAULTS_CRASHED"], os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def install(point: str) -> None:
    """Watch every connection of this process."""
    seam = Seam(point)
    connection_created.connect(lambda connection, **_: watch(connection, seam), weak=False, dispatch_uid="seams")


def watch(connection: Any, seam: Seam) -> None:
    """Note what the transactions of a connection do, and pass by the seam around their commits."""
    if getattr(connection, "faults_tags", None) is not None:
        return  # reconnected
    connection.faults_tags = set()
    commit, rollback = connection._commit, connection._rollback

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        text = f"{sql} {params}"
        tags = {name for name, pattern in _PATTERNS.items() if pattern.search(text)}
        if connection.in_atomic_block or not connection.get_autocommit():
            connection.faults_tags |= tags
            return execute(sql, params, many, context)
        seam.pass_by("before", tags)
        result = execute(sql, params, many, context)
        seam.pass_by("after", tags)
        return result

    def committing() -> None:
        tags, connection.faults_tags = connection.faults_tags, set()
        seam.pass_by("before", tags)
        commit()
        seam.pass_by("after", tags)

    def rolling_back() -> None:
        connection.faults_tags = set()
        rollback()

    connection.execute_wrappers.append(note)
    connection._commit, connection._rollback = committing, rolling_back
