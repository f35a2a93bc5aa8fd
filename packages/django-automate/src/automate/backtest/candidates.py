"""Who is asked in a backtest: a rule, a definition, or a version of a workflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from automate_core.errors import ArtifactError, AutomateError, ConfigurationError, WorkflowNotFound, nearby
from automate_core.workflow.compiled import CompiledWorkflow, compile_workflow
from automate_core.workflow.definition import EventTrigger, WorkflowDefinition, parse
from automate_core.workflow.events import is_event_pattern

from automate.backtest.report import Answer, Reason
from automate.dispatch import ask, why
from automate.models import Workflow, WorkflowVersion
from automate.models.workflows import LISTENING
from automate.rules import current_engine
from automate.runtime.versions import compiled

if TYPE_CHECKING:
    from automate.models import Event

__all__ = ["Candidate", "find", "live_of", "patterns", "reasons", "shadow_of"]

_ONE_STEP = [{"id": "none", "action": "flow.log"}]
"""A definition has steps; those of a rule that is only asked are never run."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One that can be asked about events.

    Args:
        name: Who it is, for people.
        workflow: Its compiled form.
        workflow_id: The workflow whose live version and decisions it is compared with; None where there is none.
        version_id: The version that it is; None where it was never published.
        since: When that was published.
        tenant: Whose events its workflow is for; empty where it is for those of every tenant.
    """

    name: str
    workflow: CompiledWorkflow
    workflow_id: int | None = None
    version_id: int | None = None
    since: datetime | None = None
    tenant: str = ""

    @property
    def pattern(self) -> str:
        """The event type or pattern that it listens to; empty where no event triggers it."""
        trigger = self.workflow.definition.trigger
        return trigger.event if isinstance(trigger, EventTrigger) else ""

    def events_of(self, tenant: str | None) -> str | None:
        """Return whose events it is asked about; None means everybody's.

        Args:
            tenant: Whose events are wanted; None leaves it to the workflow.

        Raises:
            ConfigurationError: If the workflow is for the events of another tenant.
        """
        if self.tenant and tenant not in (None, self.tenant):
            raise ConfigurationError(f"{self.name} is for events of tenant {self.tenant!r}, not of {tenant!r}.")
        return self.tenant or tenant

    def answer(self, event: Event) -> Answer:
        """Ask it, as the dispatch does.

        Args:
            event: The event.

        Raises:
            ArtifactError: If the payload is a file that cannot be read.
        """
        if not self.workflow.wants(event.type):
            return False
        try:
            return ask(self.workflow, event)[0]
        except ArtifactError:
            raise
        except AutomateError as error:
            return str(error.code)

    def reason(self, event: Event) -> Reason:
        """Return why it matches or does not.

        Args:
            event: An event that it was asked about.
        """
        if not self.workflow.wants(event.type):
            return f"it does not listen to {event.type}"
        try:
            matched, _ = ask(self.workflow, event)  # the rule may hold and the concurrency key be wrong
            return why(self.workflow, event, matched) or "every event of this type matches"
        except AutomateError as error:
            return str(error)


def patterns(candidate: Candidate, live: Candidate | None) -> frozenset[str]:
    """Return the types of events that either side listens to.

    Args:
        candidate: The one side.
        live: The other.
    """
    return frozenset(side.pattern for side in (candidate, live) if side is not None and side.pattern)


def reasons(candidate: Candidate, live: Candidate | None, event: Event) -> tuple[Reason, Reason]:
    """Return why both sides match or do not.

    Args:
        candidate: The one side.
        live: The other.
        event: An event that they were asked about.
    """
    return candidate.reason(event), "nothing is live" if live is None else live.reason(event)


def find(
    given: str | WorkflowVersion | WorkflowDefinition | Mapping[str, Any], event: str | None, using: str
) -> Candidate:
    """Return who is meant.

    Args:
        given: As in :func:`automate.backtest.backtest`.
        event: Likewise.
        using: Alias of the database.

    Raises:
        WorkflowNotFound: As there.
        InvalidDefinitionError: As there.
        ConfigurationError: As there.
    """
    if event is not None:
        return _rule(given, event)
    if isinstance(given, WorkflowVersion):
        return _listening(_of_version(given))
    if isinstance(given, str):
        standing = _standing(given, using)
        version = standing.get("shadow") or standing.get("live")
        if version is None:
            known = Workflow.objects.using(using).values_list("slug", flat=True)
            hint = nearby(given, [slug for slug in known if slug != given])
            raise WorkflowNotFound(f"No workflow {given!r} has a version that is live or a shadow.{hint}")
        return _listening(_of_version(version))
    definition = given if isinstance(given, WorkflowDefinition) else parse(given)
    row = Workflow.objects.using(using).filter(slug=definition.slug).values_list("pk", "tenant").first()
    workflow_id, tenant = row or (None, "")
    made = compile_workflow(definition, current_engine())
    return _listening(Candidate(f"{definition.slug} as given", made, workflow_id, tenant=tenant))


def live_of(candidate: Candidate, using: str) -> Candidate | None:
    """Return the live version of the candidate's workflow; None where there is none.

    Args:
        candidate: The candidate.
        using: Alias of the database.
    """
    if candidate.workflow_id is None:
        return None
    versions = WorkflowVersion.objects.using(using).select_related("workflow")
    version = versions.filter(workflow=candidate.workflow_id, live=True).first()
    return None if version is None else _of_version(version)


def shadow_of(slug: str, using: str) -> Candidate:
    """Return the shadow of a workflow.

    Args:
        slug: The workflow.
        using: Alias of the database.

    Raises:
        WorkflowNotFound: If it has none.
        ConfigurationError: If no event triggers it.
    """
    version = _standing(slug, using).get("shadow")
    if version is None:
        raise WorkflowNotFound(f"Workflow {slug!r} has no shadow: publish one with publish(definition, shadow=True).")
    return _listening(_of_version(version))


def _standing(slug: str, using: str) -> dict[str, WorkflowVersion]:
    versions = WorkflowVersion.objects.using(using).select_related("workflow").filter(LISTENING, workflow__slug=slug)
    return {"live" if version.live else "shadow": version for version in versions}


def _of_version(version: WorkflowVersion) -> Candidate:
    place = " (live)" if version.live else " (shadow)" if version.shadow else ""
    workflow = version.workflow
    return Candidate(
        f"{version}{place}", compiled(version), workflow.pk, version.pk, version.created_at, workflow.tenant
    )


def _rule(rule: Any, event: str) -> Candidate:
    if not is_event_pattern(event):
        raise ConfigurationError(f"{event!r} is no event type and no pattern, such as 'order.paid' or 'order.*'.")
    trigger = {"type": "event", "event": event, "rule": rule}
    definition = parse({"slug": "rule", "trigger": trigger, "steps": _ONE_STEP})
    return Candidate("the rule", compile_workflow(definition, current_engine()))


def _listening(candidate: Candidate) -> Candidate:
    if not candidate.pattern:
        raise ConfigurationError(f"{candidate.name} is not triggered by events, so there is nothing to ask it about.")
    return candidate
