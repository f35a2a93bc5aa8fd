"""The kill switch of a running installation: paused, nothing is claimed, and what runs is put down.

Events are accepted and kept. Whatever is in hand finishes the step that it is in, and goes on from there after
:func:`resume`. ``ENABLED`` of the settings does the same to processes that start with it; either one stops everything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from automate_core import settings
from automate_core.errors import ConfigurationError
from automate_core.redaction import redact_text

__all__ = ["LOOK_SECONDS", "Pause", "Watch", "current_pause", "pause", "resume"]

logger = logging.getLogger("automate.worker")

LOOK_SECONDS = 2.0
"""How old the answer of a :class:`Watch` may be."""

_ONLY = 1
_RESOURCE = "automation:switch"


@dataclass(frozen=True, slots=True)
class Pause:
    """Why nothing runs.

    Args:
        reason: Why.
        actor: Who did it.
        since: Since when.
    """

    reason: str
    actor: str
    since: datetime

    def __str__(self) -> str:
        since = self.since.astimezone(UTC)
        return f"Automation is paused by {self.actor} since {since:%Y-%m-%d %H:%M:%SZ}: {self.reason}"


def current_pause() -> Pause | None:
    """Return why automation is paused now; None where it is not."""
    from automate.models import Switch

    row = Switch.objects.filter(pk=_ONLY, paused=True).first()
    return None if row is None else Pause(row.reason, row.actor, row.changed_at)


def pause(reason: str, *, actor: str) -> bool:
    """Stop everything: running workers notice within seconds.

    Args:
        reason: Why, for everybody who finds it paused.
        actor: Who does it, for the audit log.

    Returns:
        Whether that changed anything: what is paused stays so, with its reason.

    Raises:
        ConfigurationError: If there is no reason, or a very long one.
    """
    reason = " ".join(redact_text(reason).split())
    if not reason or len(reason) > 500:
        raise ConfigurationError("Say in up to 500 characters why: whoever finds automation paused will read it.")
    return _turn(True, reason, actor)


def resume(*, actor: str) -> bool:
    """Let everything go on; workers notice within seconds.

    Args:
        actor: Who does it, for the audit log.

    Returns:
        Whether it was paused.
    """
    return _turn(False, "", actor)


def _turn(paused: bool, reason: str, actor: str) -> bool:
    from django.db import transaction

    from automate.audit import record
    from automate.models import Switch

    actor = actor[:200]
    with transaction.atomic():
        # It writes first, so that SQLite takes it for a writer from its beginning, and two of them take turns.
        Switch.objects.bulk_create([Switch(pk=_ONLY)], ignore_conflicts=True)
        row = Switch.objects.select_for_update().get(pk=_ONLY)
        if row.paused is paused:
            return False
        details = {"reason": reason} if paused else {"was": row.reason, "paused_by": row.actor}
        row.paused, row.reason, row.actor = paused, reason, actor
        row.save()
        record("automation.paused" if paused else "automation.resumed", _RESOURCE, actor=actor, details=details)
    return True


class Watch:
    """Knows whether anything may run, asking the database no more than every few seconds.

    It belongs to one thread. A call that asks raises what the database raises; the next one asks again.

    Args:
        clock: Tells seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = float("-inf")
        self._pause: Pause | None = None

    @property
    def why(self) -> str:
        """Why nothing runs, as of the last look; empty where it does."""
        if not settings.current().enabled:
            return "Automation is switched off: DJANGO_AUTOMATE['ENABLED'] is False."
        return "" if self._pause is None else f"{self._pause}. 'automate policy resume' lets it go on."

    def is_on(self) -> bool:
        """Whether anything may run: ``ENABLED`` is set, and automation is not paused."""
        if not settings.current().enabled:
            return False
        now = self._clock()
        if now >= self._due:
            before, self._pause = self._pause, current_pause()
            self._due = now + LOOK_SECONDS
            if self._pause is not None and before is None:
                logger.warning("%s", self.why)
            elif self._pause is None and before is not None:
                logger.warning("Automation goes on.")
        return self._pause is None
