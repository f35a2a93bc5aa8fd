"""Events, the keys that make them unique, and what was decided about them."""

from __future__ import annotations

from collections.abc import Collection

from automate_core.ids import uuid7
from automate_core.redaction import redact_text
from django.db import models

from automate.models.artifacts import StoredJSONField
from automate.models.immutable import AppendOnlyModel, AppendOnlyQuerySet
from automate.models.tenants import TenantModel, TenantQuerySet
from automate.models.workflows import WorkflowVersion

__all__ = ["Decision", "DedupeKey", "Event"]


class Event(AppendOnlyModel):
    """Something that happened. Immutable."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    type = models.CharField(max_length=200)
    payload = StoredJSONField()
    source = models.CharField(max_length=100, blank=True, default="")
    subject = models.CharField(max_length=200, blank=True, default="")
    tenant = models.CharField(max_length=100, blank=True, default="")
    traceparent = models.CharField(max_length=64, blank=True, default="")
    causation_id = models.UUIDField(null=True, blank=True, help_text="The run that emitted it.")
    causation_depth = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()  # without an index: ids are in the order of time

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        """Newest first in the admin."""

        # db_index on text would make a second index on PostgreSQL, for LIKE.
        indexes = (models.Index(fields=("type",), name="automate_event_type"),)
        ordering = ("-id",)
        permissions = (("view_raw_payload", "Can reveal payloads as they were sent"),)

    def __str__(self) -> str:
        return redact_text(f"{self.type} {self.id}")


class DedupeKey(TenantModel):
    """The event that a dedupe key stands for; kept apart from events, so that those can be partitioned."""

    tenant = models.CharField(max_length=100, blank=True, default="")
    source = models.CharField(max_length=100, blank=True, default="")
    key = models.CharField(max_length=255)
    event_id = models.UUIDField()
    payload_hash = models.CharField(max_length=64)
    expires_at = models.DateTimeField(db_index=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        """One event for each key of a tenant and a source."""

        constraints = (models.UniqueConstraint(fields=("tenant", "source", "key"), name="automate_dedupekey_unique"),)

    def __str__(self) -> str:
        return redact_text(f"{self.source}:{self.key}")


class Decision(AppendOnlyModel):
    """What the rule of one workflow version said about one event, and why."""

    event_id = models.UUIDField()
    version = models.ForeignKey(WorkflowVersion, on_delete=models.CASCADE, related_name="decisions")
    matched = models.BooleanField()
    shadow = models.BooleanField(
        default=False, db_default=False, help_text="Whether the version was a shadow then, so that a match ran nothing."
    )
    explanation = models.JSONField(null=True, blank=True)
    error = models.TextField(blank=True, default="", help_text="Why it could not be decided; never a match.")
    reason = models.CharField(
        max_length=500, blank=True, default="", help_text="Why it started nothing although it matched."
    )
    created_at = models.DateTimeField()  # without an index, as above

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        """One decision for each event and version, so that a repeated dispatch decides nothing twice."""

        constraints = (models.UniqueConstraint(fields=("event_id", "version"), name="automate_decision_unique"),)
        ordering = ("-id",)

    @classmethod
    def within(cls, tenants: Collection[str]) -> models.Q:
        """Return the condition that the event was one of some tenants: the workflow may be everybody's.

        Args:
            tenants: Their names.
        """
        return models.Q(event_id__in=Event.objects.of_tenants(tenants).values("pk"))

    def __str__(self) -> str:
        return f"{self.event_id} {'matched' if self.matched else 'did not match'} {self.version}"
