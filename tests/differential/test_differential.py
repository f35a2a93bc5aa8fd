"""The comparison itself: it is replayable, finds what differs, and makes it small. ``nox -s differential`` runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from automate_core.rules import arithmetic
from automate_core.rules.operators import CLASSIC

from differential import qubit
from differential.differences import DECISIONS, agree, differences, ours
from differential.generator import NAMES, OFTEN, Case, cases
from differential.javascript import Answer, Unavailable, prepare
from differential.shrinking import shrink


@pytest.fixture(scope="module")
def original() -> None:
    """Need json-logic-js: without it a visible skip, or a failure where CI=true."""
    try:
        prepare()
    except Unavailable as reason:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(reason))


def used(rule: Any) -> Iterator[str]:
    if isinstance(rule, dict):
        yield from rule
    for part in rule.values() if isinstance(rule, dict) else rule if isinstance(rule, list) else ():
        yield from used(part)


def test_a_seed_gives_the_same_cases() -> None:
    assert list(cases(7, 50)) == list(cases(7, 100))[:50] != list(cases(8, 50))


def test_every_operator_and_kind_of_value_is_drawn() -> None:
    drawn = list(cases(7, 2_000))
    assert {name for case in drawn for name in used(case.rule)} == set(NAMES) == set(CLASSIC)
    values = [ours(case).value for case in drawn]
    assert {type(value) for value in values} == {bool, int, float, str, list, dict, type(None)}
    assert sum(value is None for value in values) < len(values) / 3


@pytest.mark.usefixtures("original")
def test_every_decision_is_seen_and_explains_what_differs() -> None:
    found = differences(list(cases(7, 3_000, OFTEN)))
    assert {reason for difference in found for reason in difference.reasons} == set(DECISIONS)
    assert [difference for difference in found if not difference.reasons] == []


@pytest.mark.usefixtures("original")
def test_a_fault_is_found_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "parse_number", lambda value, budget=None: 0 if value is None else float("nan"))

    def stays(candidates: Sequence[Case]) -> list[bool]:
        still = {difference.number for difference in differences(candidates) if not difference.reasons}
        return [number in still for number in range(len(candidates))]

    first = next(difference for difference in differences(list(cases(7, 500))) if not difference.reasons)
    assert len(str(shrink(first.case, stays).rule)) < 25


def test_an_error_agrees_with_nothing() -> None:
    assert not agree(Answer(error="TypeError"), Answer(error="TypeError"))
    assert not agree(Answer(1, True), Answer(True, True))
    assert agree(Answer(1, True), Answer(1.0, True))


def test_qubit_differs_for_reviewed_reasons_alone() -> None:
    counts, unexplained = qubit.compare(7, 4_000)
    assert unexplained == []
    assert counts[""] > 2_000


@pytest.mark.parametrize(
    ("reason", "name", "values"),
    [
        ("numbers", "+", ["1e1", 1]),
        ("single", "*", [1]),
        ("zero", "/", [1, 0]),
        ("sign", "%", [-7, 3]),
        ("digits", "+", [1e21, 1]),
        ("order", "<", [None, 1]),
        ("equality", "==", ["1.0", 1]),
        ("object", "!!", [{}]),
        ("text", "cat", [True]),
        ("cut", "substr", [12, 1]),
        ("in", "in", [1, "1"]),
        ("scope", "map", [[0]]),
    ],
)
def test_each_reason_is_needed(reason: str, name: str, values: list[Any]) -> None:
    assert qubit.reason_for(name, values) == reason
    assert reason in qubit.REASONS
