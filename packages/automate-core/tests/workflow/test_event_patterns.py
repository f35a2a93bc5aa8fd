from __future__ import annotations

import fnmatch
from typing import Any

import pytest
from automate_core.workflow import is_event_pattern, is_event_type, matches, patterns_for
from hypothesis import given
from hypothesis import strategies as st

types = st.lists(st.sampled_from(["order", "paid", "a-b", "x_1", "v2"]), min_size=1, max_size=4).map(".".join)
patterns = types | types.map(lambda name: f"{name}.*") | st.just("*")


@given(patterns, types)
def test_patterns_mean_what_a_glob_means(pattern: Any, event_type: Any) -> None:
    assert is_event_pattern(pattern)
    assert is_event_type(event_type)
    assert matches(pattern, event_type) is fnmatch.fnmatchcase(event_type, pattern)
    assert matches(pattern, event_type) is (pattern in patterns_for(event_type))


def test_a_prefix_means_what_is_beneath_it() -> None:
    assert matches("order.*", "order.paid")
    assert matches("order.*", "order.item.added")
    assert not matches("order.*", "order")
    assert not matches("order.*", "orders.paid")
    assert not matches("order.paid", "order.paid.late")


@pytest.mark.parametrize(
    "wrong", ["", ".", "order.", ".paid", "order..paid", "*.paid", "order.*.x", "ord*", "a b", "**"]
)
def test_other_patterns_are_refused(wrong: Any) -> None:
    assert not is_event_pattern(wrong)
    assert not is_event_type(wrong)
