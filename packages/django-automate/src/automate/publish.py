"""Publishing: a checked definition becomes an immutable version, and goes live or is tried in the shadow.

A workflow that is published can be disabled, and enabled again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from automate_core import settings
from automate_core.errors import PolicyError, WorkflowNotFound, nearby
from automate_core.payload import content_hash
from automate_core.registry import Registry, registry
from automate_core.workflow.catalogue import RegistryCatalogue
from automate_core.workflow.checks import ensure_publishable
from automate_core.workflow.definition import MAX_DEFINITION_BYTES, WorkflowDefinition, parse
from django.db import router, transaction

from automate.emitting import check_text
from automate.payloads import ensure_storable
from automate.policy import refusals
from automate.rules import current_engine

if TYPE_CHECKING:
    from automate.models import Workflow, WorkflowVersion

__all__ = ["disable", "drop_shadow", "enable", "foreign_dialect", "promote", "publish"]

_RULES = "rules"
"""Where the lock of a version says how its rules were read; the name of an action always has a dot."""

logger = logging.getLogger("automate.publish")


def publish(
    definition: WorkflowDefinition | Mapping[str, Any],
    *,
    name: str = "",
    tenant: str | None = None,
    actor: str = "system",
    registry: Registry = registry,
    shadow: bool = False,
) -> tuple[WorkflowVersion, bool]:
    """Publish a workflow definition and make it live, or the workflow's shadow.

    A shadow is asked about every event that it listens to, and its decisions are stored; it never runs. There is one
    of them at most, beside the live version if there is one; the next takes its place. Publishing the definition of
    the shadow without ``shadow`` makes that version live.

    An action that the policy refuses is a warning in the log: whether it may be called is decided when it is.

    Args:
        definition: The definition, or its JSON form.
        name: The workflow's name for people, where it is new.
        tenant: Whose events the workflow is for, where it is new; empty or left out: those of every tenant. Of one that
            exists this must be the tenant.
        actor: Who does it, for the audit log.
        registry: Where its actions are looked up.
        shadow: Whether it is to be the shadow.

    Returns:
        The version, and whether that changed anything: the same definition again does not, nor does a shadow of what
        is live already, unless ``RULES.dialect`` has changed what its rules mean.

    Raises:
        InvalidDefinitionError: If it cannot run; ``context["problems"]`` lists why, each with a JSON pointer.
        PolicyError: If the workflow is another tenant's.
        InvalidPayloadError: If it is nested deeper than the project's database can store, or the tenant cannot be
            stored.
    """
    check_text("tenant", "" if tenant is None else tenant, limit=100)
    if not isinstance(definition, WorkflowDefinition):
        definition = parse(definition)
    ensure_publishable(definition, RegistryCatalogue(registry), current_engine())
    data, digest = definition.to_json(), definition.hash()
    ensure_storable(data, max_bytes=MAX_DEFINITION_BYTES, what="workflow definition")
    with transaction.atomic():
        _take_turn()
        workflow = _find_or_make(data["slug"], name, tenant)
        standing = [version for version in _standing(workflow).values() if version.hash == digest]
        found = next((version for version in standing if not foreign_dialect(version)), None)
        if found is not None and (found.live or shadow):
            return found, False
        if found is not None:
            return _go_live(found, definition, actor, registry), True
        newest = workflow.versions.order_by("-version_num").values_list("version_num", flat=True).first() or 0
        place = "shadow" if shadow else "live"
        workflow.versions.filter(**{place: True}).update(**{place: None})
        version = workflow.versions.create(
            version_num=newest + 1,
            trigger_spec=data["trigger"],
            steps=data["steps"],
            output=data.get("output"),
            concurrency=data.get("concurrency"),
            retry=data.get("retry"),
            hash=digest,
            lock=_lock(definition, registry),
            trigger_event=data["trigger"].get("event", ""),
            **{place: True},
        )
        _note(version, "workflow.shadow_published" if shadow else "workflow.published", actor)
    if not shadow:
        _warn_of_refusals(version, definition)
    return version, True


def promote(slug: str, *, actor: str = "system", registry: Registry = registry) -> WorkflowVersion:
    """Make the shadow of a workflow its live version.

    Args:
        slug: The workflow.
        actor: Who does it, for the audit log.
        registry: Where its actions are looked up.

    Returns:
        The version.

    Raises:
        WorkflowNotFound: If the workflow has no shadow.
        InvalidDefinitionError: If it cannot run any more, say because an action is gone.
    """
    with transaction.atomic():
        version = _shadow_of(slug)
        definition = parse(version.definition)
        ensure_publishable(definition, RegistryCatalogue(registry), current_engine())
        return _go_live(version, definition, actor, registry)


def drop_shadow(slug: str, *, actor: str = "system") -> WorkflowVersion:
    """End the shadow of a workflow; its decisions stay.

    Args:
        slug: The workflow.
        actor: Who does it, for the audit log.

    Returns:
        The version that was the shadow.

    Raises:
        WorkflowNotFound: If the workflow has none.
    """
    with transaction.atomic():
        version = _shadow_of(slug)
        _place(version, live=None, shadow=None)
        _note(version, "workflow.shadow_dropped", actor)
    return version


def enable(slug: str, *, actor: str = "system") -> Workflow:
    """Let a workflow listen and run again; one that is enabled stays so.

    Args:
        slug: The workflow.
        actor: Who does it, for the audit log.

    Returns:
        The workflow.

    Raises:
        WorkflowNotFound: If there is no such workflow; the message names those nearby.
    """
    return _switch(slug, True, actor)


def disable(slug: str, *, actor: str = "system") -> Workflow:
    """Let no event and nobody start a workflow any more; one that is disabled stays so.

    Its shadow is not asked either. What was started before goes on. Publishing does not enable it.

    Args:
        slug: The workflow.
        actor: Who does it, for the audit log.

    Returns:
        The workflow.

    Raises:
        WorkflowNotFound: If there is no such workflow; the message names those nearby.
    """
    return _switch(slug, False, actor)


def _switch(slug: str, enabled: bool, actor: str) -> Workflow:
    from automate.audit import record
    from automate.models import Workflow

    with transaction.atomic():
        _take_turn()
        workflow = Workflow.objects.select_for_update().filter(slug=slug).first()
        if workflow is None:
            raise _no_workflow(slug)
        if workflow.enabled is not enabled:
            workflow.enabled = enabled
            workflow.save(update_fields=["enabled"])
            action = "workflow.enabled" if enabled else "workflow.disabled"
            record(action, f"workflow:{slug}", actor=actor, tenant=workflow.tenant)
    return workflow


def _no_workflow(slug: str) -> WorkflowNotFound:
    from automate.models import Workflow

    known = Workflow.objects.values_list("slug", flat=True)
    return WorkflowNotFound(f"There is no workflow {slug!r}.{nearby(slug, known)}")


def _take_turn() -> None:
    """Let publishers take turns, where the unique constraints would turn one away.

    It writes first, and so makes this a writer from its beginning: SQLite refuses to turn a reader into one while
    another writes.
    """
    from automate.models import WorkflowVersion
    from automate.models.listening import hold_stamp

    hold_stamp(router.db_for_write(WorkflowVersion))


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


def _standing(workflow: Workflow) -> dict[str, WorkflowVersion]:
    """Return the live version and the shadow, as far as there are any."""
    from automate.models.workflows import LISTENING

    return {"live" if version.live else "shadow": version for version in workflow.versions.filter(LISTENING)}


def _shadow_of(slug: str) -> WorkflowVersion:
    """Return the shadow of a workflow, which is locked."""
    from automate.models import Workflow

    _take_turn()
    workflow = Workflow.objects.select_for_update().filter(slug=slug).first()
    if workflow is None:
        raise _no_workflow(slug)
    version = _standing(workflow).get("shadow")
    if version is not None:
        return version
    raise WorkflowNotFound(f"Workflow {slug!r} has no shadow: publish one with publish(definition, shadow=True).")


def _go_live(
    version: WorkflowVersion, definition: WorkflowDefinition, actor: str, registry: Registry
) -> WorkflowVersion:
    version.workflow.versions.filter(live=True).update(live=None)
    # Nothing has run it yet, so what its actions are is taken down now.
    _place(version, live=True, shadow=None, lock=_lock(definition, registry))
    _note(version, "workflow.shadow_promoted", actor)
    _warn_of_refusals(version, definition)
    return version


def _warn_of_refusals(version: WorkflowVersion, definition: WorkflowDefinition) -> None:
    """Say what the policy would refuse. It may change before anything runs, so publishing is not refused."""
    workflow = version.workflow
    for message in refusals([step.action for step in definition.steps], workflow.tenant):
        logger.warning("A step of %s will fail: %s", workflow.slug, message)


def _place(version: WorkflowVersion, **values: Any) -> None:
    """Change what a version is to its workflow, which is nothing of what it does."""
    version.workflow.versions.filter(pk=version.pk).update(**values)
    for name, value in values.items():
        setattr(version, name, value)


def _note(version: WorkflowVersion, action: str, actor: str) -> None:
    from automate.audit import record

    record(
        action,
        f"workflow:{version.workflow.slug}",
        actor=actor,
        tenant=version.workflow.tenant,
        details={"version": version.version_num, "hash": version.hash},
    )


def foreign_dialect(version: WorkflowVersion) -> str:
    """Return the dialect in which the rules of a version were published, if it is not the one of the settings.

    Args:
        version: The version.

    Returns:
        The dialect; empty where its rules mean what they meant, and where it has none.
    """
    dialect = str(version.lock.get(_RULES, {}).get("dialect", ""))
    return "" if dialect == settings.current().rules.dialect else dialect


def _lock(definition: WorkflowDefinition, registry: Registry) -> dict[str, Any]:
    """Record what each action was when the version was published, and what its rules meant."""
    lock: dict[str, Any] = {}
    if getattr(definition.trigger, "rule", None) is not None or any(step.condition for step in definition.steps):
        lock[_RULES] = {"dialect": settings.current().rules.dialect}
    for step in definition.steps:
        _, spec = registry.get_action(step.action)
        lock[step.action] = {"version": spec.version, "schema": content_hash(spec.input_json_schema())}
    return lock
