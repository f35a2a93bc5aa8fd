"""The ``automate`` console command. Its subcommands are registered by plugins."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from automate_core.__about__ import __version__
from automate_core.errors import AutomateError, DuplicateKeyError
from automate_core.hookspecs import PROJECT_NAME

if TYPE_CHECKING:
    from automate_core.registry import Registry

__all__ = ["Command", "PluginsCommand", "main"]

_CLOSED = 141
"""What a shell makes of a program that SIGPIPE ended."""


class Command:
    """Base class of a subcommand.

    Args:
        registry: The registry it works with.
    """

    help: ClassVar[str] = ""
    """One line for the command's own ``--help``; ``automate --help`` shows the title of its spec."""

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
            0; 1 where two register one key, or with ``--strict`` where a plugin is incompatible or failed.
        """
        registered, problems = _registered(self.registry)  # a failing register hook changes the state of its plugin
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
        sys.stderr.writelines(f"automate: {problem}\n" for problem in problems)
        broken = [row for row in rows if row["state"] in ("incompatible", "failed")]
        return 1 if problems or (args.strict and broken) else 0


def _registered(registry: Registry) -> tuple[dict[str, list[str]], list[str]]:
    from automate_core.specs import KINDS

    found: dict[str, list[str]] = {}
    problems = []
    for kind in KINDS:
        try:
            specs = registry.specs(kind)
        except DuplicateKeyError as error:
            problems.append(error.message)
            continue
        for key, registered in sorted(specs.items()):
            found.setdefault(registered.distribution, []).append(f"{kind}.{key}")
    return found, problems


def _line(row: dict[str, Any]) -> str:
    head = f"{row['state']:<13}{row['name']:<14}{row['distribution']} {row['version']}"
    lines = [head, *([f"             {row['reason']}"] if row["reason"] else [])]
    if row["registers"]:
        lines.append(f"             registers {', '.join(row['registers'])}")
    return "\n".join(lines) + "\n"


class _Parser(argparse.ArgumentParser):
    """Says beside what is wrong with arguments where to read which there are, and so do its subparsers."""

    def error(self, message: str) -> NoReturn:
        super().error(f"{message}\n'{self.prog} --help' tells what there is.")


class _Versions(argparse.Action):
    """Prints what is installed. Plugins are not imported for it: that would take a second, and one may be broken."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        found = {point.dist.name: point.dist.version for point in entry_points(group=PROJECT_NAME) if point.dist}
        found.pop("automate-core", None)
        versions = [("automate-core", __version__), *sorted(found.items())]
        sys.stdout.writelines(f"{name} {version}\n" for name, version in versions)
        parser.exit()


def main(argv: Sequence[str] | None = None, *, registry: Registry | None = None, program: str = "automate") -> int:
    """Run the console command.

    Args:
        argv: The arguments without the program's name; None takes the process's.
        registry: Where the subcommands are registered; None takes that of the installed plugins.
        program: What it is called in help and errors.

    Returns:
        The exit status: 0, 1 on an error of Automate, 2 on wrong arguments, 141 where nobody reads the output.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = _Parser(prog=program, description="Event-driven workflow automation for Django.")
    parser.add_argument(
        "--version", action=_Versions, nargs=0, help="show the versions of the core and of what brings plugins"
    )
    if arguments[:1] == ["--version"]:
        parser.parse_args(arguments[:1])
    if registry is None:
        from automate_core.registry import registry as installed

        registry = installed
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    # Only the command that is asked for is imported: one that is broken leaves the others alone.
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    chosen: Command | None = None
    try:
        for key, title in _commands(registry).items():
            name = key.replace("_", "-")
            subparser = subparsers.add_parser(name, help=title.replace("%", "%%"))
            if name == wanted:
                chosen = registry.load("commands", key)(registry)
                subparser.description = chosen.help.replace("%", "%%")
                chosen.configure(subparser)
        args = parser.parse_args(arguments)
        if chosen is None:
            parser.print_help(sys.stderr)
            return 2
        status = chosen.run(args)
        sys.stdout.flush()
        return status
    except AutomateError as error:
        sys.stderr.write(f"automate: {error}\n")
        return 1
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        # The interpreter flushes what is left at its end, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED


def _commands(registry: Registry) -> dict[str, str]:
    specs = registry.specs("commands")
    return {
        key: specs[key].spec.title if key in specs else registry.load("commands", key).help
        for key in registry.keys("commands")
    }
