"""The kill switch of a running installation: paused, nothing is claimed, and what runs is put down.

Events are accepted and kept. Whatever is in hand finishes the step that it is in, and goes on from there after
:func:`resume`. ``ENABLED`` of the settings does the same to processes that start with it; either one stops everything.

Stopping does not hang on the audit log: a pause is committed, and recorded after that. An entry that cannot be written
then is written later, by a worker or with :func:`resume`, which does nothing that it cannot record.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from automate_core import settings
from automate_core.errors import ConfigurationError
from automate_core.payload import storable_text
from automate_core.redaction import redact_text

if TYPE_CHECKING:
    from automate.audit import AuditEntry
    from automate.models import Switch

__all__ = ["LOOK_SECONDS", "Pause", "PauseResult", "Watch", "current_pause", "pause", "record_pause", "resume"]

logger = logging.getLogger("automate.worker")

LOOK_SECONDS = 2.0
"""How old the answer of a :class:`Watch` may be."""

_ONLY = 1
_LONGEST_REASON, _LONGEST_ACTOR = 500, 200
_RESOURCE = "automation:switch"


@dataclass(frozen=True, slots=True)
class Pause:
    """Why nothing runs.

    Args:
        reason: Why.
        actor: Who did it.
        since: Since when.
        recorded: Whether the audit log has it.
    """

    reason: str
    actor: str
    since: datetime
    recorded: bool

    def __str__(self) -> str:
        since = self.since.astimezone(UTC)
        return f"Automation is paused by {self.actor} since {since:%Y-%m-%d %H:%M:%SZ}: {self.reason}"


@dataclass(frozen=True, slots=True)
class PauseResult:
    """What came of :func:`pause`.

    Args:
        changed: Whether that changed anything: what is paused stays so, with its reason.
        unrecorded: Why the audit log does not have it yet; empty where it does.
    """

    changed: bool
    unrecorded: str


def current_pause() -> Pause | None:
    """Return why automation is paused now; None where it is not."""
    from automate.models import Switch

    row = Switch.objects.filter(pk=_ONLY, paused=True).first()
    return None if row is None else Pause(row.reason, row.actor, row.changed_at, row.recorded)


def pause(reason: str, *, actor: str) -> PauseResult:
    """Stop everything: running workers notice within seconds.

    It is committed before it is recorded, and holds where that fails. Within a transaction of the caller it holds once
    that is committed.

    Args:
        reason: Why, for everybody who finds it paused. What is no text in it is replaced.
        actor: Who does it, for the audit log.

    Returns:
        Whether that changed anything, and why it is not on record.

    Raises:
        ConfigurationError: If there is no reason, or one of more than 500 characters.
        DatabaseError: If the database does not take it; then nothing is paused.
    """
    from django.db import transaction

    reason = " ".join(storable_text(redact_text(reason), len(reason) + _LONGEST_REASON).split())
    if not reason or len(reason) > _LONGEST_REASON:
        raise ConfigurationError("Say in up to 500 characters why: whoever finds automation paused will read it.")
    with transaction.atomic():
        row = _locked()
        changed = not row.paused
        if changed:
            row.paused, row.recorded, row.reason = True, False, reason
            row.actor = storable_text(actor, _LONGEST_ACTOR)
            row.save()
    return PauseResult(changed, "" if row.recorded else record_pause())


def record_pause() -> str:
    """Write the entry of a pause that is not on record.

    Returns:
        Why it cannot be written; empty where nothing is missing any more. Nothing is raised: it stays paused.
    """
    try:
        _record_pause()
    except Exception as error:  # noqa: BLE001 - whatever keeps the record from being written must not keep a pause
        return redact_text(f"{type(error).__name__}: {error}")
    return ""


def _record_pause() -> None:
    from django.db import transaction

    from automate.audit import record_many
    from automate.models import Switch

    with transaction.atomic():
        row = _locked()
        if Switch.objects.filter(pk=_ONLY, paused=True, recorded=False).update(recorded=True):
            record_many([_entry(row)])  # last, as it locks the end of the log


def resume(*, actor: str) -> bool:
    """Let everything go on; workers notice within seconds.

    It goes on only where that can be recorded, and the pause too, if it is not on record yet.

    Args:
        actor: Who does it, for the audit log.

    Returns:
        Whether it was paused.

    Raises:
        DatabaseError: If it cannot be written; then it stays paused.
        AuditChainBroken: If the log was tampered with; then too.
        AuditError: If another transaction holds the end of the log for too long; then too. It is ``retryable``.
    """
    from django.db import transaction

    from automate.audit import AuditEntry, record_many

    actor = storable_text(actor, _LONGEST_ACTOR)
    with transaction.atomic():
        row = _locked()
        if not row.paused:
            return False
        entries = [] if row.recorded else [_entry(row)]
        details = {"was": row.reason, "paused_by": row.actor}
        entries.append(AuditEntry("automation.resumed", _RESOURCE, actor, details=details))
        row.paused, row.recorded, row.reason, row.actor = False, True, "", actor
        row.save()
        record_many(entries)
    return True


def _locked() -> Switch:
    from automate.models import Switch

    # It writes first, so that SQLite takes it for a writer from its beginning, and two of them take turns.
    Switch.objects.bulk_create([Switch(pk=_ONLY)], ignore_conflicts=True)
    return Switch.objects.select_for_update().get(pk=_ONLY)


def _entry(row: Switch) -> AuditEntry:
    from automate.audit import AuditEntry

    details = {"reason": row.reason, "since": row.changed_at.isoformat()}  # it may be written much later
    return AuditEntry("automation.paused", _RESOURCE, row.actor, details=details)


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
