"""Who runs a subcommand, and how it shows them what it found."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime

__all__ = ["actor", "columns", "printable", "show_time"]


def actor(command: str) -> str:
    """Return who runs this process, for the audit log.

    Args:
        command: The command, which stands for a user that has no name.
    """
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container
        return f"{command}@{socket.gethostname()}"


def printable(text: str) -> str:
    """Leave out what would steer the terminal: events and errors quote whatever another side has sent.

    Args:
        text: The text.
    """
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def show_time(at: datetime | None) -> str:
    """Return a time for people.

    Args:
        at: The time, if there is one.
    """
    return "-" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def columns(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Collection[str] = ()) -> list[str]:
    """Return the lines of a table, its head first: cells stand under one another, and each keeps to its line.

    Args:
        head: The names of the columns.
        rows: A cell for each of them; what is empty is shown as it is.
        numbers: Which columns end, and do not begin, under one another.
    """
    lines = [[" ".join(printable(cell).split()) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    sides = [">" if name in numbers else "<" for name in head]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)).rstrip()
        for line in lines
    ]
