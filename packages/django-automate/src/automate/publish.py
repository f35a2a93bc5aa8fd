"""Publishing: a checked definition becomes an immutable version, and goes live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from automate_core.errors import PolicyError
from automate_core.payload import content_hash
from automate_core.registry import Registry, registry
from automate_core.workflow.catalogue import RegistryCatalogue
from automate_core.workflow.checks import ensure_publishable
from automate_core.workflow.definition import MAX_DEFINITION_BYTES, WorkflowDefinition, parse
from django.db import router, transaction

from automate.emitting import check_text
from automate.payloads import ensure_storable
from automate.rules import current_engine

if TYPE_CHECKING:
    from automate.models import Workflow, WorkflowVersion

__all__ = ["publish"]


def publish(
    definition: WorkflowDefinition | Mapping[str, Any],
    *,
    name: str = "",
    tenant: str | None = None,
    actor: str = "system",
    registry: Registry = registry,
) -> tuple[WorkflowVersion, bool]:
    """Publish a workflow definition and make it live.

    Args:
        definition: The definition, or its JSON form.
        name: The workflow's name for people, where it is new.
        tenant: Whose events the workflow is for, where it is new; empty or left out: those of every tenant. Of one that
            exists this must be the tenant.
        actor: Who does it, for the audit log.
        registry: Where its actions are looked up.

    Returns:
        The live version, and whether it is new: the same definition again changes nothing.

    Raises:
        InvalidDefinitionError: If it cannot run; ``context["problems"]`` lists why, each with a JSON pointer.
        PolicyError: If the workflow is another tenant's.
        InvalidPayloadError: If it is nested deeper than the project's database can store, or the tenant cannot be
            stored.
    """
    from automate.models import AuditLogEntry, WorkflowVersion
    from automate.models.listening import hold_stamp

    check_text("tenant", "" if tenant is None else tenant, limit=100)
    if not isinstance(definition, WorkflowDefinition):
        definition = parse(definition)
    ensure_publishable(definition, RegistryCatalogue(registry), current_engine())
    data, digest = definition.to_json(), definition.hash()
    ensure_storable(data, max_bytes=MAX_DEFINITION_BYTES, what="workflow definition")
    with transaction.atomic():
        # Writing first makes publishers take turns, where the unique constraint would turn one away, and makes this a
        # writer from its beginning: SQLite refuses to turn a reader into one while another writes.
        hold_stamp(router.db_for_write(WorkflowVersion))
        workflow = _find_or_make(data["slug"], name, tenant)
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


def _find_or_make(slug: str, name: str, tenant: str | None) -> Workflow:
    from automate.models import Workflow

    workflow = Workflow.objects.select_for_update().filter(slug=slug).first()
    if workflow is None:
        return Workflow.objects.create(slug=slug, name=name, tenant=tenant or "")
    if tenant not in (None, workflow.tenant):
        owner = f"tenant {workflow.tenant!r}" if workflow.tenant else "every tenant"
        raise PolicyError(
            f"There is a workflow {slug!r} already, and it is for {owner}: choose another slug, or change its tenant.",
            context={"workflow": slug},
        )
    return workflow


def _lock(definition: WorkflowDefinition, registry: Registry) -> dict[str, Any]:
    """Record what each action was when the version was published."""
    lock = {}
    for step in definition.steps:
        _, spec = registry.get_action(step.action)
        lock[step.action] = {"version": spec.version, "schema": content_hash(spec.input_json_schema())}
    return lock
