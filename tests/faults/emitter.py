"""Emits numbered events and notes outside of the database which of them were committed.

    python -m faults.emitter '{"count": 100, "batch": 10, "types": ["faults.one"], "payload": {}}'

It outlives outages, and killed and started again it goes on where it was: each event has a dedupe key, so that one
whose commit was answered by nobody is not emitted twice.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any


class Undone(Exception):
    """Raised to roll a batch back."""


class Emitter:
    """Emits one plan.

    Args:
        ledger: The file for what was committed.
        plan: ``count``, ``first``, ``batch``, ``types``, ``payload``, ``rollback_every`` (batches),
            ``rate`` (per second).
    """

    def __init__(self, ledger: Path, plan: dict[str, Any]) -> None:
        self._ledger, self._plan = ledger, plan
        self._first, self._count = plan.get("first", 0), plan["count"]

    def run(self) -> None:
        """Emit what was not emitted yet."""
        noted = (
            {int(line.split()[1]) for line in self._ledger.read_text().splitlines()} if self._ledger.exists() else ()
        )
        left = [number for number in range(self._first, self._first + self._count) if number not in noted]
        size = self._plan.get("batch", 10)
        every = self._plan.get("rollback_every", 0)
        for index, start in enumerate(range(0, len(left), size), 1):
            if every and index % every == 0:
                self._emit([-1 - left[start]], word="rolled")
            self._emit(left[start : start + size], word="ok")
            if rate := self._plan.get("rate"):
                time.sleep(size / rate)

    def _emit(self, numbers: list[int], word: str) -> None:
        """Emit a batch in one transaction; try again for as long as the database is away."""
        from django.db import InterfaceError, OperationalError, connection, transaction

        while True:
            ids: list[str] = []
            try:
                with transaction.atomic():
                    ids = [self._one(number) for number in numbers]
                    if word == "rolled":
                        raise Undone
            except Undone:
                pass
            except (OperationalError, InterfaceError):
                connection.close()
                time.sleep(random.uniform(0.1, 0.3))
                continue
            self._note(word, numbers, ids)
            return

    def _one(self, number: int) -> str:
        from automate.events import emit_event

        types = self._plan["types"]
        return emit_event(
            types[abs(number) % len(types)], {**self._plan.get("payload", {}), "n": number}, dedupe_key=f"n{number}"
        )

    def _note(self, word: str, numbers: list[int], ids: list[str]) -> None:
        lines = "".join(f"{word} {number} {id_}\n" for number, id_ in zip(numbers, ids, strict=True))
        file = os.open(self._ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, lines.encode())
        finally:
            os.close(file)


if __name__ == "__main__":
    import django

    django.setup()
    Emitter(Path(os.environ["FAULTS_EMITTED"]), json.loads(sys.argv[1])).run()
