"""Who runs a subcommand, and how it shows them what it found."""

from __future__ import annotations

import getpass
import socket
from datetime import UTC, datetime

__all__ = ["actor", "printable", "show_time"]


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
