"""``manage.py automate_secret``: put secrets into the database, list their names, delete them.

Rotation, rewrapping and a check of the keys come with the subcommands of ``automate secrets``.
"""

from __future__ import annotations

import getpass
import sys
from argparse import ArgumentParser
from typing import Any

from automate_core.errors import AutomateError
from django.core.management.base import BaseCommand, CommandError

from automate_secrets.db import DbBackend


class Command(BaseCommand):
    """Set, list and delete the secrets of the backend ``db``."""

    help = "Set, list or delete the secrets that are kept in the database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the actions.

        Args:
            parser: The parser of the command.
        """
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        setting = actions.add_parser("set", help="Store a value, read from standard input or asked for.")
        setting.add_argument("name", help="Its name.")
        listing = actions.add_parser("list", help="List the names; values are never shown.")
        deleting = actions.add_parser("delete", help="Delete every version of a secret.")
        deleting.add_argument("name", help="Its name.")
        for action in (setting, listing, deleting):
            action.add_argument("--tenant", default="", help="Whose secret (default: the installation's own).")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what the action says.

        Args:
            *args: None are taken.
            **options: The options.

        Raises:
            CommandError: If it is refused; the message says why.
        """
        tenant = options["tenant"]
        try:
            backend = DbBackend()
            if options["action"] == "set":
                version = backend.set(options["name"], _read_value(options["name"]), tenant=tenant)
                key_id = backend.ring.active
                self.stdout.write(f"Stored {options['name']}, version {version}, encrypted with the key {key_id}.")
            elif options["action"] == "delete":
                count = backend.delete(options["name"], tenant=tenant)
                self.stdout.write(f"Deleted {options['name']}, {count} version{'s' if count > 1 else ''}.")
            else:
                for name in backend.names(tenant=tenant):
                    self.stdout.write(name)
        except AutomateError as error:
            raise CommandError(error.message) from error


def _read_value(name: str) -> str:
    """Read a value where neither the process list nor the shell's history shows it."""
    if sys.stdin.isatty():
        return getpass.getpass(f"Value of {name}: ")
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")
