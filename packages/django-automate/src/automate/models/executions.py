"""Executions, their runs and the steps of those."""

from __future__ import annotations

from typing import Any, ClassVar

from automate_core import settings
from automate_core.ids import uuid7
from django.db import models, transaction

from automate.artifacts import Owner, Reference, keep, save, stored
from automate.models.artifacts import StoredJSONField
from automate.models.indexes import SparseIndex
from automate.models.tenants import TenantModel, TenantQuerySet
from automate.models.workflows import Workflow, WorkflowVersion
from automate.payloads import ensure_storable

__all__ = ["Execution", "ExecutionRun", "RunStatus", "StepRun"]


class RunStatus(models.TextChoices):
    """Where an execution or a run stands. SUCCESS, FAILED and CANCELLED are final."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


LIVE = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING)
"""The statuses that may still change."""


class Execution(TenantModel):
    """One request to run a workflow version with a context; its status is that of its latest run.

    ``Execution(automation=workflow, context={…})`` pins the workflow's live version.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    version = models.ForeignKey(WorkflowVersion, on_delete=models.PROTECT, related_name="executions")
    context = StoredJSONField(default=dict)
    event_id = models.UUIDField(null=True, blank=True, db_index=True)
    status = models.CharField(max_length=10, choices=RunStatus.choices, default=RunStatus.QUEUED)
    tenant = models.CharField(max_length=100, blank=True, default="")
    causation_id = models.UUIDField(null=True, blank=True, help_text="The run that started it directly.")
    causation_depth = models.PositiveSmallIntegerField(default=0)
    concurrency_key = models.CharField(  # noqa: DJ001
        max_length=64, null=True, blank=True, help_text="Shared by the runs that concurrency and rate count together."
    )
    # NULL, so that any comparison is known to need the rows of the partial index alone. A column of its own, as an
    # index with the status would cost every change of a status.
    live_key = models.CharField(  # noqa: DJ001
        max_length=64, null=True, blank=True, editable=False, help_text="The concurrency key, until it has ended."
    )
    created_at = models.DateTimeField(auto_now_add=True)  # without an index: ids are in the order of time
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        """Newest first in the admin."""

        indexes = (SparseIndex(fields=["live_key"], name="automate_execution_live_key"),)
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.pk} {self.status}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the row; a large context becomes an artifact with it.

        Args:
            *args: As in Django.
            **kwargs: As in Django.

        Raises:
            InvalidPayloadError: If a new context cannot be stored.
            ArtifactUnavailable: If a large context cannot be kept; nothing was written.
        """
        if self._state.adding and type(self.context) is not Reference:
            encoded = ensure_storable(self.context, max_bytes=settings.current().events.max_payload_bytes)
            self.context = stored(self.context, encoded)
        if not self._state.adding or type(self.context) is not Reference:
            super().save(*args, **kwargs)
            return
        save(self.context)
        with transaction.atomic():
            keep([(self.context, Owner.EXECUTION, self.pk)])
            super().save(*args, **kwargs)

    @property
    def automation(self) -> Workflow:
        """The workflow that it runs; setting it pins the workflow's live version."""
        return self.version.workflow

    @automation.setter
    def automation(self, workflow: Workflow) -> None:
        self.version = workflow.live_version


class ExecutionRun(TenantModel):
    """One attempt or replay of an execution."""

    tenant_lookup: ClassVar[str] = "execution__tenant"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # No index of its own, nor for the run of a step: the unique constraints below begin with them.
    execution = models.ForeignKey(Execution, on_delete=models.CASCADE, related_name="runs", db_index=False)
    number = models.PositiveIntegerField(default=1)
    trace_id = models.CharField(max_length=32)
    status = models.CharField(max_length=10, choices=RunStatus.choices, default=RunStatus.QUEUED)
    idempotency_run_id = models.UUIDField(
        null=True,
        blank=True,
        help_text="The dead run that it carries on, whose idempotency keys its steps use; empty: its own.",
    )
    outputs = StoredJSONField(default=dict, help_text="Redacted.")
    error = models.JSONField(null=True, blank=True, help_text="Code, message and step of what failed it; redacted.")
    job_id = models.BigIntegerField(null=True, blank=True, help_text="The outbox job that carries it on.")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        """Newest first in the admin."""

        constraints = (models.UniqueConstraint(fields=("execution", "number"), name="automate_run_number_unique"),)
        # No index holds the status: changing it then leaves every index of PostgreSQL alone (a heap-only tuple).
        indexes = (models.Index(fields=("trace_id",), name="automate_run_trace"),)
        ordering = ("-id",)
        permissions = (
            ("view_run", "Can view events, decisions and runs"),
            ("replay_run", "Can replay runs"),
            ("cancel_run", "Can cancel runs"),
            ("approve", "Can approve what a run waits for"),
        )

    def __str__(self) -> str:
        return f"{self.pk} {self.status}"


class StepRun(TenantModel):
    """One attempt of one step of a run, written when it ended: the checkpoint that a crash resumes from."""

    class Status(models.TextChoices):
        """What became of the attempt. RETRY is followed by another one."""

        SUCCESS = "SUCCESS"
        FAILED = "FAILED"
        RETRY = "RETRY"
        SKIPPED = "SKIPPED"

    tenant_lookup: ClassVar[str] = "run__execution__tenant"

    run = models.ForeignKey(ExecutionRun, on_delete=models.CASCADE, related_name="steps", db_index=False)
    step_id = models.CharField(max_length=100)
    action = models.CharField(max_length=200)
    attempt = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=10, choices=Status.choices)
    input = StoredJSONField(null=True, blank=True, help_text="Rendered and redacted; secrets are references.")
    output = StoredJSONField(null=True, blank=True, help_text="Redacted.")
    error = models.JSONField(null=True, blank=True, help_text="Code, message and whether it may be retried; redacted.")
    reason = models.CharField(max_length=500, blank=True, default="", help_text="Why it was skipped.")
    idempotency_key = models.CharField(max_length=200, blank=True, default="")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True, help_text="When the next attempt is due.")

    objects = TenantQuerySet.as_manager()

    class Meta:
        """One row for each attempt, whoever wrote it."""

        constraints = (models.UniqueConstraint(fields=("run", "step_id", "attempt"), name="automate_step_unique"),)
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.step_id} #{self.attempt} {self.status}"

    @property
    def seconds(self) -> float | None:
        """How long the attempt took, in seconds; None where it did not run."""
        if self.started_at is None or self.finished_at is None:
            return None
        seconds: Any = (self.finished_at - self.started_at).total_seconds()
        return float(seconds)
