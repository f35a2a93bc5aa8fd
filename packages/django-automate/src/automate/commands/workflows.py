"""``automate workflows``: make a shadow live, or end it; enable a workflow, or disable it."""

from __future__ import annotations

import argparse
import sys
from typing import ClassVar

from automate.commands import ProjectCommand
from automate.commands.people import actor

__all__ = ["WorkflowsCommand"]


class WorkflowsCommand(ProjectCommand):
    """Decide what becomes of a workflow, or of its shadow."""

    help: ClassVar[str] = "enable a workflow, or disable it; make its shadow the live version, or end it"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the actions.

        Args:
            parser: The parser of this subcommand.
        """
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        for name, text in (
            ("promote", "make the shadow the live version"),
            ("drop-shadow", "end the shadow; its decisions stay"),
            ("enable", "let it listen and run again"),
            ("disable", "let no event and nobody start it; what was started goes on"),
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
        from automate import publish

        who = actor("automate workflows")
        if args.action == "promote":
            said = f"{publish.promote(args.slug, actor=who)} is live"
        elif args.action == "drop-shadow":
            said = f"{publish.drop_shadow(args.slug, actor=who)} is no shadow any more; what it decided stays"
        elif args.action == "enable":
            said = f"{publish.enable(args.slug, actor=who)} is enabled"
        else:
            said = f"{publish.disable(args.slug, actor=who)} is disabled"
        sys.stdout.write(f"{said}\n")
        return 0
