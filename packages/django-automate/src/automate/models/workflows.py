"""Workflows and their immutable versions."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from automate_core.errors import WorkflowNotFound, nearby
from django.db import models

from automate.models.immutable import ImmutableModel
from automate.models.indexes import SparseIndex
from automate.models.listening import ListeningModel, ListeningQuerySet

__all__ = ["Workflow", "WorkflowVersion"]

LISTENING = models.Q(live=True) | models.Q(shadow=True)
"""The versions that are asked about events."""

_PACKED = "_packed_definition"


class Workflow(ListeningModel):
    """A named workflow; what it does is in its versions."""

    slug = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=200, blank=True, default="")
    tenant = models.CharField(
        max_length=100, blank=True, default="", help_text="Whose events it is for; empty: those of every tenant."
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ListeningQuerySet.as_manager()

    class Meta:
        """By slug."""

        ordering = ("slug",)
        permissions = (("publish_workflow", "Can publish, enable and disable workflows"),)

    def __str__(self) -> str:
        return self.slug

    @property
    def live_version(self) -> WorkflowVersion:
        """The version that new executions run.

        Raises:
            WorkflowNotFound: If none is live, or the workflow is disabled.
        """
        return WorkflowVersion.live_for(self.slug)


class VersionQuerySet(ListeningQuerySet["WorkflowVersion"]):
    """Versions of workflows."""

    def listening(self) -> models.QuerySet[WorkflowVersion]:
        """Leave those that are asked about events."""
        return self.filter(LISTENING, workflow__enabled=True).exclude(trigger_event="")


class WorkflowVersion(ImmutableModel, ListeningModel):
    """An immutable snapshot of what a workflow does."""

    tenant_lookup: ClassVar[str] = "workflow__tenant"

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="versions")
    version_num = models.PositiveIntegerField()
    trigger_spec = models.JSONField()
    steps = models.JSONField()
    output = models.JSONField(null=True, blank=True)
    concurrency = models.JSONField(null=True, blank=True)
    retry = models.JSONField(null=True, blank=True)
    hash = models.CharField(max_length=64, db_index=True, help_text="Of the canonical definition.")
    lock = models.JSONField(default=dict, help_text="Each action, and the dialect of the rules, as published.")
    trigger_event = models.CharField(max_length=200, blank=True, default="", help_text="Event type or pattern.")
    # NULLs are distinct in a unique constraint on every database, so this allows one live version and any number of
    # others, where a partial index would leave MySQL out.
    live = models.BooleanField(null=True, default=None)
    shadow = models.BooleanField(null=True, default=None, help_text="Whether it is asked about events and never run.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = VersionQuerySet.as_manager()

    class Meta:
        """One live version and one shadow for each workflow, enforced by the database."""

        constraints = (
            models.UniqueConstraint(fields=("workflow", "version_num"), name="automate_version_num_unique"),
            models.UniqueConstraint(fields=("workflow", "live"), name="automate_version_live_unique"),
            models.UniqueConstraint(fields=("workflow", "shadow"), name="automate_version_shadow_unique"),
        )
        indexes = (
            models.Index(fields=("live", "trigger_event"), name="automate_version_trigger"),
            SparseIndex(fields=["shadow", "trigger_event"], name="automate_version_shadow"),
        )
        ordering = ("workflow", "-version_num")

    def __str__(self) -> str:
        return f"{self.workflow} v{self.version_num}"

    @property
    def definition(self) -> dict[str, Any]:
        """The definition, in the workflow format."""
        if (packed := self.__dict__.get(_PACKED)) is not None:
            return dict(json.loads(packed))
        definition = {"slug": self.workflow.slug, "trigger": self.trigger_spec, "steps": self.steps}
        optional = {"output": self.output, "concurrency": self.concurrency, "retry": self.retry}
        return definition | {name: value for name, value in optional.items() if value is not None}

    def pack(self) -> None:
        """Keep the definition as text, which takes a tenth of the memory; its columns are read again where needed."""
        self.__dict__[_PACKED] = json.dumps(self.definition, ensure_ascii=False, separators=(",", ":")).encode()
        for name in ("trigger_spec", "steps", "output", "concurrency", "retry"):
            del self.__dict__[name]

    @classmethod
    def live_for(cls, slug: str) -> WorkflowVersion:
        """Find the live version of a workflow.

        Args:
            slug: The workflow.

        Returns:
            The version, with its workflow loaded.

        Raises:
            WorkflowNotFound: If the workflow does not exist, is disabled or has no live version; the message names
                what exists nearby.
        """
        version = cls.objects.select_related("workflow").filter(workflow__slug=slug, live=True).first()
        if version is None:
            shadow = cls.objects.filter(workflow__slug=slug, shadow=True).first()
            if shadow is not None:
                raise WorkflowNotFound(
                    f"Workflow {slug!r} has only a shadow version, v{shadow.version_num}, and a shadow is never run: "
                    f"'automate workflows promote {slug}' makes it live."
                )
            live = cls.objects.filter(live=True).values_list("workflow__slug", flat=True)
            raise WorkflowNotFound(f"No workflow {slug!r} has a live version.{nearby(slug, live)}")
        if not version.workflow.enabled:
            raise WorkflowNotFound(f"Workflow {slug!r} is disabled: 'automate workflows enable {slug}' enables it.")
        return version
