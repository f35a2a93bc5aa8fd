"""``automate partition events``: keep events in a partition per month, or look how they are kept."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from automate.commands import ProjectCommand, add_common_options, print_json
from automate.commands.people import actor, columns

if TYPE_CHECKING:
    from automate.partitions import State

__all__ = ["PartitionCommand"]


class PartitionCommand(ProjectCommand):
    """Partition the table of events by month, on PostgreSQL, while emitters write to it."""

    help: ClassVar[str] = "keep events in a partition per month (PostgreSQL), so that old months are dropped whole"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options.

        Args:
            parser: The parser of this subcommand.
        """
        parser.add_argument("table", choices=("events",), help="what to partition")
        parser.add_argument("--check", action="store_true", help="look only; exit with 1 where something is wrong")
        add_common_options(parser)

    def handle(self, args: argparse.Namespace) -> int:
        """Convert, or look.

        Args:
            args: The parsed arguments.

        Returns:
            0; 1 with ``--check`` where something is wrong.

        Raises:
            ConfigurationError: If the events of this database cannot be partitioned.
        """
        from automate import partitions
        from automate.audit import record

        steps: list[str] = []

        def say(step: str) -> None:
            steps.append(step)
            if not args.json:
                sys.stdout.write(f"{step}\n")
                sys.stdout.flush()

        def note(action: str, **details: Any) -> None:
            who = actor("automate partition")
            record(action, "table:automate_event", actor=who, details={"database": args.database, **details})

        if not args.check:
            # What cannot be put on record is not begun; the end has no transaction that it could be undone with.
            partitions.convert(say, using=args.database, begin=lambda: note("events.partitioning"))
            if steps:
                note("events.partitioned", steps=steps)
        state = partitions.examine(using=args.database)
        if args.json:
            print_json({"steps": steps, **asdict(state)})
        else:
            sys.stdout.write(_describe(state))
        return 1 if args.check and state.problems else 0


def _describe(state: State) -> str:
    lines = [] if state.partitioned else ["the events are not partitioned"]
    if state.partitions:
        rows = [
            (
                part["name"],
                (part["from"] or "…")[:10],
                (part["to"] or "…")[:10],
                f"{part['rows']:,}",
                f"{part['bytes']:,}",
            )
            for part in state.partitions
        ]
        lines += columns(("partition", "from", "to", "rows", "bytes"), rows, numbers=("rows", "bytes"))
    lines += [f"problem: {problem}" for problem in state.problems]
    return "\n".join(lines) + "\n"
