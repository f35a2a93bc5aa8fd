"""What a rule may cost when it is compiled and while it runs, and where it is told that it costs too much."""

from __future__ import annotations

import time
from typing import Any

import pytest
from automate_core.errors import RuleLimitExceeded
from automate_core.rules import compile_rule
from automate_core.rules.limits import MAX_NODES
from automate_core.rules.operators import CLASSIC
from automate_core.rules.syntax import check


@pytest.mark.parametrize(
    ("name", "item", "nodes"),
    [
        ("or", {"==": [{"var": "a"}, 1]}, 4),
        ("merge", {"var": "a"}, 2),
        ("merge", {"var": ["a"]}, 2),
        ("or", {"in": [{"var": "a"}, [1, 2]]}, 6),
        ("merge", 1, 1),
    ],
)
def test_no_rule_has_more_nodes_than_are_allowed(name: str, item: Any, nodes: int) -> None:
    most = (MAX_NODES - 1) // nodes
    assert check({name: [item] * most}, CLASSIC)[1] == 1 + most * nodes
    compile_rule({name: [item] * most})
    for rule in ({name: [item] * (most + 1)}, {"!": [{name: [item] * (most + 1)}]}):
        with pytest.raises(RuleLimitExceeded, match="10,000 nodes"):
            compile_rule(rule)


def test_numbers_that_python_hashes_alike_are_not_slow() -> None:
    alike = [number * (2**61 - 1) for number in range(1, 9_900)]
    rule = {"in": [{"var": "a"}, alike]}
    begun = time.process_time()
    compiled = compile_rule(rule)
    assert time.process_time() - begun < 0.5
    assert all(compiled.evaluate({"a": number}) for number in alike[::500])
    assert compiled.evaluate({"a": alike[0] + 1}) is False


@pytest.mark.parametrize("number", [2**60, -(2**60), 2**60 - 1, 2**61 - 1, 2**70, 10**300, -(10**300), 10**400, 0])
def test_large_numbers_are_found_by_what_they_are(number: int) -> None:
    same: list[Any] = [number] + ([float(number)] if abs(number) < 10**308 and int(float(number)) == number else [])
    for written in same:
        if abs(written) > 2**1024:
            continue
        compiled = compile_rule({"in": [{"var": "a"}, [written, 1.5]]})
        assert [compiled.evaluate({"a": value}) for value in same] == [True] * len(same)
        others = (number + 1, -number - 1, str(number), None, True, float("inf"), float("nan"))
        assert not any(compiled.evaluate({"a": value}) for value in others)
