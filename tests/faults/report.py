"""Writes the figures of the storms into the documentation: ``python -m faults.report <folder with the reports>``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from faults.figures import GOALS, missed

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "reliability.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
NAMES = {"postgres": "PostgreSQL", "sqlite": "SQLite", "mariadb": "MariaDB"}

INTRODUCTION = f"""# Reliability

What was measured when workers were killed, frozen and cut off from their database while they worked. A *storm* emits
events whose runs have one to three steps, strikes with a plan of faults that a seed makes, waits until every job is
done, and compares the history that database triggers wrote with what was emitted and with the effects that were had.

{BEGIN}
{END}

- *Lost* is an event, a run or an effect that should be there and is not. *Completed twice* is a job, run or execution
  that ended more than once, or changed after its end. A *stale write* is one by a worker whose lease had been taken
  away.
- *Shared effects* are written to the project's own database by an action with `transactional=True`. *External effects*
  are had elsewhere: a crash may repeat the one that was under way, never more, and every repetition carries the same
  idempotency key.
- An item that was in hand at three crashes is quarantined: FAILED, listed among the dead letters, and not lost.
- Leases of {{lease}} s and a reaper that looks every {{reaper}} s, so that a storm ends; recovery grows with both.
- A third of the kills hit the child alone, whose supervisor does not wait for the leases.
- *Recovery* is the time from the kill until somebody takes up an item that the dead worker held. It is promised where
  somebody is there to do it: a storm kills and freezes no worker while it is the last one that is alive and well, but
  waits until another one is. Kills during an outage of the server, and in the ten seconds before one, are not timed.

The figures come from `nox -s faults -- --full --write-docs`.
"""


def table(reports: dict[str, dict[str, Any]]) -> str:
    """Return the figures as a table, one column per database.

    Args:
        reports: By database.
    """
    columns = [name for name in NAMES if name in reports]
    rows = list(dict.fromkeys(key for name in columns for key in reports[name] if key != "full"))
    lines = [f"| | goal | {' | '.join(NAMES[name] for name in columns)} |", f"|---|---:|{'---:|' * len(columns)}"]
    for row in rows:
        values = [str(reports[name].get(row)) if row == "seed" else _text(row, reports[name]) for name in columns]
        goal = GOALS.get(row)
        lines.append(f"| {row} | {'' if goal is None else f'≤ {goal:g}'} | {' | '.join(values)} |")
    return "\n".join(lines)


def _text(row: str, figures: dict[str, Any]) -> str:
    value = figures.get(row)
    if value is None:
        return ""
    text = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
    return f"{text} (missed)" if row in missed(figures) else text


def write(folder: Path, page: Path = PAGE) -> None:
    """Write the page, or the figures in it.

    Args:
        folder: Where the reports are.
        page: The page.
    """
    from faults.site import LEASE, REAPER

    reports: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        for file in sorted(folder.glob(f"{name}*.json")):
            reports.setdefault(name, {}).update(json.loads(file.read_text()))
    text = page.read_text() if page.exists() else INTRODUCTION.format(lease=f"{LEASE:g}", reaper=f"{REAPER:g}")
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    page.write_text(f"{head}{BEGIN}\n{table(reports)}\n{END}{tail}")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
