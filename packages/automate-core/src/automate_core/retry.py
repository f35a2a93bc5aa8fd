"""The one retry policy: exponential backoff with jitter, as plain arithmetic.

Jitter is the *equal* kind of Marc Brooker's "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): half of
the wait is kept, the other half is spread at random. Full jitter spreads a little better, but may retry at once, which
costs an attempt for nothing when a durable row can wait.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from automate_core.errors import AutomateError, ConfigurationError

if TYPE_CHECKING:
    from automate_core.settings import ExecutionSettings

__all__ = ["MAX_RETRY_AFTER", "RetryPolicy", "parse_retry_after"]

MAX_RETRY_AFTER = 3600.0
"""Seconds: no other side can ask for a longer wait than this, or than the policy's own longest, whichever is more."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and after which waits, a failed attempt is repeated.

    Args:
        max_attempts: Attempts in all, the first one included.
        initial: Seconds before the second attempt.
        factor: Growth of the wait from one attempt to the next.
        max: Longest wait in seconds.
        jitter: Whether the second half of each wait is random.

    Raises:
        ConfigurationError: If a number is out of its range.
    """

    max_attempts: int = 4
    initial: float = 1.0
    factor: float = 2.0
    max: float = 300.0
    jitter: bool = True

    def __post_init__(self) -> None:
        bounds = {
            "max_attempts": self.max_attempts >= 1,
            "initial": 0 <= self.initial < math.inf,
            "factor": 1 <= self.factor < math.inf,
            "max": 0 <= self.max < math.inf,
        }
        for name, holds in bounds.items():
            if not holds:
                raise ConfigurationError(
                    f"{getattr(self, name)!r} is no {name} of a retry policy: attempts and the factor are 1 at least, "
                    "seconds are finite and not negative."
                )

    @classmethod
    def from_settings(cls, settings: ExecutionSettings) -> RetryPolicy:
        """Make the policy that holds where neither a step nor its workflow says anything.

        Args:
            settings: The section ``EXECUTION``; its ``max_retries`` are attempts after the first.
        """
        return cls(
            max_attempts=settings.max_retries + 1,
            initial=settings.retry_initial_seconds,
            factor=settings.retry_factor,
            max=settings.retry_max_seconds,
            jitter=settings.retry_jitter,
        )

    def delay(self, attempt: int, *, random: float, retry_after: float | None = None) -> float:
        """Return how long to wait after a failed attempt.

        Args:
            attempt: Number of the attempt that failed, from 1.
            random: A random number, ``0 <= random < 1``; unused without jitter.
            retry_after: Seconds that the other side asked for: a lower bound of the wait, itself capped at
                :data:`MAX_RETRY_AFTER` (or at ``max``, where that is more).

        Returns:
            Seconds.
        """
        base = self._base(attempt)
        fixed = base / 2 if self.jitter else base
        if retry_after is not None and retry_after > fixed:
            fixed = min(retry_after, max(self.max, MAX_RETRY_AFTER))
        return fixed + (base / 2 * random if self.jitter else 0.0)

    def _base(self, attempt: int) -> float:
        try:
            grown = self.initial * float(self.factor) ** max(0, attempt - 1)
        except OverflowError:
            return self.max
        return min(self.max, grown)

    def next_delay(self, error: BaseException, attempt: int, *, random: float) -> float | None:
        """Decide whether a failed attempt is repeated.

        Args:
            error: Why it failed. Only an error of the tree can be retryable.
            attempt: Number of the attempt that failed, from 1.
            random: A random number, ``0 <= random < 1``.

        Returns:
            Seconds to wait, or None where there is no further attempt.
        """
        if not isinstance(error, AutomateError) or not error.retryable or attempt >= self.max_attempts:
            return None
        return self.delay(attempt, random=random, retry_after=error.retry_after)


def parse_retry_after(value: str | None, *, now: datetime | None = None, cap: float = MAX_RETRY_AFTER) -> float | None:
    """Read a ``Retry-After`` header.

    Args:
        value: Seconds, or an HTTP date.
        now: The time to count from, with a zone; left out, the clock's.
        cap: The most seconds to return.

    Returns:
        Seconds from 0 to the cap; None where there is no header, or one that is neither.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", text):
        return min(float(text[:32]), cap)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - (now or datetime.now(UTC))).total_seconds()), cap)
