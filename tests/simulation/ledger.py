"""The history of a simulation, told by triggers, and what must hold at each commit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["TRIGGERS", "Actor", "Job", "Ledger"]

LIVE = ("PENDING", "RETRY")
FINAL_JOB, FINAL_RUN = ("COMPLETED", "FAILED"), ("SUCCESS", "FAILED", "CANCELLED")

_JOB = "status, {0}.lease_token, {0}.attempts, {0}.crashes, {0}.lease_expires_at"
_PLACE = "NEW.next_attempt_at, NEW.last_error, NEW.queue || '/' || NEW.tenant || '/' || NEW.ordering_key"
TRIGGERS = f"""
CREATE TEMP TRIGGER sim_1 AFTER INSERT ON automate_outbox_job BEGIN
    SELECT sim_job(NEW.id, '', '', 0, 0, NULL, NEW.{_JOB.format("NEW")}, {_PLACE}); END;
CREATE TEMP TRIGGER sim_2 AFTER UPDATE ON automate_outbox_job BEGIN
    SELECT sim_job(NEW.id, OLD.{_JOB.format("OLD")}, NEW.{_JOB.format("NEW")}, {_PLACE}); END;
CREATE TEMP TRIGGER sim_3 AFTER INSERT ON automate_executionrun BEGIN
    SELECT sim_run(NEW.id, '', NEW.status, NEW.job_id, NEW.started_at); END;
CREATE TEMP TRIGGER sim_4 AFTER UPDATE ON automate_executionrun BEGIN
    SELECT sim_run(NEW.id, OLD.status, NEW.status, NEW.job_id, NEW.started_at); END;
CREATE TEMP TRIGGER sim_5 AFTER INSERT ON automate_steprun BEGIN
    SELECT sim_step(NEW.run_id, NEW.step_id, NEW.attempt, NEW.status, 1); END;
CREATE TEMP TRIGGER sim_6 AFTER UPDATE ON automate_steprun BEGIN
    SELECT sim_step(NEW.run_id, NEW.step_id, NEW.attempt, NEW.status, 0); END;
"""


@dataclass(eq=False)
class Actor:
    """Who uses the database.

    Args:
        name: Its name in the trace.
        spared: Whether nothing happens to it.
        mortal: Whether it can die.
    """

    name: str
    spared: bool = False
    mortal: bool = True
    dead: bool = False
    broken: bool = False
    skew: float = 0.0
    tokens: set[str] = field(default_factory=set)
    excused_at: float = -1.0
    """When it last had a reason to lose its leases without dying."""


@dataclass
class Job:
    """An item, and what happened to it."""

    key: str
    status: str = ""
    holder: Actor | None = None
    claimed_at: float = 0.0
    answer_lost: bool = False
    crashes: int = 0
    claims: int = 0
    counts: Counter[str] = field(default_factory=Counter)


class JobRow(NamedTuple):
    status: str
    token: str
    attempts: int
    crashes: int
    expires: str | None


class _Change(NamedTuple):
    item: int
    old: JobRow
    new: JobRow
    due: str
    error: str
    key: str


class Ledger:
    """Judges each commit.

    Args:
        actor: Returns who runs now.
        now: Returns the time as text.
        seconds: Returns the time in seconds.
        trace: Takes a line of the trace.
        lease: Seconds that a claim holds.
    """

    def __init__(
        self,
        actor: Callable[[], Actor],
        now: Callable[[], str],
        seconds: Callable[[], float],
        trace: Callable[[str], None],
        lease: float,
    ) -> None:
        self._actor, self._now, self._seconds, self._trace, self._lease = actor, now, seconds, trace, lease
        self._pending: list[tuple[str, tuple[Any, ...]]] = []
        self._savepoints: dict[str, int] = {}
        self.violations: list[str] = []
        self.jobs: dict[int, Job] = {}
        self.runs: dict[str, tuple[str, int]] = {}
        self.steps: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
        self._by_key: dict[str, set[int]] = defaultdict(set)

    # -- what the triggers tell -------------------------------------------------------------------------------------

    def note_job(self, *row: Any) -> None:
        self._pending.append(("job", row))

    def note_run(self, *row: Any) -> None:
        self._pending.append(("run", row))

    def note_step(self, *row: Any) -> None:
        self._pending.append(("step", row))

    @property
    def has_news(self) -> bool:
        return bool(self._pending)

    def savepoint(self, sql: str) -> None:
        """Follow savepoints: what is rolled back to one never happened."""
        if sql.startswith("SAVEPOINT"):
            self._savepoints[sql.split()[-1]] = len(self._pending)
        elif sql.startswith("ROLLBACK TO SAVEPOINT"):
            del self._pending[self._savepoints.get(sql.split()[-1], 0) :]

    def discard(self) -> None:
        """Forget what was rolled back."""
        self._pending, self._savepoints = [], {}

    def commit(self) -> set[int]:
        """Judge what was committed, and return the items that were claimed with it."""
        news = self._pending
        self.discard()
        claimed: set[int] = set()
        ended: dict[int, Actor | None] = {}
        for what, row in news:
            if what == "job":
                change = _Change(row[0], JobRow(*row[1:6]), JobRow(*row[6:11]), *row[11:])
                holder = self.jobs[change.item].holder if change.item in self.jobs else None
                if self._job(change):
                    claimed.add(change.item)
                elif change.old.status == "CLAIMED" and change.new.status != "CLAIMED":
                    ended[change.item] = holder if change.new.crashes <= change.old.crashes else None
        for what, row in news:
            if what == "run":
                self._run(*row, ended=ended)
        for what, row in news:
            if what == "step":
                self._step(*row, ended=ended)
        return claimed

    def wrong(self, text: str) -> None:
        """Note that something must not be."""
        self._trace(f"VIOLATION {text}")
        self.violations.append(f"at {self._seconds():.4f} s, {self._actor().name}: {text}")

    # -- items ------------------------------------------------------------------------------------------------------

    def _job(self, change: _Change) -> bool:
        """Judge one change of an item, and return whether it was claimed."""
        item, old, new = change.item, change.old, change.new
        job = self.jobs.setdefault(item, Job(change.key))
        before, after = (f"{row.status or '-'} {row.attempts}/{row.crashes}" for row in (old, new))
        self._trace(f"item {item}: {before} -> {after}")
        if old.status in FINAL_JOB and new != old:
            self.wrong(f"item {item} was {old.status} and became {new.status}")
        if new.status == "CLAIMED" and old.status != "CLAIMED":
            self._claimed(job, change)
        elif old.status == "CLAIMED":
            self._left(job, change)
        elif old.status and new.status != old.status:
            self.wrong(f"item {item} went from {old.status} to {new.status}, held by nobody")
        job.status, job.crashes = new.status, new.crashes
        if not change.key.endswith("/"):
            (self._by_key[change.key].discard if new.status in FINAL_JOB else self._by_key[change.key].add)(item)
            if new.status == "CLAIMED" and min(self._by_key[change.key]) < item:
                self.wrong(f"item {item} overtook item {min(self._by_key[change.key])} of its ordering key")
        return new.status == "CLAIMED" and old.status != "CLAIMED"

    def _claimed(self, job: Job, change: _Change) -> None:
        actor, (item, old, new) = self._actor(), change[:3]
        if (new.attempts, new.crashes) != (old.attempts + 1, old.crashes):
            self.wrong(f"the claim of item {item} did not charge one attempt")
        if not new.token or (job.holder is not None and new.token == old.token):
            self.wrong(f"the claim of item {item} has no new token")
        if old.status and change.due[:23] > self._now():
            self.wrong(f"item {item} was claimed before its time, {change.due}")
        actor.tokens.add(new.token)
        job.holder, job.claimed_at, job.answer_lost = actor, self._seconds(), False
        job.claims += 1

    def _left(self, job: Job, change: _Change) -> None:
        """Judge what becomes of a claim."""
        item, old, new = change.item, change.old, change.new
        if new.crashes == old.crashes + 1 and new.status in ("RETRY", "FAILED"):
            self._charged(job, change)
            return
        if old.token not in self._actor().tokens:
            self.wrong(f"a stale write was accepted: item {item} is held by {job.holder and job.holder.name}")
        kind = _kind_of(change)
        if not kind:
            self.wrong(f"item {item}: {old} became {new}, which no ending of a claim explains")
        job.counts[kind] += 1
        if new.status != "CLAIMED":
            job.holder = None

    def _charged(self, job: Job, change: _Change) -> None:
        item, old, holder = change.item, change.old, job.holder
        if old.expires is None or old.expires[:23] >= self._now():
            self.wrong(f"item {item} was reaped while its lease held until {old.expires}")
        if holder is not None and not (holder.dead or job.answer_lost or holder.excused_at >= job.claimed_at):
            self.wrong(
                f"item {item} was charged with a crash, but {holder.name} lives and nothing kept it from renewing"
            )
        if change.new.attempts != old.attempts:
            self.wrong(f"the reaper changed the attempts of item {item}")
        job.counts["crash"] += 1
        job.holder = None

    # -- runs and steps ---------------------------------------------------------------------------------------------

    def _holds(self, item: int, ended: dict[int, Actor | None]) -> bool:
        actor = self._actor()
        if item in ended:
            return ended[item] is actor
        return self.jobs[item].status == "CLAIMED" and self.jobs[item].holder is actor

    def _run(
        self, run: str, old: str, new: str, item: int, started_at: str | None, *, ended: dict[int, Actor | None]
    ) -> None:
        self._trace(f"run of item {item}: {old or '-'} -> {new}")
        if old in FINAL_RUN:
            self.wrong(f"the run of item {item} was {old} and became {new}")
        died = self.jobs[item].status == "FAILED"
        if old and not died and not self._holds(item, ended):
            self.wrong(f"the run of item {item} became {new} by somebody who does not hold it")
        if new in ("RUNNING", "SUCCESS") and started_at is None:
            self.wrong(f"the run of item {item} is {new} and never started")
        self.runs[run] = (new, item)

    def _step(
        self, run: str, step: str, attempt: int, status: str, new: int, *, ended: dict[int, Actor | None]
    ) -> None:
        item = self.runs[run][1]
        self._trace(f"step {step} of item {item}, attempt {attempt}: {status}")
        if not new:
            self.wrong(f"the record of step {step} of item {item} was changed")
        if not self._holds(item, ended):
            self.wrong(f"step {step} of item {item} was recorded by somebody who does not hold it")
        earlier = self.steps[run, step]
        if any(known != "RETRY" for known in earlier.values()):
            self.wrong(f"step {step} of item {item} was recorded after its end")
        earlier[attempt] = status


def _kind_of(change: _Change) -> str:
    """Return by what a claim ended or was kept; empty where nothing explains the change."""
    old, new = change.old, change.new
    same = (new.attempts, new.crashes) == (old.attempts, old.crashes)
    match new.status:
        case "CLAIMED":
            return "renewed" if same and new.token == old.token else ""
        case "COMPLETED":
            return "completed" if same else ""
        case "FAILED":
            return "failed" if same and change.error else ""
        case "RETRY" if same:
            return "retried" if change.error else ""
        case "PENDING" if (new.attempts, new.crashes) == (0, 0) and not (old.attempts == 1 and not old.crashes):
            return "rescheduled"
    if new.status in LIVE and (new.attempts, new.crashes) == (old.attempts - 1, old.crashes):
        return "released"
    return ""
