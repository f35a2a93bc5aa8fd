"""Nothing is lost, doubled or overtaken, whatever a seed draws; and the simulation finds the bugs that are planted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.plants import PLANTS, RARE, planted
from simulation.world import Outcome, simulate

ROOT = Path(__file__).resolve().parents[2]
SEEDS, PER_TEST = 60, 10
MOST_SEEDS = 150
"""So many seeds find each planted bug; most take one or two."""


def told(outcome: Outcome) -> str:
    """Return what went wrong, how it came to it, and how to see it again."""
    lines = [*outcome.trace[-60:], *outcome.violations]
    return "\n".join([f"seed {outcome.seed}: nox -s simulation -- --seed {outcome.seed}", *lines])


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_every_promise_is_kept(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        outcome = simulate(seed)
        assert not outcome.violations, told(outcome)
        assert len(outcome.trace) > 10


def test_the_faults_are_as_many_as_they_should_be() -> None:
    text = "\n".join(line for seed in range(100) for line in simulate(seed).trace)
    happened = ("dies", "cuts the connection before a commit", "loses the answer", "refuses", "is away", "freezes")
    meant = ("twin", "told to stop", "jumps", "reaps between", "turns between", "renews between", "-> FAILED 3/3")
    assert [what for what in (*happened, *meant) if what not in text] == []


def test_a_seed_is_one_course_of_events() -> None:
    outcome = simulate(7)
    assert simulate(7).trace == outcome.trace
    assert simulate(8).digest != outcome.digest
    env = {**os.environ, "PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-m", "tests.simulation", "7"]
    replayed = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
    assert replayed.splitlines()[-1] == f"trace {outcome.digest}"


@pytest.mark.parametrize("bug", [bug for bug in PLANTS if bug not in RARE])
def test_a_planted_bug_is_found(bug: str) -> None:
    with planted(bug):
        assert any(simulate(seed).violations for seed in range(MOST_SEEDS))
