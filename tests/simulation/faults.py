"""What goes wrong at statements and commits, drawn from the seed."""

from __future__ import annotations

import sqlite3
from random import Random
from typing import TYPE_CHECKING, NoReturn

from django.db import OperationalError

if TYPE_CHECKING:
    from simulation.ledger import Actor
    from simulation.world import World

__all__ = ["Died", "DrawnFaults"]

RATES = {"die": 0.004, "cut": 0.006, "refuse": 0.006, "lost": 0.015, "interleave": 0.04}
"""How often each befalls a statement or a commit, about."""


class Died(BaseException):
    """The process is no more."""


class DrawnFaults:
    """Faults of one simulation. Each seed has its own mixture of them.

    Args:
        world: Where they happen.
        dice: Draws them.
    """

    def __init__(self, world: World, dice: Random) -> None:
        self._world, self._dice = world, dice
        self._rates = {name: rate * dice.choice((0.0, 0.3, 1.0, 2.5)) for name, rate in RATES.items()}
        self._away_until = -1.0
        self._depth = self.refusals = 0

    def end(self) -> None:
        """Let nothing go wrong any more."""
        self._rates, self._away_until = dict.fromkeys(RATES, 0.0), -1.0

    def go_away(self, seconds: float) -> None:
        """Let the database be away for some time."""
        self._away_until = self._world.clock.now + seconds

    def _strikes(self, name: str) -> bool:
        rate = self._rates[name]
        return rate > 0 and not self._world.actor.spared and self._dice.random() < rate

    @property
    def _is_away(self) -> bool:
        return self._world.clock.now < self._away_until

    # -- the connection ---------------------------------------------------------------------------------------------

    def is_connected(self) -> bool:
        return not (self._world.actor.broken or self._is_away)

    def reconnect(self) -> None:
        self._world.actor.broken = self._is_away

    def before(self, *, alone: bool) -> None:
        """Let something happen before a statement."""
        actor = self._world.actor
        if actor.spared:
            return
        if actor.dead:
            self._die(actor)
        if self._is_away or actor.broken:
            self._world.clock.advance(0.05)
            self._cut(actor, "is away")
        if alone and self._strikes("interleave") and self._depth < 2:
            self._depth += 1
            try:
                self._world.interleave()
            finally:
                self._depth -= 1
            if actor.dead:
                self._die(actor)
        if actor.mortal and self._strikes("die"):
            self._die(actor)
        if self._strikes("cut"):
            self._cut(actor, "cuts the connection")
        if self._strikes("refuse"):
            self._refuse(actor)

    def committing(self) -> None:
        """Let something happen before a commit."""
        actor = self._world.actor
        if actor.dead or (actor.mortal and self._strikes("die")):
            self._die(actor)
        if actor.broken or self._is_away or self._strikes("cut"):
            self._cut(actor, "cuts the connection before a commit")

    def committed(self, *, claimed: set[int]) -> None:
        """Let something happen after a commit."""
        actor = self._world.actor
        if actor.mortal and self._strikes("die"):
            self._die(actor)
        if self._strikes("lost"):
            for item in claimed:
                self._world.ledger.jobs[item].answer_lost = True
            self._cut(actor, "loses the answer of a commit")

    # -- what happens -----------------------------------------------------------------------------------------------

    def _die(self, actor: Actor) -> NoReturn:
        if not actor.dead:
            self._world.kill(actor)
        self._world.database.lose()
        raise Died(actor.name)

    def _cut(self, actor: Actor, text: str) -> NoReturn:
        self._world.trouble(actor, text)
        actor.broken = True
        self._world.database.lose()
        raise OperationalError(f"simulated: the database {text}")

    def _refuse(self, actor: Actor) -> NoReturn:
        """Refuse one statement over a connection that stays; half the time as another writer's fault."""
        self.refusals += 1
        self._world.trouble(actor, "refuses a statement")
        error = OperationalError("simulated: the statement is refused")
        if self._dice.random() < 0.5:
            cause = sqlite3.OperationalError("database is locked")
            cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
            error.__cause__ = cause
        raise error
