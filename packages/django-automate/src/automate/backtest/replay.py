"""Recorded events, window by window, and what is counted about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from automate_core.errors import ArtifactError
from automate_core.ids import uuid7_floor
from automate_core.workflow.events import matches
from django.db.models import Case, CharField, OuterRef, Q, QuerySet, Subquery, Value, When

from automate.backtest.report import Answer, BacktestReport, Change, Example, Reason, Tally
from automate.models import Decision, Event
from automate.models.bulk import load_rows

if TYPE_CHECKING:
    from automate.backtest.candidates import Candidate

__all__ = ["Answers", "Count", "Recording", "ask_both", "read_both", "stored_reasons"]

WINDOW = 250
"""Events that are in memory at once; a payload in its row has up to EXECUTION.inline_bytes."""

_PAGE = 10_000
"""Ids that are looked for at once."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STORED: dict[str | None, Answer] = {"matched": True, "unmatched": False, "error": "error", None: None}


class Answers(NamedTuple):
    """What is said about one event: by the candidate, by the live version, and by the stored decision."""

    now: Answer
    live: Answer = None
    then: Answer = None


@dataclass(frozen=True, slots=True)
class Recording:
    """The recorded events that are looked at.

    Args:
        patterns: Their types.
        since: The time from which on.
        until: The time before which.
        limit: How many at the most.
        tenant: Whose.
        using: Alias of the database.
        said: The stored decisions to read with them: a name, and the filter that finds the one about an event.
    """

    patterns: frozenset[str]
    since: datetime | None
    until: datetime | None
    limit: int
    tenant: str | None
    using: str
    said: Mapping[str, Mapping[str, Any]]

    def windows(self) -> Iterator[list[UUID]]:
        """Yield the ids of the events, the newest first, as many at a time as fit into memory with their payloads.

        Ids alone are looked for by type: a database that sorts what it finds by the index of types then sorts little.
        """
        left, last = self.limit, None
        while left > 0:
            size = min(_PAGE, left)
            page = list(self._ids(last)[:size])
            yield from (page[start : start + WINDOW] for start in range(0, len(page), WINDOW))
            if len(page) < size:
                return
            left, last = left - size, page[-1]

    def load(self, ids: list[UUID]) -> Iterator[Event]:
        """Yield events, and keep none that was yielded.

        Args:
            ids: Their ids.
        """
        rows = Event.objects.using(self.using).defer("traceparent", "causation_id", "causation_depth")
        # One probe of the index of decisions for each event, within the statement that reads the events.
        said = {f"said_{name}": Subquery(_said(self.decisions(name))) for name in self.said}
        found = load_rows(rows.annotate(**said), ids)
        for key in ids:
            if key in found:  # retention may have been here meanwhile
                yield found.pop(key)

    def goes_on(self, last: UUID | None) -> bool:
        """Return whether there are events behind the last one that was looked at.

        Args:
            last: Its id; None where there was none.
        """
        return last is not None and self._ids(last).exists()

    def decisions(self, name: str) -> QuerySet[Decision]:
        """Return the stored decisions of one name.

        Args:
            name: As in ``said``.
        """
        return Decision.objects.using(self.using).filter(**self.said[name])

    def _ids(self, last: UUID | None) -> QuerySet[Event, UUID]:
        rows = Event.objects.using(self.using).order_by("-id")
        if "*" not in self.patterns:
            # What a database finds that knows no case is left out when it is counted.
            rows = rows.filter(reduce(or_, (_of_type(pattern) for pattern in self.patterns)))
        if last is not None:
            rows = rows.filter(id__lt=last)
        if self.since is not None:
            rows = rows.filter(id__gte=uuid7_floor(max(self.since, _EPOCH)))
        if self.until is not None:
            rows = rows.filter(id__lt=uuid7_floor(max(self.until, _EPOCH)))
        if self.tenant is not None:
            rows = rows.filter(tenant=self.tenant)
        return rows.values_list("id", flat=True)


def _of_type(pattern: str) -> Q:
    return Q(type__startswith=pattern[:-1]) if pattern.endswith(".*") else Q(type=pattern)


def _said(decisions: QuerySet[Decision]) -> QuerySet[Decision, Any]:
    matched = When(matched=True, then=Value("matched"))
    unmatched = When(error="", then=Value("unmatched"))
    said = Case(matched, unmatched, default=Value("error"), output_field=CharField())
    return decisions.filter(event_id=OuterRef("pk")).order_by("-pk").annotate(said=said).values("said")[:1]


def ask_both(candidate: Candidate, live: Candidate | None, event: Event) -> Answers:
    """Ask the candidate and the live version, and read what was decided.

    Args:
        candidate: The candidate.
        live: The live version.
        event: The event.

    Raises:
        ArtifactError: If its payload is a file that cannot be read.
    """
    then = _STORED[getattr(event, "said_then", None)]
    return Answers(candidate.answer(event), None if live is None else live.answer(event), then)


def read_both(event: Event) -> Answers:
    """Read what the shadow and the live version decided.

    Args:
        event: The event.
    """
    now, live = (_STORED[getattr(event, f"said_{name}")] for name in ("now", "live"))
    return Answers(now, live)


def stored_reasons(recording: Recording, event: Event) -> tuple[Reason, Reason]:
    """Return why the shadow and the live version matched or did not, as it was stored.

    Args:
        recording: Where the decisions are.
        event: The event.
    """
    now, live = (_stored_reason(recording.decisions(name), event) for name in ("now", "live"))
    return now, live


def _stored_reason(decisions: QuerySet[Decision], event: Event) -> Reason:
    decision = decisions.filter(event_id=event.pk).order_by("-pk").first()
    if decision is None:
        return "no decision is stored, so it did not match"
    return decision.error or decision.explanation or "every event of this type matches"


class Count:
    """What is counted about recorded events.

    Args:
        ask: Returns what is said about an event.
        explain: Returns why.
        examples: How many examples of each difference are kept.
    """

    def __init__(
        self, ask: Callable[[Event], Answers], explain: Callable[[Event], tuple[Reason, Reason]], examples: int
    ) -> None:
        self._ask, self._explain, self._most = ask, explain, examples
        self._answers: tuple[Counter[Answer], ...] = (Counter(), Counter(), Counter())
        self._changed: Counter[bool] = Counter()
        self._examples: dict[bool, list[Example]] = {True: [], False: []}
        self._events = self._unreadable = 0
        self._newest: datetime | None = None
        self._oldest: datetime | None = None

    def follow(self, recording: Recording, progress: Callable[[int], None] | None) -> bool:
        """Count, to the end or the limit.

        Args:
            recording: The events.
            progress: Told after each window how many events were looked at.

        Returns:
            Whether it was to the end.
        """
        read, last = 0, None
        for window in recording.windows():
            for event in recording.load(window):
                self._look_at(event, recording.patterns)
            read, last = read + len(window), window[-1]
            if progress is not None:
                progress(read)
        return read < recording.limit or not recording.goes_on(last)

    def _look_at(self, event: Event, patterns: frozenset[str]) -> None:
        if not any(matches(pattern, event.type) for pattern in patterns):
            return
        self._events += 1
        self._newest, self._oldest = self._newest or event.created_at, event.created_at
        try:
            said = self._ask(event)
        except ArtifactError:
            self._unreadable += 1
            return
        for counter, answer in zip(self._answers, said, strict=True):
            counter[answer] += 1
        gained = said.now is True
        if gained is (said.live is True):
            return
        self._changed[gained] += 1
        if len(self._examples[gained]) < self._most:
            reasons = self._explain(event)
            self._examples[gained].append(Example(str(event.pk), event.type, event.created_at, *reasons))

    def report(self, now: str, live: str, then: str, *, complete: bool, seconds: float) -> BacktestReport:
        """Return what was found.

        Args:
            now: Name of the candidate.
            live: Name of the live version; empty where there is none.
            then: Name of the stored decisions; empty where they were not read.
            complete: Whether it was counted to the end.
            seconds: How long it took.
        """
        of_now, of_live, of_then = self._answers
        return BacktestReport(
            events=self._events,
            oldest=self._oldest,
            newest=self._newest,
            complete=complete,
            unreadable=self._unreadable,
            now=Tally.of(now, of_now),
            live=Tally.of(live, of_live) if live else None,
            then=Tally.of(then, of_then) if then else None,
            newly_matched=Change(self._changed[True], tuple(self._examples[True])),
            no_longer_matched=Change(self._changed[False], tuple(self._examples[False])),
            seconds=seconds,
        )
