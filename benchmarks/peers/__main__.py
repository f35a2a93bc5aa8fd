"""``python -m peers NAME prepare COUNT | work INDEX | feed | work-and-feed``: one system, in a process of its own."""

from __future__ import annotations

import sys
import threading
import time
from importlib import import_module
from typing import Any


def feed(peer: Any) -> None:
    """Put in the job whose number stands on each line of the input, and answer when it was durable.

    Args:
        peer: The module of the system.
    """
    for line in sys.stdin:
        peer.put(int(line))
        sys.stdout.write(f"{time.perf_counter()!r}\n")
        sys.stdout.flush()


def main(name: str, command: str, *arguments: str) -> None:
    """Run a command.

    Args:
        name: The module of the system.
        command: What to do.
        *arguments: Its arguments.
    """
    peer = import_module(f"peers.{name}")
    if command == "prepare":
        peer.setup()
        peer.fill(int(arguments[0]))
    elif command == "work":
        peer.work(arguments[0])
    elif command == "feed":
        feed(peer)
    elif command == "work-and-feed":
        threading.Thread(target=feed, args=[peer], daemon=True).start()
        peer.work("0")
    else:
        sys.exit(f"unknown command {command!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
