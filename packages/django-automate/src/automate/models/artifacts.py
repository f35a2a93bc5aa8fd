"""Large values that are kept as files, and what uses them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from automate_core.errors import InvalidPayloadError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.fields.json import KeyTransform

from automate.artifacts.reference import MARK, Reference, from_column, is_marked
from automate.models.tenants import TenantModel, TenantQuerySet

__all__ = ["Artifact", "ArtifactUse", "StoredJSONField"]


class StoredJSONField(models.JSONField):
    """JSON that may be kept as an artifact: a reference comes out as what it is, and nothing else goes in as one.

    :func:`automate.artifacts.content` turns what it holds into the value.
    """

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        """Return what the column holds.

        Args:
            value: What the driver returned.
            expression: What was selected; a part of a value is never a reference.
            connection: The connection.
        """
        plain = super().from_db_value(value, expression, connection)
        return plain if isinstance(expression, KeyTransform) else from_column(plain)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Return what is written.

        Args:
            value: The value.
            connection: The connection.

        Raises:
            InvalidPayloadError: If it only looks like a reference.
        """
        if is_marked(value) and type(value) is not Reference:
            raise InvalidPayloadError(
                f"{self.name} has the key {MARK!r}, which is that of a reference: pass the value to "
                "automate.artifacts.stored() first.",
                context={"pointer": f"/{MARK}"},
            )
        return super().get_db_prep_save(value, connection)

    def deconstruct(self) -> Any:
        """Return what a migration writes down: to the database it is plain JSON."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs


class Artifact(TenantModel):
    """One content that is kept as a file. Whoever writes a reference to it, and whoever removes it, locks this row."""

    sha256 = models.CharField(max_length=64, primary_key=True, help_text="Of the canonical JSON.")
    bytes = models.PositiveBigIntegerField(help_text="Length of the canonical JSON.")
    created_at = models.DateTimeField(db_index=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        """Newest first."""

        ordering = ("-created_at",)

    @classmethod
    def within(cls, tenants: Collection[str]) -> models.Q:
        """Return the condition that something of some tenants uses the content.

        Args:
            tenants: Their names.
        """
        return models.Q(pk__in=ArtifactUse.objects.of_tenants(tenants).values("artifact"))

    def __str__(self) -> str:
        return f"{self.sha256[:12]}… ({self.bytes} bytes)"

    @property
    def reference(self) -> Reference:
        """What columns hold of it."""
        return Reference({MARK: {"sha256": self.sha256, "bytes": self.bytes}})


class ArtifactUse(TenantModel):
    """A row, or the run that it belongs to, whose columns refer to an artifact."""

    artifact = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="uses")
    owner = models.CharField(max_length=10, help_text="event, execution or run.")
    owner_id = models.UUIDField()

    objects = TenantQuerySet.as_manager()

    class Meta:
        """One for each artifact of an owner, however many of its columns refer to it."""

        constraints = (
            models.UniqueConstraint(fields=("artifact", "owner", "owner_id"), name="automate_artifactuse_unique"),
        )
        indexes = (models.Index(fields=("owner", "owner_id"), name="automate_artifactuse_owner"),)

    @classmethod
    def within(cls, tenants: Collection[str]) -> models.Q:
        """Return the condition that the owner is one of some tenants.

        Args:
            tenants: Their names.
        """
        from automate.models import Event, Execution, ExecutionRun

        condition = models.Q()
        for owner, model in (("event", Event), ("execution", Execution), ("run", ExecutionRun)):
            ids = model.objects.of_tenants(tenants).values("pk")
            condition |= models.Q(owner=owner, owner_id__in=ids)
        return condition

    def __str__(self) -> str:
        return f"{self.owner} {self.owner_id}"
