"""What became of the work, judged from what was recorded: a pure function over plain records."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from faults.custody import Change, Custody, Violation

__all__ = ["Change", "Execution", "Facts", "Job", "Run", "Violation", "check"]

FINAL_JOB = frozenset({"COMPLETED", "FAILED"})
FINAL_RUN = frozenset({"SUCCESS", "FAILED", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the outbox in the end.

    Args:
        status: Its status.
        crashes: Crashes on its account.
        error: Its last error.
        event: The event that it is to decide about; empty for other kinds.
    """

    status: str
    crashes: int = 0
    error: str = ""
    event: str = ""


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution in the end."""

    event: str
    workflow: str
    status: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run in the end.

    Args:
        execution: Its execution.
        status: Its status.
        code: The code of its error; empty without one.
        error: What the error says.
    """

    execution: str
    status: str
    code: str = ""
    error: str = ""


@dataclass(slots=True)
class Facts:
    """Everything that was recorded.

    Args:
        emitted: Events whose commit returned to their emitter.
        rolled_back: Events whose emitter rolled back.
        events: Every event in the database, with its type.
        jobs: By id.
        executions: By id.
        runs: By id.
        changes: The ledger, in its order.
        external: How often each effect outside of the database was had, by idempotency key (``run:step``).
        shared: The same within the database.
        expected: Steps with external and with shared effects, by workflow.
        triggered: The workflow that each type of event starts.
        shared_once: Whether shared effects must not be doubled.
        max_crashes: Crashes after which an item may be dead.
        may_fail: Workflows whose runs may end FAILED.
    """

    emitted: set[str] = field(default_factory=set)
    rolled_back: set[str] = field(default_factory=set)
    events: Mapping[str, str] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    executions: Mapping[str, Execution] = field(default_factory=dict)
    runs: Mapping[str, Run] = field(default_factory=dict)
    changes: Sequence[Change] = ()
    external: Mapping[str, int] = field(default_factory=dict)
    shared: Mapping[str, int] = field(default_factory=dict)
    expected: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    triggered: Mapping[str, str] = field(default_factory=dict)
    shared_once: bool = False
    max_crashes: int = 3
    may_fail: frozenset[str] = frozenset()


def check(facts: Facts) -> list[Violation]:
    """Return every violation that the records show.

    Args:
        facts: The records, of a system that was drained.
    """
    custody = Custody()
    found = [violation for change in facts.changes for violation in custody.take(change)]
    rules: list[Callable[[Facts], Iterator[Violation]]] = [_emits, _events, _jobs, _runs, _finals, _steps, _order]
    for rule in rules:
        found += rule(facts)
    found += _effects(facts, custody)
    return found


def _quarantined(job: Job, facts: Facts) -> bool:
    """Whether an item may be dead: it was there when workers died too often, and says so."""
    return job.status == "FAILED" and job.crashes >= facts.max_crashes and job.error.startswith("crashed")


def _emits(facts: Facts) -> Iterator[Violation]:
    for event in sorted(facts.emitted - set(facts.events)):
        yield Violation("lost", event, "its commit returned, but there is no such event")
    for event in sorted(facts.rolled_back & set(facts.events)):
        yield Violation("rolled back yet there", event, "its emitter rolled back")


def _events(facts: Facts) -> Iterator[Violation]:
    started: defaultdict[str, list[str]] = defaultdict(list)
    for execution in facts.executions.values():
        started[execution.event].append(execution.workflow)
    jobs = {job.event: job for job in facts.jobs.values() if job.event}
    for event, type_ in facts.events.items():
        wanted = facts.triggered.get(type_)
        got = started.get(event, [])
        job = jobs.get(event)
        if wanted and not got and not (job and _quarantined(job, facts)):
            yield Violation("lost", event, f"it never started {wanted!r}; its job: {job}")
        if len(got) > 1 or (got and got != [wanted]):
            yield Violation("started twice", event, f"it started {got}")


def _jobs(facts: Facts) -> Iterator[Violation]:
    for id_, job in facts.jobs.items():
        if job.status not in FINAL_JOB:
            yield Violation("lost", f"job {id_}", f"it is still {job.status}")
        elif job.status == "FAILED" and not _quarantined(job, facts):
            yield Violation("failed", f"job {id_}", f"nobody asked for that: {job.error!r}")


def _runs(facts: Facts) -> Iterator[Violation]:
    ran: defaultdict[str, list[Run]] = defaultdict(list)
    for run in facts.runs.values():
        ran[run.execution].append(run)
    for id_, execution in facts.executions.items():
        runs = ran[id_]
        if len(runs) != 1:
            yield Violation("lost" if not runs else "started twice", f"execution {id_}", f"it has {len(runs)} runs")
        for run in runs:
            if run.status not in FINAL_RUN:
                yield Violation("lost", f"execution {id_}", f"its run is still {run.status}")
            elif run.status != execution.status:
                yield Violation("torn", f"execution {id_}", f"it is {execution.status}, its run {run.status}")
            elif run.status == "FAILED" and run.code != "crashed" and execution.workflow not in facts.may_fail:
                yield Violation("failed", f"execution {id_}", f"nobody asked for that: {run.code}: {run.error}")


def _finals(facts: Facts) -> Iterator[Violation]:
    """Terminal states are entered once, and never left."""
    ended: Counter[tuple[str, str]] = Counter()
    for change in facts.changes:
        if change.source == "step":
            continue
        final = FINAL_JOB if change.source == "job" else FINAL_RUN
        name = f"{change.source} {change.row}"
        if change.old in final and change.new != change.old and change.new is not None:
            yield Violation("terminal changed", name, f"{change.old} became {change.new} by {change.writer}")
        if change.new in final and change.old != change.new:
            ended[change.source, change.row] += 1
            if ended[change.source, change.row] == 2:
                yield Violation("completed twice", name, f"the second time as {change.new} by {change.writer}")


def _steps(facts: Facts) -> Iterator[Violation]:
    done = Counter((c.row, c.key) for c in facts.changes if c.source == "step" and c.old is None and c.new == "SUCCESS")
    for (run, step), count in done.items():
        if count > 1:
            yield Violation("step twice", f"run {run}", f"step {step} has {count} successes")


def _effects(facts: Facts, custody: Custody) -> Iterator[Violation]:
    for id_, run in facts.runs.items():
        workflow = facts.executions[run.execution].workflow if run.execution in facts.executions else ""
        external, shared = facts.expected.get(workflow, ("", ""))
        allowed = 1 + custody.interruptions(id_)
        for step in external:
            count = facts.external.get(f"{id_}:{step}", 0)
            if count > allowed:
                text = f"{count} effects of step {step}, and its run was interrupted {allowed - 1} times"
                yield Violation("external effect repeated", f"run {id_}", text)
            elif not count and run.status == "SUCCESS":
                yield Violation("effect missing", f"run {id_}", f"step {step} had no effect")
        for step in shared:
            count = facts.shared.get(f"{id_}:{step}", 0)
            if count > 1 and facts.shared_once:
                yield Violation("shared effect doubled", f"run {id_}", f"{count} effects of step {step}")
            elif not count and run.status == "SUCCESS":
                yield Violation("effect missing", f"run {id_}", f"step {step} had no effect")


def _order(facts: Facts) -> Iterator[Violation]:
    """Of the jobs with one key, none is claimed while an earlier one is not final."""
    live: defaultdict[str, set[int]] = defaultdict(set)
    for change in facts.changes:
        if change.source != "job" or not change.key:
            continue
        waiting = live[change.key]
        if change.new is None or change.new in FINAL_JOB:
            waiting.discard(int(change.row))
            continue
        waiting.add(int(change.row))
        if change.claims and min(waiting) < int(change.row):
            text = f"claimed while job {min(waiting)} of the same key was not done"
            yield Violation("order violated", f"job {change.row}", text)
