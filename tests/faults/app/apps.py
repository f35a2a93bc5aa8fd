"""What every process under test gets beside the product: who it is, where it shall die, which bug is planted in it."""

from __future__ import annotations

import os
from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created

from faults.settings import WRITER


class FaultsConfig(AppConfig):
    name = "faults.app"
    label = "faults"

    def ready(self) -> None:
        from faults.app import plants, seams

        connection_created.connect(introduce, dispatch_uid="faults")
        if point := os.environ.get("AUTOMATE_CRASH_AT"):
            seams.install(point)
        if bug := os.environ.get("FAULTS_PLANT"):
            plants.install(bug)


def introduce(connection: Any, **_: Any) -> None:
    """Tell SQLite's triggers who writes; the servers know it from the connection's options."""
    if connection.vendor == "sqlite":
        connection.connection.create_function("faults_writer", 0, lambda: WRITER)
