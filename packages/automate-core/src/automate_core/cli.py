"""The ``automate`` console command. Its subcommands are registered by plugins."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from automate_core.__about__ import __version__
from automate_core.errors import AutomateError
from automate_core.registry import Registry, registry

__all__ = ["Command", "PluginsCommand", "main"]


class Command:
    """Base class of a subcommand.

    Args:
        registry: The registry it works with.
    """

    help: ClassVar[str] = ""
    """One line for ``automate --help``."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add arguments.

        Args:
            parser: The parser of this subcommand.
        """

    def run(self, args: argparse.Namespace) -> int:
        """Do it.

        Args:
            args: The parsed arguments.

        Returns:
            The exit status.
        """
        raise NotImplementedError(f"{type(self).__name__} must define run()")


class PluginsCommand(Command):
    """List the plugins, their states and what they register."""

    help = "list the installed plugins, their states and what they register"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add ``--json`` and ``--strict``.

        Args:
            parser: The parser of this subcommand.
        """
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument("--strict", action="store_true", help="exit with 1 where one is broken")

    def run(self, args: argparse.Namespace) -> int:
        """Print the list.

        Args:
            args: The parsed arguments.

        Returns:
            0, or 1 with ``--strict`` where a plugin is incompatible or failed.
        """
        registered = _registered(self.registry)  # a failing register hook changes the state of its plugin
        rows = [
            {
                "name": info.name,
                "distribution": info.distribution,
                "version": info.version,
                "state": info.state,
                "reason": info.reason,
                "registers": registered.get(info.distribution, []),
            }
            for info in self.registry.plugins()
        ]
        if args.json:
            sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        else:
            for row in rows:
                sys.stdout.write(_line(row))
        broken = [row for row in rows if row["state"] in ("incompatible", "failed")]
        return 1 if args.strict and broken else 0


def _registered(registry: Registry) -> dict[str, list[str]]:
    from automate_core.specs import KINDS

    found: dict[str, list[str]] = {}
    for kind in KINDS:
        for key, registered in sorted(registry.specs(kind).items()):
            found.setdefault(registered.distribution, []).append(f"{kind}.{key}")
    return found


def _line(row: dict[str, Any]) -> str:
    head = f"{row['state']:<13}{row['name']:<14}{row['distribution']} {row['version']}"
    lines = [head, *([f"             {row['reason']}"] if row["reason"] else [])]
    if row["registers"]:
        lines.append(f"             registers {', '.join(row['registers'])}")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None, *, registry: Registry = registry) -> int:
    """Run the console command.

    Args:
        argv: The arguments without the program's name; None takes the process's.
        registry: Where the subcommands are registered.

    Returns:
        The exit status: 0, 1 on an error of Automate, 2 on wrong arguments.
    """
    parser = argparse.ArgumentParser(prog="automate", description="Event-driven workflow automation for Django.")
    parser.add_argument("--version", action="version", version=f"automate-core {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands: dict[str, Command] = {}
    try:
        for key in registry.keys("commands"):
            command: Command = registry.load("commands", key)(registry)
            command.configure(subparsers.add_parser(key.replace("_", "-"), help=command.help))
            commands[key.replace("_", "-")] = command
        args = parser.parse_args(argv)
        return commands[args.command].run(args)
    except AutomateError as error:
        sys.stderr.write(f"automate: {error}\n")
        return 1
