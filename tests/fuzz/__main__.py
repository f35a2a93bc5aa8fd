"""Fuzz the rules: ``python -m tests.fuzz --runs 1000000``, ``--seed 7 --run 1234`` plays one run again."""

from __future__ import annotations

import argparse
import os
import random
import reprlib
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fuzz.runs import draw_run, limit, play, run_many

EVERY = 5.0
"""Seconds between two lines of progress."""


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run what the command line asks for, and return 1 where anything but a rule error came of it."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Any rule and any data, replayable by seed.")
    parser.add_argument("--runs", type=int, default=1_000_000, help="how many runs (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="the seed (default: a new one)")
    parser.add_argument("--run", type=int, help="play this run of the seed alone, with its traceback")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one for each core")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if given.seed is None else given.seed
    if given.run is not None:
        return alone(seed, given.run)
    say(f"seed {seed}: nox -s fuzz -- --seed {seed} --runs {given.runs}")
    return many(seed, given.runs, given.processes)


def alone(seed: int, number: int) -> int:
    """Play one run, and let what it raises through."""
    limit()
    rule, data = draw_run(seed, number)
    shorten = reprlib.Repr()
    shorten.maxlevel, shorten.maxdict, shorten.maxlist, shorten.maxstring, shorten.maxother = 9, 20, 20, 60, 60
    say(f"rule {shorten.repr(rule)}\ndata {shorten.repr(data)}")
    outcome = play(rule, data)
    say(str(outcome))
    return int(bool(outcome.failure))


def many(seed: int, count: int, processes: int) -> int:
    """Play many runs, and say how far they are."""
    began = told = time.monotonic()
    done, failed = 0, 0
    outcomes: Counter[str] = Counter()
    for report in run_many(seed, count, processes):
        done += report.runs
        outcomes += report.outcomes
        failed += len(report.failures)
        for number, failure in report.failures:
            say(f"run {number}: {failure}: nox -s fuzz -- --seed {seed} --run {number}")
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            say(f"{done:,} of {count:,} runs, {done / (told - began):,.0f} a second")
    for name, times in outcomes.most_common():
        say(f"{times:9,}  {name or 'a value'}")
    say(f"{done:,} runs in {time.monotonic() - began:.0f} s, {failed} with anything but a value or a rule error")
    return int(failed > 0 or done < count)


if __name__ == "__main__":
    raise SystemExit(main())
