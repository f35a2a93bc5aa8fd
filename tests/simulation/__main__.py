"""Run simulations: ``python -m tests.simulation SEED`` plays one again, ``--seeds 10000`` looks for new ones."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "simulation.settings"

if TYPE_CHECKING:
    from simulation.world import Outcome

say = sys.stdout.write


def main() -> int:
    """Run what the command line asks for, and return 1 where something was found."""
    import django

    django.setup()
    from simulation.plants import PLANTS, planted
    from simulation.world import simulate

    parser = argparse.ArgumentParser(prog="simulation", description="Faults under a virtual clock, replayable by seed.")
    parser.add_argument("seed", nargs="?", type=int, help="run this seed, and print its trace")
    parser.add_argument("--seed", dest="named", type=int, help="the same")
    parser.add_argument("--seeds", type=int, default=100, help="run so many seeds (default: 100)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: 0)")
    parser.add_argument("--plant", choices=PLANTS, help="plant a bug")
    given = parser.parse_args()
    alone = given.seed if given.named is None else given.named
    with planted(given.plant):
        if alone is None:
            return look(simulate, range(given.first, given.first + given.seeds))
        outcome = simulate(alone)
    lines = [*outcome.trace, *(f"seed {alone}: {text}" for text in outcome.violations)]
    say("\n".join([*lines, f"{outcome.statements} statements", f"trace {outcome.digest}", ""]))
    return bool(outcome.violations)


def look(simulate: Callable[[int], Outcome], seeds: Sequence[int]) -> int:
    """Run many seeds, and say which of them break a promise."""
    began, used = time.perf_counter(), time.process_time()
    statements = failed = 0
    for seed in seeds:
        outcome = simulate(seed)
        statements += outcome.statements
        if outcome.violations:
            failed += 1
            say(f"seed {seed}: {outcome.violations[0]}\n")
    count = len(seeds)
    rate = count / (time.perf_counter() - began), count / (time.process_time() - used)
    say(f"{count} seeds, {failed} failed, {statements} statements, ")
    say(f"{rate[0]:.1f} seeds/s, {rate[1]:.1f} per second of CPU\n")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
