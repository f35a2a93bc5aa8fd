"""The Django app: the budget and the calls in the project's database."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["AutomateLLMConfig"]


class AutomateLLMConfig(AppConfig):
    """The app ``automate_llm``."""

    name = "automate_llm"
    label = "automate_llm"
    verbose_name = "Automate LLM"
    default_auto_field = "django.db.models.BigAutoField"
