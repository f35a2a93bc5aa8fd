"""``automate rules``: look at rules, and at what they would do. Each subcommand has a file of its own."""

from __future__ import annotations

import argparse
from typing import ClassVar, Protocol

from automate.commands import ProjectCommand, is_project_named
from automate.commands.rules.backtest import Backtest
from automate.commands.rules.explain import Explain
from automate.commands.rules.lint import Lint
from automate.commands.rules.test import Test

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
        """Do the work; the project is set up, unless there is none and the subcommand says that it does without.

        Args:
            args: The parsed arguments.

        Returns:
            The exit status.
        """


SUBCOMMANDS: tuple[Subcommand, ...] = (Explain(), Test(), Lint(), Backtest())


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

    def run(self, args: argparse.Namespace) -> int:
        """Set the project up and do the work; where there is none, the subcommand may do without.

        The settings of a project say how its rules are read and what is redacted, so one that is there always counts.

        Args:
            args: The parsed arguments.

        Returns:
            The exit status of the subcommand.
        """
        if is_project_named(args.settings):
            return super().run(args)
        does_without = getattr(_chosen(args), "does_without_project", None)
        return self.handle(args) if does_without is not None and does_without(args) else super().run(args)

    def handle(self, args: argparse.Namespace) -> int:
        """Do what was asked for.

        Args:
            args: The parsed arguments.

        Returns:
            The exit status of the subcommand.
        """
        return _chosen(args).handle(args)


def _chosen(args: argparse.Namespace) -> Subcommand:
    return next(subcommand for subcommand in SUBCOMMANDS if subcommand.name == args.action)
