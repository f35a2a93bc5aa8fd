"""Why an event started a workflow, or did not: what was decided, or what would be decided now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from automate_core.errors import AutomateError, EventNotFound, WorkflowNotFound, nearby
from automate_core.workflow.events import matches, patterns_for

from automate.dispatch import ask, why
from automate.runtime.versions import compiled

if TYPE_CHECKING:
    from automate.models import Decision, Event, WorkflowVersion

__all__ = ["Explained", "explain_event", "find_event"]


@dataclass(frozen=True, slots=True)
class Explained:
    """Why one version matched an event, or did not.

    Args:
        workflow: Slug of the workflow.
        version: Number of the version.
        matched: Whether it matched.
        stored: Whether that is what was decided at the time; otherwise the rule was asked now.
        explanation: The explanation of its rule; None where it has none, or was not asked.
        reason: What there is to say beyond the explanation.
        shadow: Whether it decided as a shadow, which never runs.
    """

    workflow: str
    version: int
    matched: bool
    stored: bool
    explanation: dict[str, Any] | None = None
    reason: str = ""
    shadow: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def find_event(event_id: str, *, using: str = "default") -> Event:
    """Find an event by its id.

    Args:
        event_id: The id.
        using: The database.

    Raises:
        EventNotFound: If there is none; the message names the newest.
    """
    from automate.models import Event

    events = Event.objects.using(using)
    try:
        found = events.filter(pk=UUID(event_id)).first()
    except ValueError:
        found = None
    if found is None:
        raise EventNotFound(f"There is no event {event_id!r}.{_newest(events.order_by('-id')[:3])}")
    return found


def _newest(events: Iterable[Event]) -> str:
    shown = [f"{event.pk} ({event.type})" for event in events]
    if not shown:
        return " No event was emitted yet."
    return f" The newest are {', '.join(shown)}. Retention deletes old ones."


def explain_event(event: Event, workflow: str | None = None, *, using: str = "default") -> list[Explained]:
    """Tell why an event started the workflows that listen to its type, or did not.

    Args:
        event: The event.
        workflow: Slug of a workflow: it alone, whether it listens or not.
        using: The database.

    Returns:
        What was decided, else what is decided now, by workflow and version. Nothing is written.

    Raises:
        WorkflowNotFound: If there is no such workflow; the message names those nearby.
    """
    from automate.models import Decision

    if workflow is not None:
        _ensure_exists(workflow, using)
    decisions = Decision.objects.using(using).filter(event_id=event.pk).select_related("version__workflow")
    if workflow is not None:
        decisions = decisions.filter(version__workflow__slug=workflow)
    found = {decision.version_id: _stored(decision) for decision in decisions}
    for version in _candidates(event, workflow, using):
        if version.pk not in found:
            found[version.pk] = _asked(version, event)
    return sorted(found.values(), key=lambda one: (one.workflow, one.version))


def _ensure_exists(workflow: str, using: str) -> None:
    from automate.models import Workflow

    slugs = Workflow.objects.using(using).values_list("slug", flat=True)
    if workflow not in slugs:
        raise WorkflowNotFound(f"There is no workflow {workflow!r}.{nearby(workflow, slugs)}")


def _candidates(event: Event, workflow: str | None, using: str) -> list[WorkflowVersion]:
    from automate.models import WorkflowVersion

    live = WorkflowVersion.objects.using(using).select_related("workflow").filter(live=True)
    if workflow is not None:
        return list(live.filter(workflow__slug=workflow))
    tenants = {"", event.tenant}  # those of others never see it
    listening = live.filter(
        workflow__enabled=True, workflow__tenant__in=tenants, trigger_event__in=patterns_for(event.type)
    )
    # The database may compare without regard to case.
    return [version for version in listening if matches(version.trigger_event, event.type)]


def _stored(decision: Decision) -> Explained:
    version = decision.version
    reason = decision.error or decision.reason
    if not reason and decision.explanation is None:
        reason = "it has no rule: every event of the type matches"
    slug, number = version.workflow.slug, version.version_num
    return Explained(slug, number, decision.matched, True, decision.explanation, reason, decision.shadow)


def _asked(version: WorkflowVersion, event: Event) -> Explained:
    slug, number = version.workflow.slug, version.version_num
    if not version.workflow.enabled:
        reason = f"the workflow is disabled: 'automate workflows enable {slug}' enables it"
        return Explained(slug, number, False, False, reason=reason)
    if version.workflow.tenant not in ("", event.tenant):
        reason = (
            f"the workflow is for events of tenant {version.workflow.tenant!r}, and this is one of {event.tenant!r}"
        )
        return Explained(slug, number, False, False, reason=reason)
    try:
        workflow = compiled(version)
        if not workflow.wants(event.type):
            listens = f"to {version.trigger_event!r}" if version.trigger_event else "to no event"
            return Explained(slug, number, False, False, reason=f"it listens {listens}, and this is {event.type!r}")
        matched, _ = ask(workflow, event)  # the rule may hold and the concurrency key be wrong
        if workflow.rule is None:
            return Explained(slug, number, matched, False, reason="it has no rule: every event of the type matches")
        return Explained(slug, number, matched, False, why(workflow, event, matched))
    except AutomateError as error:
        return Explained(slug, number, False, False, reason=str(error))
