"""``automate workflows``: make a shadow live, or end it."""

from __future__ import annotations

import argparse
import sys
from typing import ClassVar

from automate.commands import ProjectCommand
from automate.commands.people import actor

__all__ = ["WorkflowsCommand"]


class WorkflowsCommand(ProjectCommand):
    """Decide what becomes of the shadow of a workflow."""

    help: ClassVar[str] = "make the shadow of a workflow its live version, or end it"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the actions.

        Args:
            parser: The parser of this subcommand.
        """
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        for name, text in (
            ("promote", "make the shadow the live version"),
            ("drop-shadow", "end the shadow; its decisions stay"),
        ):
            action = actions.add_parser(name, help=text, description=text)
            action.add_argument("slug", help="the workflow")

    def handle(self, args: argparse.Namespace) -> int:
        """Do what was asked for.

        Args:
            args: The parsed arguments.

        Returns:
            0.
        """
        from automate.publish import drop_shadow, promote

        if args.action == "promote":
            version = promote(args.slug, actor=actor("automate workflows"))
            sys.stdout.write(f"{version} is live\n")
        else:
            version = drop_shadow(args.slug, actor=actor("automate workflows"))
            sys.stdout.write(f"{version} is no shadow any more; what it decided stays\n")
        return 0
