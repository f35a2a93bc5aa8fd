"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["AutomateSecretsConfig"]


class AutomateSecretsConfig(AppConfig):
    """The app that owns the table of encrypted secrets."""

    name = "automate_secrets"
    label = "automate_secrets"
    verbose_name = "Automate secrets"
    default_auto_field = "django.db.models.BigAutoField"
