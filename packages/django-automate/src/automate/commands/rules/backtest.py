"""``automate rules backtest``: what a rule would have made of the events that are recorded."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from automate_core.errors import ConfigurationError, WorkflowNotFound
from automate_core.rules import format_explanation

from automate.commands import add_common_options, print_json
from automate.commands.json_input import read_argument
from automate.commands.options import WHEN, count, moment
from automate.commands.people import columns, printable, show_time

if TYPE_CHECKING:
    from automate.backtest import BacktestReport, Change
    from automate.backtest.report import Reason, Tally

__all__ = ["Backtest"]

_SHOWN = 200
"""Characters of a reason that are shown."""

_CONDITIONS = 10
"""Parts of a rule whose reasons are shown."""


class Backtest:
    """Replay recorded events against a rule, and compare it with what is live. Nothing is written."""

    name: ClassVar[str] = "backtest"
    help: ClassVar[str] = "ask a rule about recorded events, and compare it with what is live; nothing is written"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options.

        Args:
            parser: The parser of this subcommand.
        """
        parser.add_argument("slug", nargs="?", help="a workflow: its shadow, or its live version where it has none")
        parser.add_argument("--version", type=count, metavar="N", help="this version of the workflow")
        parser.add_argument(
            "--definition", metavar="JSON", help="a workflow definition in place of a slug: JSON, a file of it, or -"
        )
        parser.add_argument(
            "--rule", metavar="JSON", help="a rule in place of a slug, given in the same way; with --event"
        )
        parser.add_argument("--event", metavar="TYPE", help="the event type or pattern that the rule is asked about")
        parser.add_argument(
            "--recorded", action="store_true", help="ask nobody: compare what shadow and live version decided"
        )
        parser.add_argument("--since", type=moment, metavar="WHEN", help=f"events since: {WHEN}")
        parser.add_argument("--until", type=moment, metavar="WHEN", help=f"events before: {WHEN}")
        parser.add_argument("--tenant", help="events of this tenant; '' for those of none")
        parser.add_argument("--limit", type=count, default=10_000, help="events at the most; default: 10000")
        parser.add_argument("--examples", type=int, default=5, metavar="N", help="events shown of each difference")
        parser.add_argument("--fail-on-change", action="store_true", help="exit with 1 where anything would change")
        add_common_options(parser)

    def handle(self, args: argparse.Namespace) -> int:
        """Ask, and print what was found.

        Args:
            args: The parsed arguments.

        Returns:
            0; with ``--fail-on-change`` 1 where candidate and live version differ about an event.

        Raises:
            ConfigurationError: If it is not clear what is to be asked, or a file cannot be read.
        """
        from automate.backtest import backtest, shadow_report

        given = {name: getattr(args, name) for name in ("since", "until", "limit", "tenant", "examples")}
        _ensure_clear(args)
        with _progress(args.limit) as progress:
            given |= {"using": args.database, "progress": progress}
            if args.recorded:
                report = shadow_report(args.slug, **given)
            else:
                report = backtest(_candidate(args), event=args.event, **given)
        if args.json:
            print_json(report.as_dict())
        else:
            sys.stdout.write(_printed(report))
        return 1 if args.fail_on_change and report.changed else 0


def _ensure_clear(args: argparse.Namespace) -> None:
    if sum(source is not None for source in (args.slug, args.definition, args.rule)) != 1:
        raise ConfigurationError("What is to be asked? Give the slug of a workflow, or --definition, or --rule.")
    if (args.rule is None) != (args.event is None):
        raise ConfigurationError("--rule and --event belong together: a rule is asked about one type of events.")
    if args.slug is None and (args.version is not None or args.recorded):
        raise ConfigurationError("--version and --recorded belong to the slug of a workflow.")
    if args.recorded and args.version is not None:
        raise ConfigurationError("--recorded compares the shadow of a workflow: leave --version out.")


def _candidate(args: argparse.Namespace) -> Any:
    if args.rule is not None:
        return read_argument("--rule", args.rule)
    if args.definition is not None:
        definition = read_argument("--definition", args.definition)
        if not isinstance(definition, dict):
            raise ConfigurationError(
                "--definition is no JSON object: a definition has 'slug', 'trigger' and 'steps'. The slug of a "
                "workflow is given without --definition."
            )
        return definition
    if args.version is None:
        return args.slug
    from automate.models import WorkflowVersion

    versions = WorkflowVersion.objects.using(args.database).select_related("workflow")
    version = versions.filter(workflow__slug=args.slug, version_num=args.version).first()
    if version is None:
        newest = versions.filter(workflow__slug=args.slug).order_by("-version_num").first()
        hint = "'automate workflows list' shows which there are." if newest is None else f"The newest is {newest}."
        raise WorkflowNotFound(f"There is no version {args.version} of a workflow {args.slug!r}. {hint}")
    return version


@contextmanager
def _progress(limit: int) -> Iterator[Callable[[int], None] | None]:
    """Show on a terminal how far it is, on one line."""
    if not sys.stderr.isatty():
        yield None
        return

    def tell(seen: int) -> None:
        sys.stderr.write(f"\rbacktest: {seen:,} of at most {limit:,} events")
        sys.stderr.flush()

    try:
        yield tell
    finally:
        sys.stderr.write("\n")


# -- printing ---------------------------------------------------------------------------------------------------------


def _printed(report: BacktestReport) -> str:
    period = f", from {show_time(report.oldest)} to {show_time(report.newest)}" if report.events else ""
    sides = [side for side in (report.now, report.live, report.then) if side is not None]
    head = ("", "matched", "did not", "errors", "not stored", "")
    lines = [
        f"{_events(report.events)}{period}",
        "",
        *columns(head, map(_cells, sides), numbers=head[1:-1]),
        "",
        *_changes("would newly match", report.newly_matched),
        *_changes("would no longer match", report.no_longer_matched),
        *_notes(report),
        f"{_events(report.events)} in {report.seconds:.2f} s: {report.events_per_second:,.0f} a second",
    ]
    return "\n".join([*lines, ""])


def _events(number: int) -> str:
    return "1 event" if number == 1 else f"{number:,} events"


def _cells(side: Tally) -> list[str]:
    counts = (side.matched, side.unmatched, sum(side.errors.values()), side.unrecorded)
    kinds = ", ".join(f"{kind} {times:,}" for kind, times in side.errors.items())
    return [side.name, *(f"{count:,}" for count in counts), f"({kinds})" if kinds else ""]


def _changes(what: str, change: Change) -> list[str]:
    lines = [f"{_events(change.count)} {what}"]
    for example in change.examples:
        lines.append(f"  {example.event_id}  {printable(example.type)}  {show_time(example.created_at)}")
        lines += [f"    {line}" for line in _reasons("now:  ", example.now)]
        lines += [f"    {line}" for line in _reasons("live: ", example.live)]
    return lines


def _reasons(side: str, reason: Reason) -> list[str]:
    """Return a sentence, and the conditions that it is made of where there are several."""
    if isinstance(reason, str):
        return [side + _cut(reason)]
    _, *parts = format_explanation(reason).splitlines()
    indent = " " * len(side)
    shown = [indent + _cut(part, keep=len(part) - len(part.lstrip())) for part in parts[:_CONDITIONS]]
    return [side + _cut(reason["reason"]), *shown, *([f"{indent}  …"] if len(parts) > _CONDITIONS else [])]


def _cut(text: str, keep: int = 0) -> str:
    """Return a text on one line, indented as it was."""
    line = " " * keep + " ".join(printable(text).split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def _notes(report: BacktestReport) -> list[str]:
    notes = []
    if report.live is None:
        notes.append("nothing is live to compare with")
    if report.unrecorded_share:
        notes.append(f"no decision is stored about {report.unrecorded_share:.1%} of the events")
    if report.unreadable:
        notes.append(f"{_events(report.unreadable)} left out: the payload is a file that cannot be read")
    if not report.complete:
        notes.append("--limit left older events out")
    return [f"note: {note}" for note in notes]
