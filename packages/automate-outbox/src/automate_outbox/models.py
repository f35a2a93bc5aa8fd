"""The outbox table."""

from __future__ import annotations

from automate_core.outbox import JobStatus
from automate_core.outbox.fingerprint import FINGERPRINT_LENGTH
from automate_core.redaction import redact_text
from django.db import models
from django.utils import timezone

from automate_outbox.indexes import StatusIndex, UniqueWherePossible
from automate_outbox.store.rows import (
    KIND_LENGTH,
    ORDERING_KEY_LENGTH,
    OWNER_LENGTH,
    QUEUE_LENGTH,
    TABLE,
    TENANT_LENGTH,
    TOKEN_LENGTH,
)

__all__ = ["OutboxJob", "WorkerBeat"]


class OutboxJob(models.Model):
    """One item of the outbox.

    Rows are written by the stores of :mod:`automate_outbox.store`; through the ORM they are for reading. Times are
    the database's, not the caller's, except where a row is made with ``OutboxJob.objects.create``.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=KIND_LENGTH)
    payload = models.JSONField(default=dict)
    status = models.CharField(
        max_length=10, default=JobStatus.PENDING.value, choices=[(status.value, status.value) for status in JobStatus]
    )
    priority = models.SmallIntegerField(default=0, help_text="Higher goes first.")
    queue = models.CharField(max_length=QUEUE_LENGTH, default="default")
    ordering_key = models.CharField(max_length=ORDERING_KEY_LENGTH, default="", blank=True)
    tenant = models.CharField(max_length=TENANT_LENGTH, default="", blank=True)
    attempts = models.PositiveIntegerField(default=0, help_text="Charged when the item is claimed.")
    max_attempts = models.PositiveIntegerField(default=4)
    crashes = models.PositiveIntegerField(default=0, help_text="Claims whose lease ran out.")
    next_attempt_at = models.DateTimeField(default=timezone.now, help_text="Not claimed before this time.")
    lease_owner = models.CharField(max_length=OWNER_LENGTH, default="", blank=True)
    lease_token = models.CharField(max_length=TOKEN_LENGTH, default="", blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(default="", blank=True)
    fingerprint = models.CharField(
        max_length=FINGERPRINT_LENGTH, default="", blank=True, help_text="Of the error, where the item is FAILED."
    )
    created_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """Claims, the reaper and the list of dead letters each have an index over their few rows alone."""

        db_table = TABLE
        ordering = ("-id",)
        indexes = (
            StatusIndex(
                statuses=[JobStatus.PENDING.value, JobStatus.RETRY.value],
                ordered=False,
                fields=["priority", "queue", "tenant", "kind", "next_attempt_at", "id"],
                name="automate_outbox_claim",
            ),
            StatusIndex(
                statuses=[JobStatus.PENDING.value, JobStatus.RETRY.value, JobStatus.CLAIMED.value],
                ordered=True,
                fields=["queue", "tenant", "ordering_key", "id"],
                name="automate_outbox_order",
            ),
            # Without lease_expires_at: a renewal changes no indexed column, and the reaper has few rows to look at.
            StatusIndex(statuses=[JobStatus.CLAIMED.value], fields=["id"], name="automate_outbox_held"),
            StatusIndex(statuses=[JobStatus.FAILED.value], fields=["fingerprint", "id"], name="automate_outbox_dead"),
        )
        constraints = (
            # A claim by a snapshot that misses a row which was committed late could take a second row of its key.
            # On MySQL claims lock the rows of a key instead.
            UniqueWherePossible(
                fields=["queue", "tenant", "ordering_key"],
                condition=models.Q(status=JobStatus.CLAIMED.value, ordering_key__gt=""),
                name="automate_outbox_turn",
            ),
        )

    def __str__(self) -> str:
        return redact_text(f"{self.kind} #{self.pk} ({self.status})")


class WorkerBeat(models.Model):
    """One life of one worker process, as it last told; one row holds the totals of those that are gone.

    Rows are written by :mod:`automate_outbox.counters`.
    """

    id = models.CharField(primary_key=True, max_length=TOKEN_LENGTH)
    worker_id = models.CharField(max_length=OWNER_LENGTH)
    host = models.CharField(max_length=OWNER_LENGTH, default="", blank=True)
    pid = models.BigIntegerField()
    mode = models.CharField(max_length=20, default="", blank=True)
    wake = models.CharField(max_length=20, default="", blank=True)
    in_hand = models.PositiveIntegerField(default=0)
    counters = models.JSONField(default=dict)
    started_at = models.DateTimeField(default=timezone.now)
    beat_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """By name."""

        db_table = "automate_outbox_worker"
        ordering = ("worker_id",)

    def __str__(self) -> str:
        return f"{self.worker_id} on {self.host}"
