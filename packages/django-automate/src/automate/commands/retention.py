"""``automate retention``: prune history by hand, or see what would go."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any, ClassVar

from automate.commands import ProjectCommand, add_common_options, print_json
from automate.commands.people import actor, columns

__all__ = ["RetentionCommand"]


class RetentionCommand(ProjectCommand):
    """Prune what the settings of ``RETENTION`` make due."""

    help: ClassVar[str] = (
        "delete history that is older than the settings of RETENTION allow; workers do so by themselves"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options.

        Args:
            parser: The parser of this subcommand.
        """
        parser.add_argument("--dry-run", action="store_true", help="count what would go, delete nothing")
        parser.add_argument(
            "--budget", type=_seconds, default=math.inf, metavar="SECONDS", help="end after so long; default: no limit"
        )
        add_common_options(parser)

    def handle(self, args: argparse.Namespace) -> int:
        """Prune or count.

        Args:
            args: The parsed arguments.

        Returns:
            0; 1 where somebody else prunes at the moment.
        """
        from automate_core import settings

        from automate import retention
        from automate.audit import record

        if args.dry_run:
            counts = retention.preview(using=args.database)
            if args.json:
                print_json({"dry_run": True, "would_prune": counts})
            else:
                sys.stdout.write(_table(counts, "would go"))
            return 0
        policy = settings.current().retention.model_dump(mode="json")
        record("retention.forced", f"database:{args.database}", actor=actor("automate retention"), details=policy)
        report = retention.sweep(args.budget, using=args.database, force=True)
        if args.json:
            print_json({"dry_run": False, **report.as_dict()})
        else:
            sys.stdout.write(_table(report.pruned, "pruned") + _summary(report))
        return 1 if report.busy else 0


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return seconds


_seconds.__name__ = "number of seconds"  # what argparse calls it in its error


def _table(counts: dict[str, int], title: str) -> str:
    rows = [(kind.replace("_", " "), f"{count:,}") for kind, count in counts.items()]
    return "\n".join([*columns(("history", title), rows, numbers=(title,)), ""])


def _summary(report: Any) -> str:
    lines = []
    for done, names in (("made", report.partitions_created), ("dropped", report.partitions_dropped)):
        lines += [f"{done} partition {name}" for name in names]
    lines += [f"note: {notice}" for notice in report.notices]
    if report.busy:
        lines.append("somebody else prunes this database at the moment: try again later")
    elif not report.complete:
        lines.append("the time was up before everything was looked at: run this again")
    else:
        lines.append(
            f"{report.transactions} transactions in {report.seconds:.1f} s, the longest took "
            f"{report.longest_seconds * 1000:.0f} ms"
        )
    return "\n".join([*lines, ""])
