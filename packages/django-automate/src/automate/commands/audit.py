"""``automate audit``: read the audit log, export it, and find out whether it is what was written."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from automate_core.errors import AuditError

from automate.audit.chain import Anchor
from automate.commands import ProjectCommand, add_common_options, print_json
from automate.commands.options import WHEN, count, moment
from automate.commands.people import actor, columns, printable, show_time

if TYPE_CHECKING:
    from automate.audit.reading import Selection
    from automate.audit.verification import AuditReport

__all__ = ["AuditCommand"]

_SHOWN = 200
"""Characters of the details that a list shows: an entry may hold every setting."""
_TAIL_BYTES = 4 * 1024 * 1024
"""More than the longest line of an export."""


class AuditCommand(ProjectCommand):
    """List, export and verify the audit log."""

    help: ClassVar[str] = "read the audit log, export it, and find out whether it is what was written"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the actions and their options.

        Args:
            parser: The parser of this subcommand.
        """
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        listing = actions.add_parser("list", help="show entries, newest first; --json shows their details whole")
        _add_selection(listing)
        listing.add_argument("--actor", help="by this actor")
        listing.add_argument("--resource", help="about this resource; 'workflow:*' for all that begins so")
        listing.add_argument("--limit", type=count, default=50, help="entries at the most; default: 50")
        add_common_options(listing)
        _add_verify(actions.add_parser("verify", help="look for edits, deletions, insertions and a lost end"))
        export = actions.add_parser("export", help="write entries as lines of JSON, oldest first, redacted")
        _add_selection(export)
        export.add_argument("--after", type=int, default=0, metavar="POSITION", help="begin behind this position")
        export.add_argument("--output", metavar="FILE", help="the file, which must be new; default: standard output")
        export.add_argument("--resume", action="store_true", help="go on behind the last whole line of FILE")
        export.add_argument("--database", default="default", metavar="ALIAS", help="the database; default: default")
        head = actions.add_parser("head", help="print the head of the log, to be kept elsewhere")
        add_common_options(head)
        reseal = actions.add_parser("reseal", help="let a broken log go on, and put that on record; it mends nothing")
        reseal.add_argument("--reason", required=True, help="why it may go on")
        add_common_options(reseal)

    def handle(self, args: argparse.Namespace) -> int:
        """Do what was asked for.

        Args:
            args: The parsed arguments.

        Returns:
            0; 1 where the log is not what was written, or what is exported cannot all be read.
        """
        actions: dict[str, Callable[[argparse.Namespace], int]] = {
            "list": _list, "verify": _verify, "export": _export, "head": _head, "reseal": _reseal,
        }  # fmt: skip
        return actions[args.action](args)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", type=moment, metavar="WHEN", help=f"not before: {WHEN}")
    parser.add_argument("--until", type=moment, metavar="WHEN", help=f"before: {WHEN}")
    parser.add_argument("--tenant", help="of this tenant; '' for the installation's own")
    parser.add_argument("--action", dest="done", metavar="ACTION", help="this action; 'secret.*' for all that begin so")


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since-position", type=count, default=1, metavar="POSITION", help="begin here; what is before is believed"
    )
    parser.add_argument("--head", type=_anchor, metavar="TEXT", help="a head that 'automate audit head' printed before")
    add_common_options(parser)


def _anchor(text: str) -> Anchor:
    try:
        return Anchor.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _selection(args: argparse.Namespace) -> Selection:
    from automate.audit.reading import Selection

    return Selection(
        action=args.done,
        actor=getattr(args, "actor", None),
        resource=getattr(args, "resource", None),
        tenant=args.tenant,
        since=args.since,
        until=args.until,
    )


def _list(args: argparse.Namespace) -> int:
    from automate.audit.reading import as_json
    from automate.audit.stored import read_rows

    entries = [as_json(row) for row in read_rows(_selection(args).rows(args.database), args.limit)]
    if args.json:
        print_json(entries)
        return 0
    if not entries:
        sys.stdout.write("No entries.\n")
        return 0
    head = ("position", "at", "actor", "action", "resource", "tenant", "details")
    lines = columns(head, [_cells(entry) for entry in entries], numbers=("position",))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def _cells(entry: dict[str, Any]) -> list[str]:
    lost = entry.get("unreadable", [])
    at = entry["at"] if "created_at" in lost else show_time(datetime.fromisoformat(entry["at"]))
    details = json.dumps(entry["details"], ensure_ascii=False) if entry["details"] else ""
    shown = [details if len(details) <= _SHOWN else f"{details[: _SHOWN - 1]}…"] if details else []
    shown += [f"UNREADABLE: {', '.join(lost)}"] if lost else []
    names = ("actor", "action", "resource", "tenant")
    return [str(entry["position"]), str(at or "-"), *(str(entry[name] or "-") for name in names), "  ".join(shown)]


def _verify(args: argparse.Namespace) -> int:
    from automate.audit.verification import verify

    def tell(checked: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{checked} entries checked")
            sys.stderr.flush()

    report = verify(since=args.since_position, anchor=args.head, using=args.database, progress=tell)
    if args.json:
        print_json(report.as_dict())
    else:
        sys.stdout.write(_describe(report))
    return 0 if report.intact else 1


def _describe(report: AuditReport) -> str:
    lines = [f"problem: {finding.message} ({finding.kind})" for finding in report.findings]
    if report.count > len(report.findings):
        lines.append(f"problem: and {report.count - len(report.findings)} more")
    lines += [f"note: {notice}" for notice in report.notices]
    noun = "entry" if report.checked == 1 else "entries"
    verdict = "as written" if report.intact else "NOT as written"
    lines.append(f"{report.checked} {noun} checked: the audit log is {verdict}")
    if report.head:
        lines.append(f"head: {report.head}")
    return "\n".join(printable(line) for line in lines) + "\n"


def _export(args: argparse.Namespace) -> int:
    from automate.audit.reading import export

    if args.resume and not args.output:
        raise AuditError("--resume goes on in a file: name it with --output.")
    lost = 0
    with _opened(args.output, resume=args.resume) as (file, last):
        for entry in export(_selection(args), after=max(args.after, last), using=args.database):
            file.write(json.dumps(entry) + "\n")
            lost += "unreadable" in entry
    if lost:
        noun = "entry holds" if lost == 1 else "entries hold"
        sys.stderr.write(f"automate: {lost} {noun} what was never written: 'automate audit verify' says which.\n")
    return 1 if lost else 0


@contextmanager
def _opened(path: str | None, *, resume: bool) -> Iterator[tuple[TextIO, int]]:
    """Open where an export goes, and tell behind which position it begins."""
    if path is None:
        yield sys.stdout, 0
        return
    flags = os.O_RDWR | os.O_CREAT | (0 if resume else os.O_EXCL)
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise AuditError(f"{path} exists: name another file, or go on in it with --resume.") from None
    except OSError as error:
        raise AuditError(f"{path} cannot be written: {error.strerror}.") from error
    with open(descriptor, "r+b", closefd=True) as raw:
        last = _drop_torn_line(raw, path)
        with open(descriptor, "a", encoding="utf-8", closefd=False) as file:
            yield file, last


def _drop_torn_line(raw: Any, path: str) -> int:
    """Cut off a line that was not finished, and return the position of the last whole one; 0 where there is none."""
    size = raw.seek(0, os.SEEK_END)
    start = max(size - _TAIL_BYTES, 0)
    raw.seek(start)
    tail = raw.read()
    whole = tail[: tail.rfind(b"\n") + 1]
    if len(whole) < len(tail):
        raw.truncate(start + len(whole))
    raw.seek(0, os.SEEK_END)
    if not whole:
        return 0
    try:
        return int(json.loads(whole.splitlines()[-1])["position"])
    except (ValueError, KeyError, TypeError):
        raise AuditError(f"{path} is no export of the audit log: its last line has no position.") from None


def _head(args: argparse.Namespace) -> int:
    from automate.audit.stored import read_head
    from automate.models import AuditHead

    row = read_head(args.database) or AuditHead()
    anchor = Anchor(row.position, row.mac)
    if args.json:
        print_json({"position": row.position, "mac": row.mac, "key_id": row.key_id, "head": str(anchor)})
    else:
        sys.stdout.write(f"{anchor}\n")
    return 0


def _reseal(args: argparse.Namespace) -> int:
    from automate.audit.appending import reseal

    entry = reseal(actor=actor("automate audit"), reason=args.reason, using=args.database)
    if args.json:
        print_json({"position": entry.position})
    else:
        sys.stdout.write(
            f"The audit log goes on at {entry.position}. What is wrong before it stays so, and 'automate audit verify' "
            f"goes on saying so; --since-position {entry.position} checks what comes from here on.\n"
        )
    return 0
