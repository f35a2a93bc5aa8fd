"""The trial of a hostile case sees what is too slow, too large or no rule error. ``nox -s hostile`` tries them all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostile.cases import CASES
from hostile.trial import MOST_MEGABYTES, Trial, attempt

ROOT = Path(__file__).resolve().parents[2]


def test_a_case_is_tried_in_a_process_of_its_own() -> None:
    trial = attempt("cyclic rule")
    assert (trial.end, trial.problem) == ("RuleSyntaxError", "")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("sum(range(400_000_000))", "slow"),
        (f"bytearray({MOST_MEGABYTES + 20} << 20)", "large"),
        (f"bytearray({5 * MOST_MEGABYTES} << 20)", "MemoryError"),
        ("{}['x']", "KeyError"),
        ("__import__('os').abort()", "ended"),
    ],
)
def test_what_breaks_a_promise_is_seen(body: str, problem: str) -> None:
    planted = f"""
import json, sys
sys.path.insert(0, "tests")
from hostile import trial
trial.evaluate = lambda rule, data: rule == {{"==": [1, 1]}} or {body}
sys.stdout.write(json.dumps(trial.attempt_here("cyclic rule")))
"""
    done = subprocess.run([sys.executable, "-c", planted], cwd=ROOT, capture_output=True, text=True)
    if problem == "ended":
        assert done.returncode != 0
        return
    trial = Trial(*json.loads(done.stdout))
    assert not trial.is_good
    seen: dict[str, Callable[[], Any]] = {
        "slow": lambda: trial.seconds > 1,
        "large": lambda: trial.megabytes > MOST_MEGABYTES,
    }
    assert seen.get(problem, lambda: trial.problem == problem)()


def test_every_case_makes_a_rule_and_data() -> None:
    for made in CASES.values():
        assert len(made()) == 2
