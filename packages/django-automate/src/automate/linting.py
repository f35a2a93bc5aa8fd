"""Lint for the workflows of a project: their rules against each other and against the declared event types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from automate_core.errors import AutomateError, WorkflowNotFound, nearby
from automate_core.rules import Finding, Severity
from automate_core.rules.lint import RuleSet
from automate_core.workflow.definition import EventTrigger, WorkflowDefinition, parse
from automate_core.workflow.linting import lint_definition

from automate.event_types import event_types
from automate.rules import current_engine

__all__ = ["Linted", "lint_definitions", "lint_live"]


@dataclass(frozen=True, slots=True)
class Linted:
    """What was found in one workflow.

    Args:
        workflow: Its slug.
        event: The event type or pattern of its trigger; empty where it has none.
        is_declared: Whether that event type is declared.
        findings: What is wrong, with pointers into the definition.
    """

    workflow: str
    event: str
    is_declared: bool
    findings: Sequence[Finding]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "workflow": self.workflow,
            "event": self.event,
            "declared": self.is_declared,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def lint_definitions(
    definitions: Iterable[WorkflowDefinition],
    beside: Iterable[WorkflowDefinition] = (),
    *,
    tenants: Mapping[str, str] | None = None,
    implied: bool = True,
) -> list[Linted]:
    """Find what is wrong with the rules of workflows.

    Args:
        definitions: The workflows.
        beside: Further workflows, which are only compared with those.
        tenants: Whose events the workflows are for, by slug; those that are left out are for every tenant's. Workflows
            of different tenants never see the same event, so they are not compared.
        implied: Whether to tell too of which rules one matches whenever the other does; that is only worth a note.

    Returns:
        One for each of the workflows, in their order.
    """
    wanted = list(definitions)
    rules: dict[str, dict[str, Any]] = {_event_of(definition): {} for definition in wanted}
    for definition in (*beside, *wanted):
        rule = getattr(definition.trigger, "rule", None)
        if rule is not None and _event_of(definition) in rules:
            rules[_event_of(definition)][definition.slug] = rule
    groups = {event: _Group(alike, tenants or {}, implied=implied) for event, alike in rules.items() if event}
    return [_linted(definition, groups.get(_event_of(definition))) for definition in wanted]


class _Group:
    """The rules of the workflows of one event type."""

    def __init__(self, rules: Mapping[str, Any], tenants: Mapping[str, str], *, implied: bool) -> None:
        self._rules = RuleSet(rules, engine=current_engine(), implied=implied)
        self._tenants = tenants
        self._every = frozenset(rules)
        self._of: dict[str, set[str]] = {}
        for slug in rules:
            self._of.setdefault(tenants.get(slug, ""), set()).add(slug)

    def beside(self, slug: str) -> RuleSet:
        """Return the rules of the other workflows that see the same events."""
        tenant = self._tenants.get(slug, "")
        seen = self._of.get(tenant, set()) | self._of.get("", set()) if tenant else self._every
        return self._rules.among(seen - {slug})


def _event_of(definition: WorkflowDefinition) -> str:
    return definition.trigger.event if isinstance(definition.trigger, EventTrigger) else ""


def _linted(definition: WorkflowDefinition, group: _Group | None) -> Linted:
    event = _event_of(definition)
    schema = event_types.schema_for(event)
    others = None if group is None else group.beside(definition.slug)
    try:
        findings = lint_definition(definition, schema, others, engine=current_engine())
    except AutomateError as error:
        pointer = str(error.context.get("pointer", ""))
        findings = [Finding(str(error.code), Severity.ERROR, pointer, error.message)]
    return Linted(definition.slug, event, schema is not None, findings)


def lint_live(slugs: Sequence[str] = (), *, using: str = "default") -> list[Linted]:
    """Find what is wrong with the rules of live workflows.

    Args:
        slugs: These; all of them where none is named.
        using: The database.

    Raises:
        WorkflowNotFound: If one is not live; the message names those nearby.
    """
    from automate.models import WorkflowVersion

    versions = WorkflowVersion.objects.using(using).select_related("workflow")
    enabled = versions.filter(live=True, workflow__enabled=True).order_by("workflow__slug")
    live = {version.workflow.slug: parse(version.definition) for version in enabled}
    for slug in slugs:
        if slug not in live:
            raise WorkflowNotFound(f"No workflow {slug!r} is live.{nearby(slug, live)}")
    tenants = {version.workflow.slug: version.workflow.tenant for version in enabled}
    return lint_definitions([live[slug] for slug in slugs or live], live.values(), tenants=tenants)
