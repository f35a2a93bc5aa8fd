"""What a rule may cost when it is compiled and while it runs, and where it is told that it costs too much."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
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


def effort(work: Callable[[], object]) -> float:
    """Return what something costs in rounds of a million empty turns, so that no machine is too slow for a limit."""

    def seconds(timed: Callable[[], object]) -> float:
        begun = time.process_time()
        timed()
        return time.process_time() - begun

    rounds = [seconds(lambda: deque(range(1_000_000), maxlen=0)) for _ in range(5)]
    return seconds(work) / max(rounds)


def refused(run: Callable[[Any], object], data: Any) -> None:
    with pytest.raises(RuleLimitExceeded, match="visits more than"):
        run(data)


def test_numbers_that_python_hashes_alike_are_not_slow() -> None:
    alike = [number * (2**61 - 1) for number in range(1, 9_900)]
    rule = {"in": [{"var": "a"}, alike]}
    assert effort(lambda: compile_rule(rule)) < 20
    compiled = compile_rule(rule)
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


def rows(value: Any) -> dict[str, Any]:
    return {"rows": [{"x": value}] * 99_000}


def some(body: Any) -> Any:
    return {"some": [{"var": "rows"}, body]}


X = {"var": "x"}


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (some({"or": [{"<": [X, 0]}] * 6}), "1e5"),
        (some({"or": [{"<": [X, 0]}] * 6}), "1" * 40),
        (some({"or": [{"<": [X, 0]}] * 6}), [["1.5"]]),
        (some({"!": {"max": [X] * 9}}), [["1.5"]]),
        (some({"!": {"cat": [X] * 9}}), 1.5),
        (some({"==": [[X] * 9, "x"]}), [[1.5]]),
        (some({"or": [{"var": [X]}] * 9}), "a.b"),
        (some({"or": [{"in": ["ab", X]}] * 6}), "a" * 250),
    ],
)
def test_what_is_converted_for_every_item_is_paid(rule: Any, value: Any) -> None:
    compiled, data = compile_rule(rule), rows(value)
    for run in (compiled.evaluate, compiled.explain):
        assert effort(partial(refused, run, data)) < 200


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (some({"<": [X, 0]}), "1.5"),
        (some({"and": [{">": [X, 0]}, {"!": [{">": [X, 0]}]}]}), 1.5),
        ({"filter": [{"var": "rows"}, {"==": [{"cat": [X, "!"]}, "7!"]}]}, 7),
        (some({"in": ["b", X]}), "a" * 120),
    ],
)
def test_what_every_list_needs_is_free(rule: Any, value: Any) -> None:
    compiled, data = compile_rule(rule), rows(value)
    assert compiled.explain(data)["result"] is compiled.evaluate(data)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"or": [{"<": [{"var": "t"}, 0]}] * 49}, "1" * 5_000_000),
        ({"or": [{"<": [{"var": "t.u"}, 0]}] * 49}, "1" * 5_000_000),
        ({"max": [{"var": "t"}] * 190}, "1" * 5_000_000),
        ({"+": [{"var": "t"}] * 190}, "1" * 5_000_000),
        ({"+": [{"var": "t"}] * 190}, " " * 5_000_000),
        ({"<": [{"var": "t"}, 0]}, "1" * 10_000_000),
        ({"or": [{"==": [{"var": "t"}, "x" * 16_000]}] * 49}, [None] * 300_000),
    ],
)
def test_small_rules_are_quick_however_long_a_text_is(rule: Any, text: Any) -> None:
    compiled, data = compile_rule(rule), {"t": {"u": text} if "t.u" in str(rule)[:40] else text}
    for run in (compiled.evaluate, compiled.explain):
        assert effort(partial(run, data)) < 80


def test_long_constants_beside_lists_are_paid() -> None:
    compiled = compile_rule({"or": [{"==": [{"var": "t"}, "," * 60_000]}] * 45})
    with pytest.raises(RuleLimitExceeded):
        compiled.evaluate({"t": [None] * 60_000 + [1]})


def test_no_number_is_longer_than_any_text_of_a_rule() -> None:
    longest = 65_536
    for text, number in (("0" * (longest - 1) + "7", 7), (" " * (longest - 1) + "7", 7), ("0" * longest + "7", None)):
        assert compile_rule({"-": [{"var": "t"}, 0]}).value({"t": text}) == number
    assert compile_rule({"+": [{"var": "t"}]}).value({"t": "12 " + "x" * 100_000}) == 12
    assert compile_rule({"+": [{"var": "t"}]}).value({"t": "-0.5" + "0" * 100_000}) == -0.5


BIG = {"s": "x" * 600_000, "items": [0] * 600_000, "l": [1], "keys": ["a"] * 600_000, "many": [1] * 60_000}
FIRST = {"some": [{"var": "l"}, {"var": ""}]}


@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        ({"cat": [{"var": "s"}, {"var": "s"}]}, ""),
        ({"merge": [{"var": "items"}, {"var": "items"}]}, ""),
        ({"missing": [{"var": "keys"}]}, ""),
        ({"missing_some": [1, {"var": "keys"}]}, ""),
        ({"substr": [{"cat": [{"var": "s"}]}, 0]}, ""),
        ({"map": [{"map": [{"var": "many"}, {"var": ""}]}, {"cat": [{"var": ""}]}]}, ""),
        ({"all": [{"map": [{"var": "many"}, 1]}, {"some": [[1], {"var": ""}]}]}, "/all/1"),
        (
            {"some": [{"var": "l"}, {"reduce": [[1] * 99, {"cat": [ACC := {"var": "accumulator"}, ACC]}, "x"]}]},
            "/some/1/reduce/1",
        ),
        ({"var": {"cat": [{"var": "s"}, {"var": "s"}]}}, "/var"),
        ({"in": ["x", {"merge": [{"var": "items"}, {"var": "items"}]}]}, "/in/1"),
    ],
)
def test_a_limit_is_told_where_it_was_met(rule: Any, pointer: str) -> None:
    """Also after another operator was done, and inside of one that is not."""
    for around, at in (({"and": [FIRST, rule]}, "/and/1"), ({"if": [FIRST, rule]}, "/if/1"), (rule, "")):
        compiled = compile_rule(around)
        for run in (compiled.evaluate, compiled.explain):
            with pytest.raises(RuleLimitExceeded) as caught:
                run(BIG)
            assert caught.value.context["pointer"] == f"{at}{pointer}"
