"""The simulated clock, and everything in the process that is made to follow it and the seed."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, tzinfo
from unittest.mock import patch

from automate_core import ids
from django.utils import timezone

__all__ = ["EPOCH", "Clock"]

EPOCH = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
_TEXT = "%Y-%m-%d %H:%M:%S.%f"


class Clock:
    """Virtual seconds since the start of a simulation.

    Args:
        skew: Returns by how much the monotonic clock of whoever runs now is off.
    """

    def __init__(self, skew: Callable[[], float]) -> None:
        self.now, self._skew = 0.0, skew

    def advance(self, seconds: float) -> None:
        self.now += max(0.0, seconds)

    def monotonic(self) -> float:
        return 1000.0 + self.now + self._skew()

    def time(self) -> float:
        return EPOCH + self.now

    def text(self) -> str:
        """Return the time as the database has it: in UTC, with milliseconds."""
        return datetime.fromtimestamp(self.time(), UTC).strftime(_TEXT)[:-3]

    @contextmanager
    def installed(self, seed: int) -> Iterator[None]:
        """Let the process read this clock, and draw everything random from the seed.

        Args:
            seed: The seed.
        """
        clock, dice, state = self, random.Random(f"ids {seed}"), random.getstate()

        class VirtualDatetime(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return datetime.fromtimestamp(clock.time(), tz)

        with ExitStack() as stack:
            stack.callback(random.setstate, state)
            random.seed(f"jitter {seed}")
            for owner, name, value in (
                (time, "monotonic", self.monotonic),
                (time, "time", self.time),
                (time, "time_ns", lambda: int(self.time() * 1e9)),
                (time, "sleep", self.advance),
                (secrets, "token_hex", lambda size=32: f"{dice.getrandbits(8 * size):0{2 * size}x}"),
                (secrets, "randbits", dice.getrandbits),
                (timezone, "datetime", VirtualDatetime),
                (ids, "_last", 0),
            ):
                stack.enter_context(patch.object(owner, name, value))
            yield
