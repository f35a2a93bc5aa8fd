"""Publishing: a checked definition becomes an immutable version, and goes live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from automate_core.payload import content_hash
from automate_core.registry import Registry, registry
from automate_core.workflow.catalogue import RegistryCatalogue
from automate_core.workflow.checks import ensure_publishable
from automate_core.workflow.definition import MAX_DEFINITION_BYTES, WorkflowDefinition, parse
from django.db import transaction

from automate.payloads import ensure_storable
from automate.rules import current_engine

if TYPE_CHECKING:
    from automate.models import WorkflowVersion

__all__ = ["publish"]


def publish(
    definition: WorkflowDefinition | Mapping[str, Any],
    *,
    name: str = "",
    actor: str = "system",
    registry: Registry = registry,
) -> tuple[WorkflowVersion, bool]:
    """Publish a workflow definition and make it live.

    Args:
        definition: The definition, or its JSON form.
        name: The workflow's name for people, where it is new.
        actor: Who does it, for the audit log.
        registry: Where its actions are looked up.

    Returns:
        The live version, and whether it is new: the same definition again changes nothing.

    Raises:
        InvalidDefinitionError: If it cannot run; ``context["problems"]`` lists why, each with a JSON pointer.
        InvalidPayloadError: If it is nested deeper than the project's database can store.
    """
    from automate.models import AuditLogEntry, Workflow, WorkflowVersion

    if not isinstance(definition, WorkflowDefinition):
        definition = parse(definition)
    ensure_publishable(definition, RegistryCatalogue(registry), current_engine())
    data, digest = definition.to_json(), definition.hash()
    ensure_storable(data, max_bytes=MAX_DEFINITION_BYTES, what="workflow definition")
    with transaction.atomic():
        # Writing first makes publishers of one workflow take turns, where the unique constraint would turn one away,
        # and makes this a writer from its beginning: SQLite refuses to turn a reader into one while another writes.
        if not Workflow.objects.filter(slug=data["slug"]).update(slug=data["slug"]):
            Workflow.objects.bulk_create([Workflow(slug=data["slug"], name=name)], ignore_conflicts=True)
        workflow = Workflow.objects.select_for_update().get(slug=data["slug"])
        live = workflow.versions.filter(live=True).first()
        if live is not None and live.hash == digest:
            return live, False
        newest = workflow.versions.order_by("-version_num").values_list("version_num", flat=True).first() or 0
        workflow.versions.filter(live=True).update(live=None)
        version = WorkflowVersion.objects.create(
            workflow=workflow,
            version_num=newest + 1,
            trigger_spec=data["trigger"],
            steps=data["steps"],
            output=data.get("output"),
            concurrency=data.get("concurrency"),
            retry=data.get("retry"),
            hash=digest,
            lock=_lock(definition, registry),
            trigger_event=data["trigger"].get("event", ""),
            live=True,
        )
        AuditLogEntry.objects.create(
            actor=actor,
            action="workflow.published",
            resource=f"workflow:{workflow.slug}",
            details={"version": version.version_num, "hash": digest},
        )
    return version, True


def _lock(definition: WorkflowDefinition, registry: Registry) -> dict[str, Any]:
    """Record what each action was when the version was published."""
    lock = {}
    for step in definition.steps:
        _, spec = registry.get_action(step.action)
        lock[step.action] = {"version": spec.version, "schema": content_hash(spec.input_json_schema())}
    return lock
