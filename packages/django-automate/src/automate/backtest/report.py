"""What a backtest found."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

__all__ = ["Answer", "BacktestReport", "Change", "Example", "Reason", "Tally"]

Answer = bool | str | None
"""Whether an event matches; the kind of the error where nobody can tell; None where no decision is stored."""

Reason = dict[str, Any] | str
"""An explanation, or a sentence where there is none."""


@dataclass(frozen=True, slots=True)
class Example:
    """One event about which both sides differ.

    Args:
        event_id: The event.
        type: Its type.
        created_at: When it was emitted.
        now: Why the candidate matches or does not: an explanation as of :func:`automate.rules.explain`, or a sentence.
        live: The same of the live version.
    """

    event_id: str
    type: str
    created_at: datetime
    now: Reason
    live: Reason


@dataclass(frozen=True, slots=True)
class Change:
    """What would become different in one way.

    Args:
        count: How many events.
        examples: Some of them, the newest first.
    """

    count: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """What one side said.

    Args:
        name: Who it is, such as ``"refunds v3 (shadow)"``.
        matched: Events that matched.
        unmatched: Events that did not match.
        unrecorded: Events about which no decision is stored; 0 for who was asked now.
        errors: Events about which it could not be decided, by the code of the error; what is stored is counted as
            ``"error"``.
    """

    name: str
    matched: int
    unmatched: int
    unrecorded: int
    errors: dict[str, int]

    @classmethod
    def of(cls, name: str, answers: Counter[Answer]) -> Tally:
        """Return the tally of some answers.

        Args:
            name: Who gave them.
            answers: How often each was given.
        """
        errors = {answer: times for answer, times in sorted(answers.items(), key=str) if isinstance(answer, str)}
        return cls(name, answers[True], answers[False], answers[None], errors)


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """What a backtest found.

    Args:
        events: Events looked at.
        oldest: When the oldest of them was emitted; None where there are none.
        newest: When the newest of them was.
        complete: Whether those were all; otherwise the limit left older ones out.
        unreadable: Events about which nobody was asked, as their payloads are files that cannot be read.
        now: What the candidate says.
        live: What the live version says; None where there is none to compare with.
        then: What was decided at the time, by whatever was live; None for a rule of no workflow.
        newly_matched: Events that match, and do not with the live version; where there is none, all that match.
        no_longer_matched: Events that match with the live version alone.
        seconds: How long it took.
    """

    events: int
    oldest: datetime | None
    newest: datetime | None
    complete: bool
    unreadable: int
    now: Tally
    live: Tally | None
    then: Tally | None
    newly_matched: Change
    no_longer_matched: Change
    seconds: float

    @property
    def changed(self) -> bool:
        """Whether the candidate and the live version differ about any event."""
        return self.newly_matched.count + self.no_longer_matched.count > 0

    @property
    def unrecorded_share(self) -> float | None:
        """Share of the events about which no decision is stored, from 0 to 1; None for a rule of no workflow."""
        if self.then is None:
            return None
        asked = self.events - self.unreadable
        return self.then.unrecorded / asked if asked else 0.0

    @property
    def events_per_second(self) -> float:
        """How fast it went."""
        return self.events / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON, but for the times."""
        return {
            **asdict(self),
            "changed": self.changed,
            "unrecorded_share": self.unrecorded_share,
            "events_per_second": self.events_per_second,
        }
