"""``manage.py outbox_reap``: recover what dead workers held, once."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from automate_core import settings
from automate_core.aliases import ensure_alias
from automate_core.errors import ConfigurationError
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from automate_outbox.reaper import OutboxReaper, ReapedItem


class Command(BaseCommand):
    """Give back the items whose lease ran out, and fail those that crashed too often."""

    help = "Give back the outbox items whose lease ran out; fail those that crashed too often."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options.

        Args:
            parser: The parser of the command.
        """
        parser.add_argument(
            "--stale-threshold",
            type=float,
            default=0.0,
            metavar="SECONDS",
            help="Take only items whose lease ran out that long ago (default: 0).",
        )
        parser.add_argument("--database", default="default", help="Alias of the database (default: default).")
        parser.add_argument("--json", action="store_true", help="Print the items as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Reap once and report.

        Args:
            *args: None are taken.
            **options: The options.

        Raises:
            CommandError: If there is no such database, or a number is none that can be reaped by.
        """
        try:
            ensure_alias(options["database"], connections)
            reaper = OutboxReaper(
                options["stale_threshold"],
                using=options["database"],
                max_crashes=settings.current().outbox.max_crashes,
            )
        except ConfigurationError as error:
            raise CommandError(error.message) from error
        reaped = reaper.reap()
        if options["json"]:
            self.stdout.write(json.dumps({"reaped": len(reaped), "items": [_describe(one) for one in reaped]}))
            return
        for one in reaped:
            self.stdout.write(f"{one.item.id}  {one.item.kind}  {one.status}  {one.error}".rstrip())
        self.stdout.write(f"Recovered {len(reaped)} stuck items.")


def _describe(one: ReapedItem) -> dict[str, Any]:
    return {
        "id": one.item.id,
        "kind": one.item.kind,
        "status": one.status.value,
        "worker": one.item.lease_owner,
        "crashes": one.item.crashes,
        "error": one.error,
    }
