"""The budget of each day and a record of each call. No row holds a prompt or an answer."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.db import models

from automate_llm.budget import usd

__all__ = ["LLMBudgetDay", "LLMCall"]


class LLMBudgetDay(models.Model):
    """What is spent and reserved of one day's budget, in micro-dollars."""

    day = models.DateField(unique=True)
    reserved = models.BigIntegerField(default=0, help_text="Micro-dollars set aside for calls without an outcome.")
    spent = models.BigIntegerField(default=0, help_text="Micro-dollars that finished calls cost.")

    class Meta:
        """The newest day first; never below zero."""

        verbose_name = "LLM budget day"
        ordering: ClassVar = ["-day"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(reserved__gte=0), name="automate_llm_day_reserved_gte_0"),
            models.CheckConstraint(condition=models.Q(spent__gte=0), name="automate_llm_day_spent_gte_0"),
        ]

    def __str__(self) -> str:
        return f"{self.day}: ${self.spent_usd} spent, ${self.reserved_usd} reserved"

    @property
    def spent_usd(self) -> Decimal:
        """What finished calls cost, in US dollars."""
        return usd(self.spent)

    @property
    def reserved_usd(self) -> Decimal:
        """What is set aside, in US dollars."""
        return usd(self.reserved)


class LLMCall(models.Model):
    """One call of a model. While its status is RESERVED, all that was reserved for it counts as spent."""

    class Status(models.TextChoices):
        """Where a call stands."""

        RESERVED = "RESERVED"
        SUCCESS = "SUCCESS"
        FAILED = "FAILED"

    id = models.UUIDField(primary_key=True, editable=False)
    day = models.DateField(help_text="The day whose budget pays.")
    provider = models.CharField(max_length=100)
    model = models.CharField(max_length=200)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RESERVED)
    error_code = models.CharField(max_length=100, blank=True)
    prompt_hash = models.CharField(max_length=64, help_text="SHA-256 of the messages; they are not stored.")
    input_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)
    reserved = models.BigIntegerField(help_text="Micro-dollars that were reserved.")
    cost = models.BigIntegerField(null=True, help_text="Micro-dollars that it cost.")
    latency_ms = models.BigIntegerField(null=True)
    tenant = models.CharField(max_length=200, blank=True)
    run_id = models.CharField(max_length=64, blank=True)
    attempt = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """The newest call first."""

        verbose_name = "LLM call"
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["day", "status"], name="automate_llm_call_day"),
            models.Index(fields=["run_id"], name="automate_llm_call_run"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.model} {self.status}"

    @property
    def cost_usd(self) -> Decimal | None:
        """What it cost, in US dollars; None while that is open."""
        return None if self.cost is None else usd(self.cost)
