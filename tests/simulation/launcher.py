"""Where simulated workers have actions called: they take virtual time, and their effects are counted in Python."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from automate.actions import action
from automate.runtime.callers import start_attempt
from automate.runtime.execute import Attempt, Result
from automate_core.connectors import ActionContext
from automate_core.errors import PermanentError, TransientError
from automate_core.outbox import OutboxItem
from django.db import connection

if TYPE_CHECKING:
    from simulation.life import Life

__all__ = ["Fate", "ItemHandler", "SimulatedLauncher", "play"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What a call will do.

    Args:
        seconds: Virtual time that it takes; infinite where it never returns.
        how: ``success``, ``transient``, ``permanent`` or ``poison``.
        early: Whether its effect comes at the beginning; else at the end.
    """

    seconds: float
    how: str
    early: bool


playing: list[Fate] = []
"""The fate of the call under way."""


def play() -> str:
    """Return normally, or raise what the call under way is to raise."""
    match playing[-1].how:
        case "transient":
            raise TransientError("as drawn")
        case "permanent":
            raise PermanentError("as drawn")
    return "done"


@action("sim.external")
def external() -> str:
    return play()


@action("sim.shared", transactional=True)
def shared(ctx: ActionContext) -> str:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO sim_effect VALUES (%s, %s)", [ctx.run_id.replace("-", ""), ctx.step_id])
    return play()


class ItemHandler:
    """Handles items of a kind that is no event and no run."""

    kind = "sim.item"

    def handle(self, item: OutboxItem) -> None:
        play()

    def on_dead(self, item: OutboxItem, error: str) -> None:
        """Leave it."""

    def on_requeue(self, payloads: Any) -> Any:
        return payloads


class SimulatedLauncher:
    """Threads of one worker.

    Args:
        life: The worker.
        size: How many calls go on at once.
    """

    def __init__(self, life: Life, size: int) -> None:
        self._life, self._size = life, size
        self._waiting: deque[tuple[Any, Callable[[], Any]]] = deque()
        self._busy = self._hung = 0

    def launch(self, attempt: Attempt, done: Callable[[Result], None]) -> None:
        self._life.world.launched(self._life, attempt)
        self._waiting.append((attempt, lambda: done(start_attempt(attempt))))  # type: ignore[arg-type]

    def call(self, item: OutboxItem, handle: Callable[[OutboxItem], None]) -> None:
        self._waiting.append((item, partial(handle, item)))

    def adjust(self) -> bool:
        while self._waiting and self._busy < self._size + self._hung:
            subject, work = self._waiting.popleft()
            self._busy += 1
            world, life = self._life.world, self._life
            fate = world.fate_of(subject)
            if isinstance(subject, Attempt):
                subject.begin()
            if fate.early:
                world.effect(life, subject)
            world.later(fate.seconds, life, f"lands {world.label(subject)}", partial(self._land, subject, work, fate))
        return False  # what waits is taken up as soon as a call ends

    def _land(self, subject: Any, work: Callable[[], Any], fate: Fate) -> None:
        world = self._life.world
        self._busy -= 1
        if fate.how == "poison":
            world.poisoned(self._life, subject)
            return
        if not fate.early:
            world.effect(self._life, subject)
        troubles = self._life.troubles
        playing.append(fate)
        try:
            work()
        finally:
            playing.pop()
        if self._life.troubles > troubles and isinstance(subject, Attempt):
            world.doubted(subject)
        self.adjust()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def give_up(self) -> None:
        self._hung += 1

    def came_back(self) -> None:
        self._hung -= 1

    @property
    def is_stuck(self) -> bool:
        return self._hung >= self._size

    def drop_waiting(self) -> list[Any]:
        dropped = [subject for subject, _ in self._waiting]
        self._waiting.clear()
        for subject in dropped:
            if isinstance(subject, Attempt):
                self._life.world.dropped(subject)
        return dropped

    def close(self) -> None:
        self._waiting.clear()
