"""The keys by which runs are counted together."""

from __future__ import annotations

from automate_core.redaction import redact_text
from automate_core.workflow.rates import Bucket
from django.db import models

__all__ = ["ConcurrencyKey"]


class ConcurrencyKey(models.Model):
    """A key of a workflow and a tenant: what starters of its runs lock, and how fast these may begin.

    It is made when it is first needed, and pruned when it has not been used for a day.
    """

    key = models.CharField(primary_key=True, max_length=64, help_text="As in the executions.")
    arrival = models.DateTimeField(null=True, blank=True, help_text="When its bucket is full again.")
    booked = models.DateTimeField(null=True, blank=True, help_text="The last time that a waiting run was given.")
    used_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """By key."""

        ordering = ("key",)

    def __str__(self) -> str:
        return redact_text(self.key)

    @property
    def bucket(self) -> Bucket:
        """The state of its rate."""
        return Bucket(self.arrival, self.booked)

    @bucket.setter
    def bucket(self, bucket: Bucket) -> None:
        self.arrival, self.booked = bucket.arrival, bucket.booked
