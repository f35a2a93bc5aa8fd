"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["AutomateOutboxConfig"]


class AutomateOutboxConfig(AppConfig):
    """The app that owns the outbox table."""

    name = "automate_outbox"
    label = "automate_outbox"
    verbose_name = "Automate outbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from django.core.checks import register

        from automate_outbox.checks import check_databases, check_listening, check_time_zone

        register(check_time_zone)
        register(check_databases)
        register(check_listening)
