"""Backtests: what a rule would have made of the events that are recorded, beside what is live. Nothing is written.

:func:`backtest` asks a rule, a definition or a version about recorded events, newest first, and compares it with the
live version of its workflow and with the decisions that were stored::

    report = backtest("refunds", since=timezone.now() - timedelta(days=7))
    report.newly_matched.count, report.no_longer_matched.count

:func:`shadow_report` asks nobody: it compares what a shadow and the live version decided, as it was stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from automate_core.errors import ConfigurationError
from automate_core.workflow.definition import WorkflowDefinition

from automate.backtest.report import BacktestReport, Change, Example, Tally

if TYPE_CHECKING:
    from automate.models import WorkflowVersion

__all__ = ["BacktestReport", "Change", "Example", "Tally", "backtest", "shadow_report"]


def backtest(
    rule_or_version: str | WorkflowVersion | WorkflowDefinition | Mapping[str, Any],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 10_000,
    event: str | None = None,
    tenant: str | None = None,
    examples: int = 5,
    using: str = "default",
    progress: Callable[[int], None] | None = None,
) -> BacktestReport:
    """Ask about recorded events what would be decided now, and compare it with the live version.

    The events are those that the candidate or the live version listens to, newest first. Where both listen to other
    types, an event that one of them does not listen to is none that it matches.

    Args:
        rule_or_version: The candidate: the slug of a workflow, whose shadow is taken, or its live version where there
            is no shadow; a version; a definition or its JSON form; or a rule, with ``event``.
        since: Only events from then on, an aware datetime.
        until: Only events before then.
        limit: How many events are looked at, at the most.
        event: The event type or pattern that a rule is asked about; it is compared with nothing.
        tenant: Only events of this tenant; those of a tenant's workflow are its own in any case.
        examples: How many events are shown of each difference.
        using: Alias of the database; a replica will do.
        progress: Called now and then with the number of events looked at so far.

    Returns:
        What was found.

    Raises:
        WorkflowNotFound: If no workflow of this slug has a version that is live or a shadow.
        InvalidDefinitionError: If the definition or the rule is wrong.
        ConfigurationError: If the candidate is not triggered by events, a datetime is naive, or a number is too small.
    """
    from automate.backtest import candidates, replay

    _ensure_in_range(since, until, limit, examples)
    started = time.monotonic()
    candidate = candidates.find(rule_or_version, event, using)
    live = candidates.live_of(candidate, using)
    said = (
        {} if candidate.workflow_id is None else {"then": {"version__workflow": candidate.workflow_id, "shadow": False}}
    )
    patterns = candidates.patterns(candidate, live)
    recording = replay.Recording(patterns, since, until, limit, candidate.events_of(tenant), using, said)
    ask, explain = partial(replay.ask_both, candidate, live), partial(candidates.reasons, candidate, live)
    count = replay.Count(ask, explain, examples)
    complete = count.follow(recording, progress)
    names = candidate.name, "" if live is None else live.name, "recorded" if said else ""
    return count.report(*names, complete=complete, seconds=time.monotonic() - started)


def shadow_report(
    slug: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 10_000,
    tenant: str | None = None,
    examples: int = 5,
    using: str = "default",
    progress: Callable[[int], None] | None = None,
) -> BacktestReport:
    """Compare what the shadow of a workflow decided with what its live version decided, as it was stored.

    Matches and errors are always stored, so where one of both stored something about an event and the other nothing,
    the other did not match.

    Args:
        slug: The workflow.
        since: Only events from then on, an aware datetime; never from before the shadow was published.
        until: Only events before then.
        limit: How many events are looked at, at the most.
        tenant: Only events of this tenant; those of a tenant's workflow are its own in any case.
        examples: How many events are shown of each difference.
        using: Alias of the database.
        progress: Called now and then with the number of events looked at so far.

    Returns:
        What was found, in the form of a backtest.

    Raises:
        WorkflowNotFound: If the workflow has no shadow.
        ConfigurationError: If the shadow is not triggered by events, a datetime is naive, or a number is too small.
    """
    from automate.backtest import candidates, replay

    _ensure_in_range(since, until, limit, examples)
    started = time.monotonic()
    shadow = candidates.shadow_of(slug, using)
    live = candidates.live_of(shadow, using)
    said = {
        "now": {"version": shadow.version_id, "shadow": True},
        "live": {"version__workflow": shadow.workflow_id, "shadow": False},
    }
    since = max(moment for moment in (since, shadow.since) if moment is not None)
    patterns = candidates.patterns(shadow, live)
    recording = replay.Recording(patterns, since, until, limit, shadow.events_of(tenant), using, said)
    count = replay.Count(replay.read_both, partial(replay.stored_reasons, recording), examples)
    complete = count.follow(recording, progress)
    names = f"{shadow.name}, recorded", "" if live is None else f"{live.name}, recorded", ""
    return count.report(*names, complete=complete, seconds=time.monotonic() - started)


def _ensure_in_range(since: datetime | None, until: datetime | None, limit: int, examples: int) -> None:
    for name, moment in (("since", since), ("until", until)):
        if moment is not None and moment.utcoffset() is None:
            raise ConfigurationError(
                f"{name} is {moment!r}, without a time zone: give an aware datetime, such as timezone.now() of Django, "
                "or datetime(2026, 1, 31, tzinfo=UTC)."
            )
    if limit < 1:
        raise ConfigurationError(f"limit is {limit}, so no event would be looked at: give at least 1.")
    if examples < 0:
        raise ConfigurationError(f"examples is {examples}: give 0 for none, or more.")
