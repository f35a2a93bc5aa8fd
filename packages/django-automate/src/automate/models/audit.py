"""Who changed what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models, router

from automate.audit.appending import appending
from automate.audit.chain import GENESIS, KeyRing, is_seal_of
from automate.models.constraints import AutoFieldCheck
from automate.models.immutable import AppendOnlyModel, AppendOnlyQuerySet

__all__ = ["AuditHead", "AuditLogEntry"]


class AuditQuerySet(AppendOnlyQuerySet["AuditLogEntry"]):
    """Entries, which are written at the end of the chain alone."""

    def bulk_create(self, objs: Iterable[AuditLogEntry], *args: Any, **kwargs: Any) -> list[AuditLogEntry]:
        """Append entries, in their order.

        Args:
            objs: The entries.
            *args: As in Django.
            **kwargs: As in Django.
        """
        self._for_write = True  # as Django's own methods say it before they ask the router
        entries = list(objs)
        if not entries:
            return entries
        with appending(self.db) as tail:
            for entry in entries:
                tail.take(entry)
            return super().bulk_create(entries, *args, **kwargs)


class AuditLogEntry(AppendOnlyModel):
    """One change, for compliance. Append-only, redacted before it is written, and chained to the entry before."""

    position = models.BigAutoField(primary_key=True, help_text="Its place in the log, without gaps.")
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=100, db_index=True)
    resource = models.CharField(max_length=300, db_index=True)
    tenant = models.CharField(max_length=100, blank=True, default="", db_index=True)
    details = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_index=True, editable=False)
    key_id = models.CharField(
        max_length=64, blank=True, default="", editable=False, help_text="The key of its code; empty is none."
    )
    previous = models.CharField(max_length=64, editable=False, help_text="The code of the entry before.")
    mac = models.CharField(max_length=64, editable=False, help_text="Its code: an HMAC over all its fields.")

    objects = AuditQuerySet.as_manager()

    unreadable: tuple[str, ...] = ()
    """The columns that could not be read, as :mod:`automate.audit.showing` notes them."""

    class Meta:
        """Newest first, and no way around the chain."""

        ordering = ("-position",)
        verbose_name_plural = "audit log entries"
        base_manager_name = "objects"
        constraints = (AutoFieldCheck(condition=models.Q(position__gte=1), name="automate_audit_position"),)

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.resource}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Append the entry.

        Args:
            *args: As in Django.
            **kwargs: As in Django.

        Raises:
            AutomateError: If it is written already.
        """
        if not self._state.adding:
            super().save(*args, **kwargs)  # which refuses
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        with appending(using) as tail:
            tail.take(self)
            self.write(using)

    def write(self, using: str) -> None:
        """Insert the row as it is; whoever gave it its place moves the head.

        Args:
            using: The database.
        """
        super().save(using=using)


class AuditHead(models.Model):
    """The end of the audit log: one row, which every append locks, and which only moves forward."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    position = models.PositiveBigIntegerField(default=0)
    mac = models.CharField(max_length=64, default=GENESIS)
    key_id = models.CharField(max_length=64, blank=True, default="")
    seal = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        """There is one."""

        verbose_name = "head of the audit log"
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="automate_audit_one_head"),)

    def __str__(self) -> str:
        return f"{self.position} {self.mac}"

    def is_sealed_by(self, ring: KeyRing) -> bool:
        """Whether it is as it was written. That of an empty log has no seal, as there was no key when it was made.

        Args:
            ring: The keys, the one that it names among them.
        """
        if not self.position:
            return (self.mac, self.key_id, self.seal) == (GENESIS, "", "")
        return is_seal_of(self.seal, self.position, self.mac, self.key_id, ring)
