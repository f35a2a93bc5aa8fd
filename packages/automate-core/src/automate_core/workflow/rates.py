"""How fast runs may begin: a token bucket, as the time at which the next token is due.

The algorithm is the generic cell rate algorithm in its virtual scheduling form (ITU-T Recommendation I.371, annex A). A
bucket is one moment, the theoretical arrival time, instead of a count and a time of its last change, so that nothing
has to be filled up while nobody looks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

__all__ = ["GRACE", "Bucket", "Rate"]

GRACE = timedelta(seconds=1)
"""How late a run may come to the time that it was given, and still be counted as of that time.

Workers look for what is due from time to time. Without a grace every look would lose the tokens of the time since the
one before.
"""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The state of a rate for one key.

    Args:
        arrival: Theoretical arrival time: when the bucket is full again; None for full.
        booked: The last time that was given to a run; None where no run was ever told to wait.
    """

    arrival: datetime | None = None
    booked: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast runs of a key may begin: in any ``t`` seconds ``burst + per_second * (t + 1)`` at the most.

    The one second more is :data:`GRACE`, and is for runs that had to wait alone.

    Args:
        per_second: Runs that may begin in a second.
        burst: Runs that may begin at once after a rest.
    """

    per_second: float
    burst: int = 1

    def take(
        self, bucket: Bucket, now: datetime, *, waited: bool = False, alone: bool = False
    ) -> tuple[Bucket, datetime | None]:
        """Take a token, or be given a time at which to ask again.

        Those that must wait are given times one after another, so that each asks again once, and who comes new does not
        go before them.

        Args:
            bucket: The state before.
            now: The time, by a clock that all share.
            waited: Whether this run was given a time before.
            alone: Whether the key has one such run at a time; then there is no line to stand in.

        Returns:
            The state after, and when to ask again: None where the run may begin now.
        """
        interval = timedelta(seconds=1 / self.per_second)
        grace = GRACE if waited else timedelta()
        arrival = bucket.arrival or now
        earliest = arrival - (self.burst - 1) * interval
        line = None if alone else bucket.booked
        if earliest - grace <= now and (waited or line is None or line <= now):
            return replace(bucket, arrival=max(arrival, now) + interval), None
        slot = earliest if line is None else max(earliest, line + interval)
        return replace(bucket, booked=None if alone else slot), slot
