"""Some runs of the fuzzer, new ones each time, and proof that it would see what should not happen."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest
from automate_core.rules import leaves

from fuzz.runs import draw_run, guarded, play, run_many

RUNS = 6_000


def test_nothing_but_a_value_or_a_rule_error() -> None:
    seed = random.SystemRandom().randrange(10**9)
    reports = list(run_many(seed, RUNS, 2))
    assert sum(report.runs for report in reports) == RUNS
    assert [f"nox -s fuzz -- --seed {seed} --run {failure}" for report in reports for failure in report.failures] == []
    ends = {name for report in reports for name in report.outcomes}
    assert {"", "RuleSyntaxError", "UnknownOperationError", "RuleLimitExceeded"} <= ends


def test_a_run_depends_on_its_seed_and_number_alone() -> None:
    first, again, other = ([play(*draw_run(seed, number)) for number in range(60)] for seed in (7, 7, 8))
    assert first == again != other


def test_an_error_of_python_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(value: Any, part: str) -> Any:
        return value[part]

    monkeypatch.setattr(leaves, "step", stumble)
    failures = [guarded(7, number).failure for number in range(200)]
    assert any(failure.startswith(("TypeError", "KeyError", "IndexError")) for failure in failures)


def test_an_explanation_that_says_something_else_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["automate_core.rules.explain"], "verdict", lambda value: value is None)
    assert any(play(*draw_run(7, number)).failure for number in range(50))
