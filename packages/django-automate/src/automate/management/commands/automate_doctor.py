"""``manage.py automate_doctor``: is this project fit to run automations?"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from automate_core.aliases import ensure_alias
from automate_core.errors import ConfigurationError
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from automate.doctor import examine


class Command(BaseCommand):
    """Look at settings, database, migrations, plugins, workflows and outbox. Exit status 1 where something is wrong."""

    help = "Look whether this project is fit to run automations, and say how to mend what is not."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options.

        Args:
            parser: The parser.
        """
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument("--database", default="default", help="alias of the database")

    def handle(self, **options: Any) -> None:
        """Look.

        Args:
            **options: The parsed options.

        Raises:
            CommandError: If there is no such database.
        """
        try:
            ensure_alias(options["database"], connections)
        except ConfigurationError as error:
            raise CommandError(error.message) from error
        findings = examine(options["database"])
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2))
        else:
            style = {"ok": self.style.SUCCESS, "warning": self.style.WARNING, "error": self.style.ERROR}
            for finding in findings:
                self.stdout.write(f"{style[finding.level](finding.level.ljust(8))} {finding.name}: {finding.message}")
                if finding.remedy:
                    self.stdout.write(f"         {finding.remedy}")
        if any(finding.level == "error" for finding in findings):
            sys.exit(1)
