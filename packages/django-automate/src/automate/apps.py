"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class AutomateConfig(AppConfig):
    """Automate: when this happens, and these conditions hold, do that."""

    name = "automate"
    verbose_name = "Automate"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Install the settings, the checks and the job handlers, and import every app's ``automations``."""
        from automate import checks, conf  # noqa: F401 - importing checks registers them
        from automate.worker.handlers import register_handlers

        conf.install()
        register_handlers()
        autodiscover_modules("automations")
