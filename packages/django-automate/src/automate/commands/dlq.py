"""``automate dlq``: look at dead letters, requeue or discard them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from automate_core.redaction import redact, redact_text

from automate.commands import ProjectCommand, add_common_options, print_json
from automate.commands.options import WHEN, count, moment
from automate.commands.people import actor, columns, printable, show_time

if TYPE_CHECKING:
    from automate_outbox.dead import DeadLetters
    from automate_outbox.models import OutboxJob

__all__ = ["DeadLettersCommand"]

_NOTHING_CHANGED = 2
_SHOWN = 100
"""Characters of an error that a list shows."""


class DeadLettersCommand(ProjectCommand):
    """List, show, requeue and discard dead letters."""

    help: ClassVar[str] = "look at the dead letters of the outbox, requeue or discard them"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the four actions and their options.

        Args:
            parser: The parser of this subcommand.
        """
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        listing = actions.add_parser("list", help="group dead letters by their error, or list them one by one")
        _add_filter(listing)
        listing.add_argument("--flat", action="store_true", help="one line for each dead letter, newest first")
        listing.add_argument("--limit", type=count, default=50, help="lines at the most; default: 50")
        show = actions.add_parser("show", help="show dead letters with payload and error, redacted")
        show.add_argument("ids", nargs="+", type=count, metavar="ID", help="these")
        add_common_options(show)
        for name, text in (
            ("requeue", "make dead letters due again, with all their attempts"),
            ("discard", "delete dead letters"),
        ):
            change = actions.add_parser(name, help=text)
            change.add_argument("ids", nargs="*", type=count, metavar="ID", help="these; or give a filter")
            _add_filter(change)
            change.add_argument("--all", action="store_true", help="every dead letter, where no filter is given")
            change.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, args: argparse.Namespace) -> int:
        """Do what was asked for.

        Args:
            args: The parsed arguments.

        Returns:
            0; 1 where an id is no dead letter; 2 where nothing was changed for want of a filter or of consent.
        """
        actions: dict[str, Callable[[argparse.Namespace], int]] = {
            "list": _list_flat if getattr(args, "flat", False) else _list_groups,
            "show": _show,
            "requeue": _change,
            "discard": _change,
        }
        return actions[args.action](args)


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", help="of this kind, for instance automate.run")
    parser.add_argument("--queue", help="of this queue")
    parser.add_argument("--tenant", help="of this tenant; '' for those of none")
    parser.add_argument("--fingerprint", help="with this fingerprint of their error")
    parser.add_argument("--error", metavar="TEXT", help="whose error contains this text, in any case")
    parser.add_argument("--since", type=moment, metavar="WHEN", help=f"that died since: {WHEN}")
    parser.add_argument("--until", type=moment, metavar="WHEN", help=f"that died before: {WHEN}")
    add_common_options(parser)


def _letters(args: argparse.Namespace) -> DeadLetters:
    from automate_outbox.dead import DeadLetters

    names = ("kind", "queue", "tenant", "fingerprint", "error", "since", "until")
    ids = tuple(getattr(args, "ids", ())) or None
    return DeadLetters(ids=ids, **{name: getattr(args, name) for name in names})


# -- looking ----------------------------------------------------------------------------------------------------------


def _list_groups(args: argparse.Namespace) -> int:
    from automate_outbox.dead import groups

    found = groups(_letters(args), args.limit, using=args.database)
    if args.json:
        print_json(redact([asdict(group) for group in found]))
        return 0
    if not found:
        _say("No dead letters.")
        return 0
    rows = [
        (
            f"{group.count:,}",
            group.kind,
            group.fingerprint or "-",
            show_time(group.first_seen),
            show_time(group.last_seen),
            f"#{group.sample_id}",
        )
        for group in found
    ]
    head, *lines = columns(("count", "kind", "fingerprint", "first", "last", "newest"), rows, numbers=("count",))
    _say(head)
    for line, group in zip(lines, found, strict=True):
        _say(f"{line}\n       {_line(group.sample_error)}")
    return 0


def _list_flat(args: argparse.Namespace) -> int:
    rows = _letters(args).rows(args.database).order_by("-completed_at", "-pk").defer("payload")[: args.limit]
    if args.json:
        print_json(redact([_summary(row) for row in rows]))
        return 0
    if not rows:
        _say("No dead letters.")
        return 0
    cells = [
        (f"#{row.pk}", row.kind, row.fingerprint or "-", show_time(row.completed_at), _line(row.last_error))
        for row in rows
    ]
    for line in columns(("id", "kind", "fingerprint", "died", "error"), cells):
        _say(line)
    return 0


def _show(args: argparse.Namespace) -> int:
    from automate_outbox.dead import DeadLetters

    rows = {row.pk: row for row in DeadLetters(ids=tuple(args.ids)).rows(args.database)}
    missing = [item_id for item_id in args.ids if item_id not in rows]
    details = redact([_details(rows[item_id]) for item_id in args.ids if item_id in rows])
    if args.json:
        print_json(details)
    else:
        for detail in details:
            _say(f"#{detail.pop('id')}")
            for name, value in detail.items():
                text = printable(value) if isinstance(value, str) else json.dumps(value, indent=2)
                shown = text.replace("\n", "\n  ")
                _say(f"  {name}: {shown}")
    return _tell_missing(missing)


def _summary(row: OutboxJob) -> dict[str, Any]:
    names = ("kind", "queue", "tenant", "fingerprint", "attempts", "max_attempts", "crashes")
    return {
        "id": row.pk,
        **{name: getattr(row, name) for name in names},
        "created_at": row.created_at.isoformat(),
        "died_at": row.completed_at.isoformat() if row.completed_at else None,
        "error": row.last_error,
    }


def _details(row: OutboxJob) -> dict[str, Any]:
    return {**_summary(row), "ordering_key": row.ordering_key, "payload": row.payload}


# -- changing ---------------------------------------------------------------------------------------------------------


def _change(args: argparse.Namespace) -> int:
    from automate_outbox.dead import discard, requeue

    letters = _letters(args)
    if letters.is_all and not args.all:
        sys.stderr.write(f"automate: which ones? Give ids or a filter, or --all: automate dlq {args.action} --help\n")
        return _NOTHING_CHANGED
    missing, matched = _missing(args.ids, args.database), letters.rows(args.database).count()
    report: dict[str, Any] = {"matched": matched, "requeued": 0, "left": 0, "discarded": 0}
    if matched and not args.yes and not _consent(args.action, matched):
        if args.json:
            print_json(report)
        return _NOTHING_CHANGED
    progress = _progress(args.action, matched)
    given: dict[str, Any] = {"actor": actor("automate dlq"), "using": args.database, "progress": progress}
    if args.action == "requeue":
        report.update(asdict(requeue(letters, **given)))
    else:
        report["discarded"] = discard(letters, **given)
    if args.json:
        print_json(report)
        return _tell_missing(missing)
    _say(f"{report['requeued']} requeued" if args.action == "requeue" else f"{report['discarded']} discarded")
    if report["left"]:
        _say(
            f"{report['left']} stay dead: what they would carry on is gone, went on without them, or has a concurrency "
            "key whose place is taken. Discard them, or requeue them later."
        )
    return _tell_missing(missing)


def _missing(ids: Collection[int], using: str) -> list[int]:
    """Return which ids are no dead letters, in the order in which they were given."""
    from automate_outbox.dead import DeadLetters

    found = set(DeadLetters(ids=tuple(ids)).rows(using).values_list("pk", flat=True)) if ids else set()
    return [item_id for item_id in ids if item_id not in found]


def _tell_missing(ids: Collection[int]) -> int:
    sys.stderr.writelines(f"automate: {item_id} is no dead letter\n" for item_id in ids)
    return 1 if ids else 0


def _consent(action: str, matched: int) -> bool:
    noun = "dead letter" if matched == 1 else "dead letters"
    if not sys.stdin.isatty():
        sys.stderr.write(f"automate: {matched} {noun} to {action}. Nothing was changed; --yes does it.\n")
        return False
    if input(f"{action.capitalize()} {matched} {noun}? [y/N] ").strip().lower() in ("y", "yes"):
        return True
    sys.stderr.write("automate: nothing was changed\n")
    return False


def _progress(action: str, matched: int) -> Callable[[int], None] | None:
    from automate_outbox.dead import BATCH

    if matched <= BATCH:
        return None

    def tell(seen: int) -> None:
        sys.stderr.write(f"{action}: {seen} of {matched}\n")

    return tell


# -- printing ---------------------------------------------------------------------------------------------------------


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _line(error: str) -> str:
    text = " ".join(printable(redact_text(error)).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
