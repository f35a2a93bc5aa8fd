"""``automate size``: how large the tables are, how they grow, and what retention makes of it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, ClassVar

from automate.commands import ProjectCommand, add_common_options, print_json
from automate.commands.people import columns

if TYPE_CHECKING:
    from automate.size import Size

__all__ = ["SizeCommand"]


class SizeCommand(ProjectCommand):
    """Show the size of every table, its growth and a forecast."""

    help: ClassVar[str] = "estimate the size and the growth of Automate's tables, with retention and without"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options.

        Args:
            parser: The parser of this subcommand.
        """
        add_common_options(parser)

    def handle(self, args: argparse.Namespace) -> int:
        """Measure and print.

        Args:
            args: The parsed arguments.

        Returns:
            0.
        """
        from automate.size import measure

        size = measure(using=args.database)
        if args.json:
            print_json(size.as_dict())
        else:
            sys.stdout.write(_describe(size))
        return 0


def _describe(size: Size) -> str:
    from automate.size import FORECAST_DAYS

    shown = [table for table in size.tables if table.rows or table.rows_per_day]
    head = ["table", "rows", "size", "rows/day", *(f"in {days} d" for days in FORECAST_DAYS), "unpruned"]
    lines = []
    for table in shown:
        ahead = [_amount(growth.bytes, growth.rows) for growth in table.forecast] or ["" for _ in FORECAST_DAYS]
        without = _amount(table.forecast[-1].bytes_kept, table.forecast[-1].rows_kept) if table.forecast else ""
        rate = "" if table.rows_per_day is None else f"{table.rows_per_day:,.0f}"
        lines.append([table.table, f"{table.rows:,}", _bytes(table.bytes), rate, *ahead, without])
    text = (
        "\n".join(columns(head, lines, numbers=head[1:]))
        + f"\n\ntotal {_bytes(size.total_bytes)}; rows are estimates, 'unpruned' is the last day.\n"
    )
    due = [f"{_at_least(rows, size)} {kind.replace('_', ' ')}" for kind, rows in size.prunable.items() if rows]
    return text + (
        f"Retention would delete now: {', '.join(due)}.\n" if due else "Retention would delete nothing now.\n"
    )


def _amount(size: int | None, rows: int) -> str:
    return f"{rows:,} rows" if size is None else _bytes(size)


def _at_least(rows: int, size: Size) -> str:
    return f"{rows:,}+" if rows >= size.prunable_limit else f"{rows:,}"


def _bytes(count: int | None) -> str:
    if count is None:
        return "-"
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:,.0f} {unit}" if unit == "B" or size >= 100 else f"{size:,.1f} {unit}"
