"""Try the hostile set, a process for each case: ``python -m tests.hostile [NAME …]``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hostile.cases import CASES
from hostile.trial import MOST_MEGABYTES, MOST_SECONDS, attempt, attempt_here

say = sys.stdout.write


def main() -> int:
    """Print a table, and return 1 where a promise is broken."""
    parser = argparse.ArgumentParser(prog="hostile", description="Rules and data that are made to break an engine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only the cases whose names contain one of these")
    parser.add_argument("--alone", choices=CASES, metavar="NAME", help="try this case in this process")
    given = parser.parse_args()
    if given.alone:
        say(json.dumps(attempt_here(given.alone)))
        return 0
    chosen = [name for name in CASES if not given.names or any(part in name for part in given.names)]
    width = max(map(len, chosen), default=0)
    broken, slowest = 0, 1.0
    say(f"{'case':{width}}  {'CPU s':>6}  {'MB':>5}  ends in\n")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, trial in zip(chosen, pool.map(attempt, chosen), strict=True):
            broken += not trial.is_good
            slowest = max(slowest, trial.slowness)
            end = trial.end if trial.is_good else f"BROKEN: {trial.end} {trial.problem}"
            say(f"{name:{width}}  {trial.seconds:6.3f}  {trial.megabytes:5.1f}  {end}\n")
            sys.stdout.flush()
    longer = f", with {slowest:.1f} times as much CPU on this slow machine" if slowest > 1 else ""
    say(f"{len(chosen)} cases, {broken} not within {MOST_SECONDS:.0f} s of CPU and {MOST_MEGABYTES} MB{longer}\n")
    return int(broken > 0 or not chosen)


if __name__ == "__main__":
    raise SystemExit(main())
