"""Who held what: follows the claims through the ledger, and finds writes by those who held nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Change", "Custody", "Violation"]

WAITING = frozenset({"PENDING", "RETRY"})
_TRANSITIONS: dict[str | None, set[str | None]] = {
    None: {"PENDING", "CLAIMED"},
    "PENDING": {"PENDING", "CLAIMED"},
    "RETRY": {"RETRY", "CLAIMED"},
    "CLAIMED": {"CLAIMED", "COMPLETED", "FAILED", "RETRY", "PENDING"},
    "COMPLETED": {"COMPLETED", None},
    "FAILED": {"FAILED", None},
}
"""From each status of a job to those that may follow; None is a row that does not exist."""

_EARLY = 0.002
"""Seconds by which a lease may seem to be taken early: SQLite's clock has milliseconds."""
_LINGER = 1.0
"""Seconds in which a server may still carry out what a dead process had sent."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not happen.

    Args:
        kind: Which promise was broken.
        subject: Of what.
        text: How.
    """

    kind: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: {self.text}"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the ledger.

    Args:
        seq: Its place.
        at: When, in seconds since 1970 by the database's clock.
        writer: The process that wrote.
        source: ``job``, ``run``, ``execution`` or ``step``.
        row: The row; for a step its run.
        old: The status before; None where the row was inserted.
        new: The status after; None where it was deleted.
        old_token: Of a job, the fencing token before.
        token: The token after.
        old_attempts: Of a job, the attempts before.
        attempts: The attempts after; of a step, which attempt it was.
        old_crashes: Of a job, the crashes before.
        crashes: The crashes after.
        expires: When the lease before would have ended, in seconds since 1970.
        key: Of a job its ordering key, of a step its id.
        job: Of a run, the job that carries it on.
    """

    seq: int
    at: float
    writer: str
    source: str
    row: str
    old: str | None
    new: str | None
    old_token: str = ""
    token: str = ""
    old_attempts: int = 0
    attempts: int = 0
    old_crashes: int = 0
    crashes: int = 0
    expires: float | None = None
    key: str = ""
    job: str = ""

    @property
    def claims(self) -> bool:
        """Whether it is a claim of a job."""
        return (
            self.source == "job" and self.new == "CLAIMED" and (self.old != "CLAIMED" or self.old_token != self.token)
        )

    @property
    def interrupts(self) -> bool:
        """Whether it ends a claim over a crash, or hands it back uncharged: a retry has a result, if a bad one."""
        if self.source != "job" or self.old != "CLAIMED" or self.new not in (*WAITING, "FAILED"):
            return False
        return self.crashes > self.old_crashes or self.attempts < self.old_attempts


class Custody:
    """Follows the ledger, one change at a time."""

    def __init__(self) -> None:
        self._holder: dict[str, str] = {}
        self._last: dict[str, str] = {}
        self._mourned: dict[str, float] = {}
        self._jobs_of_run: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._interrupted: Counter[str] = Counter()

    def interruptions(self, run: str) -> int:
        """Return how often a run was interrupted: each time, its steps under way may have had their effect."""
        return sum(self._interrupted[job] for job in self._jobs_of_run[run])

    def take(self, change: Change) -> Iterator[Violation]:
        """Judge the next change.

        Args:
            change: The change.
        """
        if change.at > self._mourned.get(change.writer, float("inf")) + _LINGER:
            text = f"it wrote at {change.seq}, after its parent had taken its leases as those of a dead child"
            yield Violation("live lease taken", f"worker {change.writer}", text)
        if change.source == "job":
            yield from self._job(change)
        elif change.source == "run":
            if change.job:
                self._jobs_of_run[change.row][change.job] = None
            yield from self._by_holder(change, f"set {change.new}")
        elif change.source == "step" and change.old is None:
            yield from self._by_holder(change, f"wrote step {change.key}, attempt {change.attempts}")

    def _by_holder(self, change: Change, what: str) -> Iterator[Violation]:
        """Rows of a run are written by who holds its job, or by who has just ended that claim."""
        job = next(reversed(self._jobs_of_run[change.row]), None)
        if job is None or (change.old is None and change.source == "run") or change.new is None:
            return
        rightful = self._holder.get(job) or self._last.get(job)
        if rightful and change.writer != rightful:
            text = f"{change.writer} {what} at {change.seq}, but job {job} was {rightful}'s"
            yield Violation("stale write accepted", f"run {change.row}", text)

    def _job(self, change: Change) -> Iterator[Violation]:
        name, holder = f"job {change.row}", self._holder.get(change.row)
        if change.new not in _TRANSITIONS.get(change.old, set()):
            text = f"{change.old} became {change.new} by {change.writer} at {change.seq}"
            yield Violation("illegal transition", name, text)
        elif change.claims:
            yield from self._claim(change, name)
        elif change.old == "CLAIMED" and holder is not None:
            yield from self._end(change, name, holder)
        self._note(change)

    def _claim(self, change: Change, name: str) -> Iterator[Violation]:
        if change.old == "CLAIMED":
            text = f"{change.writer} claimed it from {self._holder.get(change.row)} at {change.seq}"
            yield Violation("illegal transition", name, text)
        if change.attempts != change.old_attempts + 1:
            text = f"{change.old_attempts} became {change.attempts} in the claim at {change.seq}"
            yield Violation("attempt not charged", name, text)

    def _end(self, change: Change, name: str, holder: str) -> Iterator[Violation]:
        reaped = change.crashes == change.old_crashes + 1 and change.new in (*WAITING, "FAILED")
        expired = change.expires is not None and change.at >= change.expires - _EARLY
        if reaped and not expired and _is_child(holder, change.writer):
            self._mourned.setdefault(holder, change.at)  # a parent knows at once, and it must be true
        elif reaped and not expired:
            text = f"{change.writer} took it from {holder} before its lease had ended, at {change.seq}"
            yield Violation("live lease taken", name, text)
        elif not reaped and change.writer != holder:
            text = f"{change.writer} made it {change.new} at {change.seq}, but it was {holder}'s"
            taken = change.new in WAITING and expired
            yield Violation("crash not counted" if taken else "stale write accepted", name, text)

    def _note(self, change: Change) -> None:
        if change.claims:
            self._holder[change.row] = change.writer
        elif change.old == "CLAIMED" and change.new != "CLAIMED":
            self._holder.pop(change.row, None)
        if change.interrupts:
            self._interrupted[change.row] += 1
        self._last[change.row] = change.writer


def _is_child(name: str, other: str) -> bool:
    """Whether a process, by the name of a writer, is a child of another one."""
    return name.count("-") == 2 and name.rpartition("-")[2] == other.partition("-")[0]
