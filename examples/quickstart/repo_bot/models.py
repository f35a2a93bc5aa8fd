"""The project's own table."""

from django.db import models


class Delivery(models.Model):
    """A webhook delivery, as it came."""

    number = models.PositiveIntegerField(unique=True)
    name = models.CharField(max_length=100)
    received_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"#{self.number} {self.name}"
