"""The effect that shares the database with the product."""

from __future__ import annotations

from django.db import models


class Effect(models.Model):
    """One effect; nothing keeps a key from having two, so that two can be seen."""

    effect_key = models.CharField(max_length=200)
    attempt = models.PositiveIntegerField()

    class Meta:
        app_label = "faults"
        db_table = "faults_effect"

    def __str__(self) -> str:
        return f"{self.effect_key} #{self.attempt}"
