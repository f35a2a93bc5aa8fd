"""The application: it registers what handles the measured jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import probe
from automate_core.outbox import OutboxItem
from automate_outbox.handlers import register_handler
from django.apps import AppConfig

KIND = "bench.noop"


class NoOp:
    """Does nothing, and counts it."""

    kind = KIND

    def handle(self, item: OutboxItem) -> None:
        """Count the item; the worker completes it.

        Args:
            item: The item.
        """
        probe.hit(item.payload["i"])

    def on_dead(self, item: OutboxItem, error: str) -> None:
        """Leave it.

        Args:
            item: The item.
            error: Why it died.
        """

    def on_requeue(self, payloads: Mapping[int, dict[str, Any]]) -> Mapping[int, Mapping[str, Any]]:
        """Requeue all of them as they are.

        Args:
            payloads: The payloads by item.
        """
        return payloads


class ProjectConfig(AppConfig):
    """The application."""

    name = "project"

    def ready(self) -> None:
        """Register the handler."""
        register_handler(NoOp())
