"""``automate events``: the event types that are declared."""

from __future__ import annotations

import argparse
import sys
from typing import ClassVar

from automate.commands import ProjectCommand, print_json
from automate.commands.people import columns

__all__ = ["EventsCommand"]


class EventsCommand(ProjectCommand):
    """Show what the project declares about its events."""

    help: ClassVar[str] = "show the event types that the project declares"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the action and its options.

        Args:
            parser: The parser of this subcommand.
        """
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        text = "list the declared event types; with --json, their JSON Schemas"
        schemas = actions.add_parser("schemas", help=text, description=text)
        schemas.add_argument("--json", action="store_true", help="print an object of JSON Schemas, by event type")

    def handle(self, args: argparse.Namespace) -> int:
        """Print them.

        Args:
            args: The parsed arguments.

        Returns:
            0.
        """
        from automate.event_types import event_types

        declared = event_types.all()
        if args.json:
            print_json({one.name: one.schema for one in declared})
            return 0
        if not declared:
            sys.stdout.write("No event type is declared: call event_type() in automations.py of an installed app.\n")
            return 0
        rows = [(one.name, one.title or "-", one.origin) for one in declared]
        sys.stdout.writelines(f"{line}\n" for line in columns(("event type", "title", "declared at"), rows))
        return 0
