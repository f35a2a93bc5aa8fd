"""The scheduler of a simulation: it draws what happens when, and who goes next."""

from __future__ import annotations

import hashlib
import heapq
import logging
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from random import Random
from typing import NamedTuple

from automate import matching
from automate.events import emit_events
from automate.publish import publish
from automate.runtime.execute import Attempt
from automate_core.outbox import NewJob, OutboxItem
from automate_outbox.handlers import register_handler, registered_kinds
from automate_outbox.reaper import OutboxReaper
from automate_outbox.store import get_store
from django.db import OperationalError, transaction

from simulation.checks import check_end
from simulation.clock import Clock
from simulation.database import SimulatedDatabase
from simulation.faults import Died, DrawnFaults
from simulation.launcher import Fate, ItemHandler
from simulation.ledger import FINAL_JOB, Actor, Ledger
from simulation.life import Life
from simulation.scenario import Emission, draw_emissions, draw_workflows
from simulation.settings import LEASE, MAX_CRASHES

__all__ = ["Outcome", "World", "simulate"]

PATIENCE = 600.0
"""Virtual seconds after the last fault in which everything must have come to its end."""
MOST_STATEMENTS = 60_000


class Outcome(NamedTuple):
    """What a simulation came to.

    Args:
        seed: Its seed.
        violations: What must not be.
        trace: Each decision and each committed change.
        statements: How many statements were run.
        seconds: Virtual time.
    """

    seed: int
    violations: list[str]
    trace: list[str]
    statements: int
    seconds: float

    @property
    def digest(self) -> str:
        """The same for the same course of events."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


class _RolledBack(Exception):
    """The application changes its mind."""


class World:
    """One simulation.

    Args:
        seed: What it is drawn from.
    """

    def __init__(self, seed: int) -> None:
        self.seed, self.trace = seed, list[str]()
        self._dice, self._fates, plan = (Random(f"{name} {seed}") for name in ("order", "fates", "plan"))
        self._actors = [Actor("nobody", spared=True)]
        self.clock = Clock(lambda: self.actor.skew)
        self._ops: list[tuple[float, int, Actor, str, Callable[[], None]]] = []
        self._number = 0
        self.faults = DrawnFaults(self, Random(f"faults {seed}"))
        self.ledger = Ledger(lambda: self.actor, self.clock.text, lambda: self.clock.now, self.note, LEASE)
        self.database = SimulatedDatabase(self.clock.text, self.clock.advance, self.ledger, self.faults)
        self.lives: list[Life] = []
        self.workflows = draw_workflows(plan)
        self.emissions = draw_emissions(plan)
        self.effects: Counter[tuple[str, str, int]] = Counter()
        self._launches: Counter[tuple[str, str, str, int]] = Counter()
        self._launched_as: dict[int, tuple[str, str, str, int]] = {}
        self._app, self._reaper = Actor("application", mortal=False), Actor("reaper", mortal=False)
        self._plan, self._span, self._calm = plan, plan.uniform(5.0, 25.0), False

    @property
    def actor(self) -> Actor:
        """Who runs now."""
        return self._actors[-1]

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.clock.now:9.4f} {self.actor.name}: {text}")

    # -- the course of events ---------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Let everything happen until all is quiet, and check it."""
        with ExitStack() as stack:
            stack.enter_context(self.clock.installed(self.seed))
            stack.enter_context(self.database.opened())
            if ItemHandler.kind not in registered_kinds():
                register_handler(ItemHandler())
            matching._known.clear()  # what the processes of the simulation before knew
            with self.database.unharmed():
                for workflow in self.workflows:
                    publish(workflow)
            self._prepare()
            while self._ops and not self.ledger.violations and not self._is_over():
                self._next()
            if not self.ledger.violations:
                if not self._is_over():
                    self.ledger.wrong("nobody is left to go on")
                with self.database.unharmed():
                    check_end(self)
            for life in self.lives:
                life.worker._waker.stop()
        return Outcome(self.seed, self.ledger.violations, self.trace, self.database.statements, self.clock.now)

    def _prepare(self) -> None:
        plan, span = self._plan, self._span
        for number in range(plan.randint(1, 3)):
            self.spawn(f"worker-{number}")
        for emission in self.emissions:
            self.later(plan.uniform(0.0, span * 0.7), self._app, "emits", partial(self._emit, emission))
        happenings = (self._freeze, self._pull, self._away, self._stop, self._twin, self._jump, self._reap)
        weights = (9, 1, 1, 1, 3, 1, 2)
        for _ in range(plan.randint(2, 12)):
            self.later(plan.uniform(0.0, span), self.actor, "", plan.choices(happenings, weights)[0])
        self.later(span, self.actor, "calms down", self._calm_down)

    def later(self, seconds: float, actor: Actor, what: str, work: Callable[[], None]) -> None:
        """Have something done by an actor after some time.

        Args:
            seconds: How long to wait; what waits for ever never happens.
            actor: Who does it.
            what: What it is called in the trace.
            work: What is done.
        """
        if seconds != float("inf"):
            self._number += 1
            heapq.heappush(self._ops, (self.clock.now + seconds, self._number, actor, what, work))

    def _next(self) -> None:
        at, number, actor, what, work = heapq.heappop(self._ops)
        self.clock.advance(at - self.clock.now)
        if isinstance(actor, Life) and actor.is_gone:
            return
        if isinstance(actor, Life) and actor.frozen_until > self.clock.now:
            # What has come in the meantime has no order.
            at = actor.frozen_until + self._dice.uniform(0.0, 0.002)
            heapq.heappush(self._ops, (at, number, actor, what, work))
            return
        if actor is self.actor and isinstance(actor, Life):
            what = ""  # it is waiting in its own turn
        self._perform(actor, what, work)

    def _perform(self, actor: Actor, what: str, work: Callable[[], None]) -> None:
        self._actors.append(actor)
        try:
            if what and what not in ("turns", "renews"):
                self.note(what)
            work()
        except Died:
            pass
        except Exception:
            if not actor.dead:
                self.ledger.wrong(f"{actor.name} ended with {traceback.format_exc()}")
        finally:
            self._actors.pop()

    def run_within(self, seconds: float, until: Callable[[], bool]) -> None:
        """Let the others go on while somebody waits.

        Args:
            seconds: For how long.
            until: Whether what it waits for has come.
        """
        end = self.clock.now + seconds
        while self._ops and self._ops[0][0] <= end and not until() and not self.ledger.violations:
            self._next()
        if not until():
            self.clock.advance(end - self.clock.now)

    def interleave(self) -> None:
        """Let somebody else do something right now, between two statements."""
        others = [life for life in self.lives if not life.is_gone and life.frozen_until <= self.clock.now]
        choices: list[tuple[Actor, str, Callable[[], None]]] = [(self._reaper, "reaps between", self._reap_now)]
        for life in others:
            choices.append((life, "renews between", life.keep))
            if not life.is_active:
                choices.append((life, "turns between", life.turn))
        self._perform(*self._dice.choice(choices))

    def _is_over(self) -> bool:
        if self.database.statements > MOST_STATEMENTS or self.clock.now > self._span + PATIENCE:
            waiting = [f"{item}: {job.status}" for item, job in self.ledger.jobs.items() if job.status not in FINAL_JOB]
            self.ledger.wrong(f"it comes to no end; waiting: {waiting or 'nothing'}")
        return (
            self._calm
            and all(emission.done for emission in self.emissions)
            and all(job.status in FINAL_JOB for job in self.ledger.jobs.values())
            and not any(life.in_hand for life in self.lives if not life.is_gone)
        )

    # -- workers ----------------------------------------------------------------------------------------------------

    def spawn(self, worker_id: str) -> None:
        """Start a worker."""
        life = Life(self, f"{worker_id}.{len(self.lives)}", worker_id)
        self.lives.append(life)

    def kill(self, actor: Actor) -> None:
        """End the process of a worker; another one takes its place soon."""
        self.note(f"{actor.name} dies")
        actor.dead = True
        if isinstance(actor, Life):
            actor.worker._waker.stop()
            self.replace(actor)

    def replace(self, life: Life) -> None:
        """Start another worker in the place of one that ends."""
        worker_id = life.name.split(".")[0]
        self.later(
            self._dice.uniform(0.05, 3.0), self._actors[0], f"{worker_id} starts", partial(self.spawn, worker_id)
        )

    def trouble(self, actor: Actor, text: str) -> None:
        self.note(f"the database {text}")
        if isinstance(actor, Life):
            actor.troubles += 1

    def _someone(self) -> Life | None:
        """Choose a worker, one that has something in hand where there is one."""
        alive = [life for life in self.lives if not life.is_gone and not life.is_active]
        busy = [life for life in alive if life.in_hand]
        return self._dice.choice(busy or alive) if alive else None

    # -- what happens -----------------------------------------------------------------------------------------------

    def _freeze(self) -> None:
        if life := self._someone():
            self._hold(life, self._dice.uniform(0.2, 2.5) * LEASE)

    def _hold(self, life: Life, seconds: float) -> None:
        before = max(life.frozen_until, self.clock.now)
        life.frozen_until = max(before, self.clock.now + seconds)
        if self._dice.random() < 0.3:
            life.skew -= life.frozen_until - before  # its whole machine stood still
        if seconds > LEASE / 3:
            life.excused_at = life.frozen_until
        self.note(f"{life.name} freezes for {seconds:.2f} s")

    def _pull(self) -> None:
        if life := self._someone():
            self.kill(life)

    def _away(self) -> None:
        seconds = self._dice.uniform(0.1, 1.5) * LEASE
        self.faults.go_away(seconds)
        self.note(f"the database is away for {seconds:.2f} s")

    def _stop(self) -> None:
        if (life := self._someone()) and len(self._actors) == 2:
            self.note(f"{life.name} is told to stop")
            life.stop()
            self.replace(life)

    def _twin(self) -> None:
        if life := self._someone():
            self.note(f"{life.name} gets a twin")
            self.spawn(life.name.split(".")[0])
            if self._dice.random() < 0.7:
                self._hold(life, self._dice.uniform(1.0, 2.5) * LEASE)  # it was taken for dead

    def _jump(self) -> None:
        if life := self._someone():
            life.skew += self._dice.uniform(0.5, 60.0)
            self.note(f"the clock of {life.name} jumps to {life.skew:+.2f} s")

    def _reap(self) -> None:
        self._perform(self._reaper, "reaps", self._reap_now)

    def _reap_now(self) -> None:
        try:
            OutboxReaper(max_crashes=MAX_CRASHES).reap()
        except OperationalError:
            self._reaper.broken = False

    def _calm_down(self) -> None:
        self._calm = True
        self.faults.end()
        for actor in (self._app, self._reaper):
            actor.spared = True
        if all(life.is_gone for life in self.lives):
            self.spawn("worker-0")

    # -- the application --------------------------------------------------------------------------------------------

    def _emit(self, emission: Emission) -> None:
        emission.tries += 1
        try:
            with transaction.atomic():
                if emission.item is not None:
                    get_store().add([NewJob(ItemHandler.kind, emission.item, max_attempts=4)])
                else:
                    emission.ids = tuple(emit_events(emission.events))
                if emission.rolls_back:
                    raise _RolledBack
        except _RolledBack:
            pass
        except OperationalError:
            self._app.broken = False
            self.later(self._dice.uniform(0.1, 1.0), self._app, "emits again", partial(self._emit, emission))
            return
        emission.done = True
        for life in self.lives:
            if self._dice.random() < 0.6:
                life.ring()

    # -- what the launchers tell ------------------------------------------------------------------------------------

    def fate_of(self, subject: Attempt | OutboxItem) -> Fate:
        """Draw what a call will do."""
        dice = self._fates
        poison = subject.payload["poison"] if isinstance(subject, OutboxItem) else subject.workflow == "poison"
        seconds = dice.choice((dice.expovariate(20.0), dice.expovariate(1.0), dice.uniform(0.0, 5.0)))
        how = dice.choices(("success", "transient", "permanent"), (0.78, 0.16, 0.06))[0]
        if dice.random() < 0.02 and not poison:
            seconds = float("inf") if isinstance(subject, Attempt) else seconds
        return Fate(seconds, "poison" if poison else how, early=dice.random() < 0.5)

    def label(self, subject: Attempt | OutboxItem) -> str:
        """Return what a call is called in the trace."""
        if isinstance(subject, OutboxItem):
            return f"item {subject.id}"
        item = self.ledger.runs[subject.run_id.hex][1]
        return f"step {subject.step.id} of item {item}, attempt {subject.number}"

    def dropped(self, attempt: Attempt) -> None:
        """Take back a launch: no thread has begun it, and it may be launched again.

        Args:
            attempt: The attempt.
        """
        if key := self._launched_as.pop(id(attempt), None):
            self._launches[key] -= 1

    def launched(self, life: Life, attempt: Attempt) -> None:
        """Check that a step may be started now."""
        run, step = attempt.run_id.hex, attempt.step.id
        self.note(f"starts {self.label(attempt)}")
        known = self.ledger.steps
        workflow = next(one for one in self.workflows if one["slug"] == attempt.workflow)
        ids = [one["id"] for one in workflow["steps"]]
        place = ids.index(step)
        for need in workflow["steps"][place].get("needs", ids[max(0, place - 1) : place]):
            if not any(status != "RETRY" for status in known[run, need].values()):
                self.ledger.wrong(f"{self.label(attempt)} was started before the checkpoint of {need} was durable")
        if attempt.number > 1 and known[run, step].get(attempt.number - 1) != "RETRY":
            self.ledger.wrong(f"{self.label(attempt)} was started before the attempt before it was durable")
        tokens = [
            item.lease_token for item in life.in_hand.values() if item.payload.get("run_id") == str(attempt.run_id)
        ]
        key = (*tokens[:1], run, step, attempt.number)
        self._launched_as[id(attempt)] = key
        self._launches[key] += 1
        if self._launches[key] > 1:
            self.ledger.wrong(f"{self.label(attempt)} was started twice under one claim")

    def effect(self, life: Life, subject: Attempt | OutboxItem) -> None:
        """Count an effect outside of the database."""
        if isinstance(subject, Attempt):
            self.effects[subject.run_id.hex, subject.step.id, subject.number] += 1

    def doubted(self, attempt: Attempt) -> None:
        """Take note of a transaction of an action that went wrong: where its commit is doubtful, its lease runs out."""
        self.ledger.jobs[self.ledger.runs[attempt.run_id.hex][1]].answer_lost = True

    def poisoned(self, life: Life, subject: Attempt | OutboxItem) -> None:
        """Let a call kill its worker, and check who suffers with it."""
        own = subject.id if isinstance(subject, OutboxItem) else self.ledger.runs[subject.run_id.hex][1]
        for item in life.in_hand.values():
            # A call that outlived its claim goes on in its thread: nobody can tell it from one that hangs.
            if own in life.in_hand and item.id != own and item.crashes + 1 >= MAX_CRASHES:
                self.ledger.wrong(f"item {item.id} is failed for a crash of item {own}")
        self.kill(life)


def simulate(seed: int) -> Outcome:
    """Run one simulation.

    Args:
        seed: Its seed.
    """
    logging.disable(logging.CRITICAL)
    try:
        return World(seed).run()
    finally:
        logging.disable(logging.NOTSET)
