"""``automate secrets``: the secrets that are kept in the database, and the keys that encrypt them."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from automate_core.errors import ConfigurationError, SecretError
from automate_core.redaction import MIN_LENGTH, remember

from automate.commands import ProjectCommand, print_json
from automate.commands.options import count
from automate.commands.people import actor, columns, printable

if TYPE_CHECKING:
    from automate_secrets.inventory import StoredVersion

__all__ = ["SecretsCommand"]

_NEVER = (
    "automate: the value is never an argument: the shell's history and the list of processes show it. Run 'automate "
    "secrets {action} NAME' and enter it when asked, or give it on standard input. Use another value than the one that "
    "you typed just now.\n"
)
_OF_WHOM = "whose secret; default: the installation's own"


class _Parser(argparse.ArgumentParser):
    """Repeats nothing of what it does not understand: it may be the value of a secret."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and "value" not in found:
            self.error(f"{len(unknown)} of the arguments cannot be understood")
        if unknown:
            found.value = [*found.value, *unknown]  # refused with what it looks like
        return found, []

    def error(self, message: str) -> NoReturn:
        about, colon, _ = message.partition(": ")
        if colon and about.startswith("argument "):  # behind the colon is what was given
            message = f"{about} cannot be as it is given"
        super().error(message)


class SecretsCommand(ProjectCommand):
    """Store, list, rotate and delete secrets; look after the keys that encrypt them."""

    help: ClassVar[str] = "store secrets in the database, encrypted; rotate them and the keys that encrypt them"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the actions and their options.

        Args:
            parser: The parser of this subcommand.
        """
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
        for name, text in (
            ("set", "store a value, which is asked for or read from standard input, as the newest version"),
            ("rotate", "store a new value of a secret that exists; older versions stay readable by @version"),
        ):
            storing = actions.add_parser(name, help=text, allow_abbrev=False)
            storing.add_argument("name", metavar="NAME", help="its name")
            storing.add_argument(
                "value",
                nargs="*",
                metavar="(value)",
                help="refused: what is in the command line is in the shell's history and the list of processes",
            )
            storing.add_argument("--tenant", default="", help=_OF_WHOM)
            if name == "rotate":
                storing.add_argument(
                    "--keep", type=count, metavar="N", help="delete all but the N newest versions, the new one included"
                )
        listing = actions.add_parser("list", help="list names, versions, keys and ages; never values")
        listing.add_argument("--tenant", default="", help="whose secrets; default: the installation's own")
        listing.add_argument("--all-tenants", action="store_true", help="everybody's")
        deleting = actions.add_parser("delete", help="delete every version of a secret")
        deleting.add_argument("name", metavar="NAME", help="its name")
        deleting.add_argument("--tenant", default="", help=_OF_WHOM)
        rewrapping = actions.add_parser("rewrap", help="give the secrets that are on old keys to the active key")
        rewrapping.add_argument("--dry-run", action="store_true", help="count them, change nothing")
        actions.add_parser("check", help="decrypt every secret; exit with 1 where that fails or one is on an old key")
        for action in actions.choices.values():
            action.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, args: argparse.Namespace) -> int:
        """Do what was asked for.

        Args:
            args: The parsed arguments.

        Returns:
            0; 1 where something is wrong; 2 where a value was given as an argument.
        """
        actions: dict[str, Callable[[argparse.Namespace], int]] = {
            "set": _store,
            "rotate": _store,
            "list": _list,
            "delete": _delete,
            "rewrap": _rewrap,
            "check": _check,
        }
        return actions[args.action](args)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# -- values -----------------------------------------------------------------------------------------------------------


def _store(args: argparse.Namespace) -> int:
    from automate_secrets.db import DbBackend

    if args.value:
        sys.stderr.write(_NEVER.format(action=args.action))
        return 2
    backend = DbBackend()
    if "=" in args.name and args.name not in backend.names(tenant=args.tenant):
        sys.stderr.write(_NEVER.format(action=args.action))  # NAME=value; names with '=' are for those that have them
        return 2
    key_id = backend.ring.active  # whoever lacks a key is told before they enter the value
    given: dict[str, Any] = {"tenant": args.tenant, "actor": actor("automate secrets")}
    value = _read_value(args.name)
    if args.action == "rotate":
        version = backend.rotate(args.name, value, keep=args.keep, **given)
    else:
        version = backend.set(args.name, value, **given)
    if args.json:
        print_json({"name": args.name, "tenant": args.tenant, "version": version, "key_id": key_id})
    else:
        _say(f"Stored {args.name}, version {version}, encrypted with the key {key_id}.")
    if backend.config.backend != "db":
        sys.stderr.write(
            f"automate: SECRETS.backend is {backend.config.backend!r}, so $secret:{args.name} does not read this. Set "
            "it to 'db'.\n"
        )
    return 0


def _read_value(name: str) -> str:
    """Read a value where neither the list of processes nor the shell's history shows it."""
    if sys.stdin.isatty():
        value = getpass.getpass(f"Value of {name}: ")
    else:
        try:
            value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:  # its message would show a part of the value
            raise SecretError("Standard input is no text in UTF-8.") from None
    if value and not remember(value):
        sys.stderr.write(
            f"automate: a value of fewer than {MIN_LENGTH} characters is hidden by the names of its keys alone, not "
            "wherever it appears: it would be found in ordinary words.\n"
        )
    return value


def _delete(args: argparse.Namespace) -> int:
    from automate_secrets.db import DbBackend

    deleted = DbBackend().delete(args.name, tenant=args.tenant, actor=actor("automate secrets"))
    if args.json:
        print_json({"name": args.name, "tenant": args.tenant, "deleted": deleted})
    else:
        _say(f"Deleted {args.name}, {_many(deleted, 'version')}.")
    return 0


def _list(args: argparse.Namespace) -> int:
    from automate_secrets.inventory import stored

    if args.tenant and args.all_tenants:
        raise ConfigurationError("Give --tenant or --all-tenants, not both.")
    found = stored(None if args.all_tenants else args.tenant)
    if args.json:
        print_json([asdict(version) for version in found])
        return 0
    if not found:
        _say("No secrets.")
        return 0
    now = datetime.now(UTC)
    head = [*(["tenant"] if args.all_tenants else []), "name", "version", "key", "age"]
    for line in columns(head, [_cells(version, now, args.all_tenants) for version in found], numbers=("age",)):
        _say(line)
    return 0


def _cells(version: StoredVersion, now: datetime, with_tenant: bool) -> list[str]:
    whose = [version.tenant or "-"] if with_tenant else []
    age = _age((now - version.created_at).total_seconds())
    return [*whose, version.name, f"@{version.version}", version.key_id, age]


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


# -- keys -------------------------------------------------------------------------------------------------------------


def _rewrap(args: argparse.Namespace) -> int:
    from automate_secrets.db import DbBackend
    from automate_secrets.inventory import use_of_keys
    from automate_secrets.rewrap import Rewrapped, rewrap_rows

    ring, done = DbBackend().ring, Rewrapped()
    if not args.dry_run:
        done = rewrap_rows(ring, actor=actor("automate secrets"), progress=_progress())
    left = {use.key_id: use.rows for use in use_of_keys(ring) if use.rows and use.state != "active"}
    failed = bool(done.refused) or (bool(left) and not args.dry_run)
    if args.json:
        print_json({"dry_run": args.dry_run, "active_key": ring.active, **asdict(done), "left": left})
        return 1 if failed else 0
    if not args.dry_run:
        others = f" {_many(done.overtaken, 'row')} changed meanwhile." if done.overtaken else ""
        _say(f"{_many(done.rewrapped, 'row')} given to the key {ring.active}.{others}")
    for row in done.refused:
        _say(f"refused: {row.why}")
    for key_id, rows in left.items():
        _say(f"{_many(rows, 'row')} on the key {key_id}{' to rewrap' if args.dry_run else ' left'}")
    if not left and args.dry_run:
        _say(f"Every row is on the key {ring.active}.")
    return 1 if failed else 0


def _progress() -> Callable[[int, int], None] | None:
    """Return what shows progress, where somebody looks."""
    if not sys.stderr.isatty():
        return None

    def show(seen: int, total: int) -> None:
        sys.stderr.write(f"\rrewrap: {seen:,} of {total:,}{'' if seen < total else chr(10)}")
        sys.stderr.flush()

    return show


def _check(args: argparse.Namespace) -> int:
    from automate_secrets.db import DbBackend
    from automate_secrets.inventory import examine

    ring = DbBackend().ring
    found = examine(ring)
    if args.json:
        print_json({"active_key": ring.active, **asdict(found), "problems": found.problems})
        return 1 if found.problems else 0
    uses = [(use.key_id, use.state, f"{use.rows:,}") for use in found.keys]
    for line in columns(("key", "state", "rows"), uses, numbers=("rows",)):
        _say(line)
    for problem in found.problems:
        _say(f"problem: {printable(problem)}")
    return 1 if found.problems else 0
