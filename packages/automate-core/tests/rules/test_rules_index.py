"""The index finds whatever matches, and leaves out what cannot."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from automate_core.rules import CompiledRule, Engine, RuleIndex, compile_rule, custom_operator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PATHS = ["a", "b", "a", "b", "", "a.b", "a.0", "b.a.b", "1"]


def weighted(*choices: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """One of some strategies, as often as is said; ``one_of`` forgets what is named twice."""
    return st.sampled_from([choice for times, choice in choices for _ in range(times)]).flatmap(lambda choice: choice)


common = st.sampled_from([None, True, False, 0, 1, 1.0, 2, "", "0", "1", "1.0", "a", "true"])
odd = st.sampled_from(
    [-0.0, 1.5, 2.0**53, 2**53 + 1, 10**400, -(10**30), " 1 ", "01", "1e0", "0x1", "A", "null", "NaN", "1,1", ",", "[]"]
) | st.sampled_from(["Infinity", "[object Object]", "9007199254740993"])
scalars = weighted((6, common), (2, odd), (1, st.integers()), (1, st.text(max_size=2)))
composite = st.sampled_from([[], [1], ["a"], [[1]], [[]], [None], [True], {}, (), (1,), ("a",)])
strange = st.sampled_from([Decimal(1), Decimal("NaN"), object(), math.inf, math.nan])
wild = weighted((6, scalars), (2, composite), (1, strange), (1, st.floats()), (1, st.lists(scalars, max_size=2)))
fields = st.sampled_from(["a", "b", "0", "1"])
nested = st.dictionaries(fields, wild, max_size=2)
events = weighted((8, st.dictionaries(fields, weighted((4, wild), (1, nested)), max_size=3)), (1, wild))

constants = weighted((8, scalars), (1, st.lists(scalars, max_size=2)), (1, st.just({})))
paths = st.sampled_from(PATHS)
defaults = weighted((6, common), (1, constants), (1, st.just({"var": "b"})))
variables = weighted(
    (3, paths.map(lambda path: {"var": path})),
    (1, st.tuples(paths, defaults).map(lambda given: {"var": list(given)})),
)
equalities = st.builds(
    lambda name, variable, constant, turned: {name: [constant, variable] if turned else [variable, constant]},
    st.sampled_from(["==", "==", "==="]),
    variables,
    constants,
    st.booleans(),
)
items = weighted((4, constants), (1, st.just({"var": "a"})))
memberships = st.builds(
    lambda variable, given: {"in": [variable, given]},
    variables,
    weighted((4, st.lists(constants, max_size=4)), (2, st.lists(items, max_size=3)), (1, st.text(max_size=3))),
)
others = st.one_of(
    st.builds(lambda constant, variable: {"in": [constant, variable]}, constants, variables),
    st.builds(lambda variable, constant: {">=": [variable, constant]}, variables, constants),
    st.builds(lambda variable, other: {"==": [variable, other]}, variables, variables),
    variables,
    constants,
)
conditions = weighted((4, equalities), (2, memberships), (1, others))
wrapped = st.one_of(
    st.builds(lambda name, given: {name: given}, st.sampled_from(["or", "if"]), st.lists(conditions, max_size=3)),
    st.builds(lambda name, given: {name: [given]}, st.sampled_from(["!", "!!"]), conditions),
    st.builds(lambda variable, given: {"some": [variable, given]}, variables, conditions),
)
parts = weighted((3, conditions), (1, wrapped))
junctions = weighted(
    (2, st.lists(parts, min_size=1, max_size=3).map(lambda given: {"and": given})),
    (1, parts.map(lambda part: {"and": part})),
    (1, st.just({"and": []})),
)
rules = weighted(
    (4, conditions),
    (1, wrapped),
    (2, junctions),
    (1, st.lists(weighted((1, parts), (1, junctions)), max_size=3).map(lambda given: {"and": given})),
)


def naive(rule_set: dict[int, CompiledRule | None], data: Any) -> set[int]:
    return {key for key, rule in rule_set.items() if rule is None or rule.evaluate(data)}


def agrees(index: RuleIndex[int], rule_set: dict[int, CompiledRule | None], data: Any) -> None:
    found = index.candidates(data)
    assert len(found) == len(set(found)), "a rule is found once"
    assert rule_set.keys() >= set(found)
    assert naive({key: rule_set[key] for key in found}, data) == naive(rule_set, data)


def compiled_set(specs: list[Any], first: int = 0) -> dict[int, CompiledRule | None]:
    return {key: compile_rule(spec) for key, spec in enumerate(specs, first)}


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    specs=st.lists(rules, min_size=1, max_size=12),
    later=st.lists(rules, max_size=6),
    leaving=st.sets(st.integers(0, 11)),
    data_sets=st.lists(events, min_size=1, max_size=6),
)
def test_indexed_equals_naive(specs: list[Any], later: list[Any], leaving: set[int], data_sets: list[Any]) -> None:
    before = compiled_set(specs)
    index = RuleIndex(before.items())
    gone = leaving & before.keys()
    come = compiled_set(later, 100)
    after = {key: rule for key, rule in before.items() if key not in gone} | come
    changed = index.updated(come.items(), gone)
    for data in data_sets:
        agrees(index, before, data)
        agrees(changed, after, data)
    assert set(index) == before.keys()
    assert set(changed) == after.keys()
    emptied = changed.updated(remove=after)
    assert not emptied.is_selective
    assert not emptied.candidates(data_sets[0])


@settings(max_examples=500, deadline=None)
@given(name=st.sampled_from(["==", "===", "in"]), constant=scalars, value=wild)
def test_what_equals_a_constant_is_found_under_it(name: str, constant: Any, value: Any) -> None:
    rule = compile_rule({name: [{"var": "x"}, [constant] if name == "in" else constant]})
    agrees(RuleIndex([(0, rule)]), {0: rule}, {"x": value})


def found(rule: Any, *events: Any) -> list[bool]:
    """Whether a rule is a candidate for each of some data."""
    index = RuleIndex([("rule", compile_rule(rule))])
    return [index.candidates(event) == ["rule"] for event in events]


X = {"var": "x"}


@pytest.mark.parametrize(
    ("rule", "candidates", "others"),
    [
        ({"==": [X, 1]}, [1, 1.0, True, "1", "1.0", [1], ["1"], [[1]]], [0, 2, "", None, [1, 1], {}, "one"]),
        ({"==": [X, 0]}, [0, False, "", [], "0", [""]], [1, None, "x", {}]),
        ({"==": [X, "paid"]}, ["paid", ["paid"]], ["Paid", ["paid", "x"], None, 1]),
        ({"==": ["a,b", X]}, ["a,b", ["a", "b"]], [["a"], "a"]),
        ({"===": [X, True]}, [True], [False, None, 0, "true"]),
        ({"==": [X, None]}, [None], [0, "", False, [], {}]),
        ({"in": [X, ["a", 2, None]]}, ["a", 2, 2.0, None], ["b", 3, [], {}]),
        ({"in": [X, []]}, [], ["", None, 0, []]),
        ({"and": [{">": [{"var": "y"}, 1]}, {"and": [{"==": [X, "a"]}]}]}, ["a"], ["b", None]),
        ({"and": {"==": [X, "a"]}}, ["a"], ["b"]),
        ({"==": [{"var": ["x", "b"]}, "a"]}, ["a"], ["b", None]),
        ({"==": [X, float(2**53)]}, [2**53, "9007199254740993"], [2**53 + 1]),
    ],
)
def test_terms(rule: Any, candidates: list[Any], others: list[Any]) -> None:
    assert all(found(rule, *({"x": value} for value in candidates)))
    assert not any(found(rule, *({"x": value} for value in others)))
    assert found(rule, {}) == [None in candidates]


@pytest.mark.parametrize(
    "rule",
    [
        {"or": [{"==": [X, 1]}]},
        {"!": [{"==": [X, 1]}]},
        {"!!": [{"==": [X, 1]}]},
        {"if": [{"==": [X, 1]}, True, False]},
        {"some": [[1], {"==": [X, 1]}]},
        {"==": [X, {"var": "y"}]},
        {"==": [X, [1]]},
        {"==": [{"var": {"cat": ["x"]}}, 1]},
        {"==": [{"var": ["x", 1]}, 1]},
        {"==": [{"var": ["x", {"var": "y"}]}, 1]},
        {"in": [X, ["a", {"var": "y"}]]},
        {"in": [X, "text"]},
        {"in": ["a", X]},
        {"in": [X, list(range(1001))]},
        {"in": [{"var": ["x", "a"]}, ["a"]]},
        {">=": [X, 1]},
        {"!=": [X, 1]},
        X,
        True,
        {"and": []},
    ],
)
def test_what_is_no_term_is_always_a_candidate(rule: Any) -> None:
    assert all(found(rule, {}, {"x": "something else"}, None, 7, []))


def test_each_rule_is_filed_under_its_rarest_term() -> None:
    def about(customer: int) -> Any:
        return compile_rule({"and": [{"==": [{"var": "kind"}, "paid"]}, {"==": [{"var": "customer"}, customer]}]})

    index = RuleIndex((number, about(number)) for number in range(1000))
    assert index.candidates({"kind": "paid", "customer": 7}) == [7]
    assert index.candidates({"kind": "paid"}) == []
    one_by_one: RuleIndex[int] = RuleIndex()
    for number in range(20):
        one_by_one = one_by_one.updated([(number, about(number))])
    assert len(one_by_one.candidates({"kind": "paid", "customer": 7})) <= 2
    assert len(one_by_one) == 20


def test_a_null_is_the_last_choice() -> None:
    rule = {"and": [{"==": [{"var": "cancelled"}, None]}, {"==": [X, 1]}]}
    assert found(rule, {"x": 1}, {}, {"x": 2}) == [True, False, False]


def test_many_paths_cost_no_more_than_what_the_data_has() -> None:
    index = RuleIndex((n, compile_rule({"==": [{"var": f"field_{n}"}, 1]})) for n in range(5000))
    reads: list[Any] = []

    class Counted(str):
        __slots__ = ()

        def __hash__(self) -> int:
            reads.append(str(self))
            return str.__hash__(self)

    data = {Counted("field_7"): 1, Counted("other"): 1}
    reads.clear()
    assert index.candidates(data) == [7]
    assert len(reads) <= 2


def test_an_index_never_changes() -> None:
    rule = compile_rule({"==": [X, 1]})
    index = RuleIndex([("a", rule), ("b", None)])
    changed = index.updated([("a", None)], ["a", "b"])
    assert sorted(index.candidates({"x": 1})) == ["a", "b"]
    assert changed.candidates({}) == ["a"]
    assert ("a" in changed, "b" in changed, len(changed)) == (True, False, 1)
    with pytest.raises(KeyError):
        index.updated(remove=["c"])
    for repeated in ([("a", rule)], [("c", rule), ("c", rule)]):
        with pytest.raises(ValueError, match="has a rule already"):
            index.updated(repeated)


def test_operators_of_ones_own_do_not_matter_and_other_meanings_are_not_guessed() -> None:
    engine = Engine().with_operators(custom_operator("is_even", lambda value: value % 2 == 0))
    index = RuleIndex([(0, engine.compile_rule({"and": [{"==": [X, 1]}, {"is_even": [4]}]}))])
    assert [index.candidates({"x": value}) for value in (1, 2)] == [[0], []]
