"""The outbox table."""

from __future__ import annotations

from automate_core.outbox import JobStatus
from django.db import models
from django.utils import timezone

from automate_outbox.indexes import StatusIndex
from automate_outbox.store.rows import (
    KIND_LENGTH,
    ORDERING_KEY_LENGTH,
    OWNER_LENGTH,
    QUEUE_LENGTH,
    TABLE,
    TENANT_LENGTH,
    TOKEN_LENGTH,
)

__all__ = ["OutboxJob"]


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
    created_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """Claims and the reaper read live rows only; ``(status, id)`` serves the admin's listing."""

        db_table = TABLE
        ordering = ("-id",)
        indexes = (
            StatusIndex(
                statuses=[JobStatus.PENDING.value, JobStatus.RETRY.value],
                fields=["-priority", "next_attempt_at", "id"],
                name="automate_outbox_claim",
            ),
            StatusIndex(statuses=[JobStatus.CLAIMED.value], fields=["lease_expires_at"], name="automate_outbox_lease"),
            models.Index(fields=["status", "id"], name="automate_outbox_list"),
        )

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk} ({self.status})"
