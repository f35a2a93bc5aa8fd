"""``automate rules``: look at rules, and at what they would do. Each subcommand has a file of its own."""

from __future__ import annotations

import argparse
from typing import ClassVar, Protocol

from automate.commands import ProjectCommand
from automate.commands.rules.backtest import Backtest

__all__ = ["RulesCommand", "Subcommand"]


class Subcommand(Protocol):
    """What a file of this package has."""

    name: ClassVar[str]
    """How it is called."""

    help: ClassVar[str]
    """One line for the help."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add options.

        Args:
            parser: The parser of this subcommand.
        """

    def handle(self, args: argparse.Namespace) -> int:
        """Do the work; the project is set up.

        Args:
            args: The parsed arguments.

        Returns:
            The exit status.
        """


SUBCOMMANDS: tuple[Subcommand, ...] = (Backtest(),)


class RulesCommand(ProjectCommand):
    """What can be asked about rules."""

    help: ClassVar[str] = "look at rules, and at what they would do"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the subcommands with their options.

        Args:
            parser: The parser of this subcommand.
        """
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        for subcommand in SUBCOMMANDS:
            subparser = actions.add_parser(subcommand.name, help=subcommand.help, description=subcommand.help)
            subcommand.add_arguments(subparser)

    def handle(self, args: argparse.Namespace) -> int:
        """Do what was asked for.

        Args:
            args: The parsed arguments.

        Returns:
            The exit status of the subcommand.
        """
        chosen = next(subcommand for subcommand in SUBCOMMANDS if subcommand.name == args.action)
        return chosen.handle(args)
