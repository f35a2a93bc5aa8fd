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
        """Install settings, checks, job handlers and what is audited; import every app's ``automations``."""
        from automate_core import pages
        from automate_core.secrets import resolver
        from automate_outbox.dead import dead_letters_changed
        from automate_secrets.changes import secret_changed
        from django.core.signals import request_finished
        from django.db.models.signals import post_migrate

        from automate import checks, conf, dead_letters, secret_changes  # noqa: F401 - importing checks registers them
        from automate._late_entries import write_waiting
        from automate._secret_access import key_references, record_access
        from automate.audit import guard
        from automate.permissions import answer, note_refusal
        from automate.posted_actions import leave_out
        from automate.worker.handlers import register_handlers

        conf.install()
        register_handlers()
        dead_letters_changed.connect(dead_letters.audit, dispatch_uid="automate.dead_letters")
        secret_changed.connect(secret_changes.audit, dispatch_uid="automate.secret_changes")
        post_migrate.connect(guard.ensure_installed, sender=self, dispatch_uid="automate.audit_guard")
        request_finished.connect(write_waiting, dispatch_uid="automate.late_entries")
        pages.answer_with(answer, leave_out, note_refusal)
        resolver.on_access = record_access
        resolver.own_references = key_references
        autodiscover_modules("automations")
