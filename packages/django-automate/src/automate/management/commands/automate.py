"""``manage.py automate SUBCOMMAND``: the subcommands of ``automate``, in this project."""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TextIO, cast

from automate_core.cli import main
from django.core.management.base import BaseCommand, CommandError

_PROGRAM = "manage.py automate"


class Command(BaseCommand):
    """Run a subcommand of ``automate``; ``manage.py automate --help`` lists them."""

    help = "Run a subcommand of automate in this project; 'manage.py automate --help' lists them."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Leave the arguments to the subcommand, so that its ``--help`` is the one that is shown.

        Args:
            argv: The arguments of the process, ``manage.py`` and this command's name first.
        """
        from django.db import connections

        try:
            status = main(_without_django_options(argv[2:]), program=f"{Path(argv[0]).name} {argv[1]}")
        finally:
            connections.close_all()
        sys.exit(status)

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """List the subcommands.

        Args:
            prog_name: ``manage.py``.
            subcommand: This command's name.
        """
        main(["--help"], program=f"{Path(prog_name).name} {subcommand}")

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take everything.

        Args:
            parser: The parser.
        """
        parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the subcommand and its arguments")

    def handle(self, *, arguments: list[str], **options: Any) -> None:
        """Run the subcommand for ``call_command("automate", "dlq", "list")``.

        Args:
            arguments: The subcommand and its arguments.
            **options: Django's own.

        Raises:
            CommandError: If it ends with another status than 0.
        """
        self.stdout.ending = ""  # the subcommands end their lines themselves
        with redirect_stdout(cast("TextIO", self.stdout)):
            status = main(arguments, program=_PROGRAM)
        if status:
            # Not all of the arguments: there may be one among them that is a secret.
            raise CommandError(f"automate {' '.join(arguments[:2])} ended with status {status}", returncode=status)


def _without_django_options(arguments: list[str]) -> list[str]:
    """Drop what ``manage.py`` itself has already heeded."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--settings")
    parser.add_argument("--pythonpath")
    return parser.parse_known_args(arguments)[1]
