"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["RagConfig"]


class RagConfig(AppConfig):
    """Tables for the embedded document store."""

    name = "automate_rag"
    label = "automate_rag"
    verbose_name = "Automate: documents"
    default_auto_field = "django.db.models.BigAutoField"
