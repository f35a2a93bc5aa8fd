"""The switch that stops everything."""

from __future__ import annotations

from automate_core.redaction import redact_text
from django.db import models

__all__ = ["Switch"]

_ONLY = 1


class Switch(models.Model):
    """One row, which every worker reads every few seconds. Where it is missing, automation was never paused.

    It is changed by :mod:`automate.policy.switch`, which records who did it.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=_ONLY)
    paused = models.BooleanField(default=False, help_text="While it is set, events are kept and nothing runs.")
    reason = models.CharField(max_length=500, blank=True, default="")
    actor = models.CharField(max_length=200, blank=True, default="")
    recorded = models.BooleanField(default=True, help_text="Unset while the audit log lacks the entry of a pause.")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        """There is one."""

        verbose_name_plural = "switch"

    def __str__(self) -> str:
        return redact_text(f"paused: {self.reason}") if self.paused else "on"
