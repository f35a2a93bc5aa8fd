"""The table of encrypted secrets."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone

from automate_secrets.envelope import key_id_of

__all__ = ["Secret"]


class Secret(models.Model):
    """One version of one secret, encrypted. Rows are written by :class:`automate_secrets.db.DbBackend`."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.CharField(max_length=100, default="", blank=True, help_text="Empty: the installation's own.")
    name = models.CharField(max_length=200)
    version = models.PositiveIntegerField(default=1)
    ciphertext = models.BinaryField(help_text="The envelope; see automate_secrets.envelope.")
    key_id = models.CharField(max_length=64, db_index=True, help_text="Which key wraps the data key of this row.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """The newest version of a secret is found by the unique index."""

        db_table = "automate_secrets_secret"
        ordering = ("tenant", "name", "-version")
        permissions = (("manage_secrets", "Can see which secrets there are, and set, rotate and delete them"),)
        constraints = (models.UniqueConstraint(fields=["tenant", "name", "version"], name="automate_secrets_version"),)

    def __str__(self) -> str:
        return f"{self.name} (version {self.version})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save an envelope; a value in clear is refused.

        Args:
            *args: As Django's.
            **kwargs: As Django's.

        Raises:
            SecretDecryptionError: If ``ciphertext`` is no envelope.
        """
        self.key_id = key_id_of(bytes(self.ciphertext))
        super().save(*args, **kwargs)
