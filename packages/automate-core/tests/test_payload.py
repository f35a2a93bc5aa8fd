from __future__ import annotations

import copy
import datetime
import decimal
import enum
import json
import uuid
from typing import Any

import pytest
from automate_core.errors import InvalidPayloadError
from automate_core.payload import (
    MAX_DEPTH,
    MAX_DEPTH_MARIADB,
    _inspect,
    canonical_json,
    check_payload,
    content_hash,
    json_pointer,
)
from hypothesis import given
from hypothesis import strategies as st

text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
scalars = (
    st.none() | st.booleans() | st.integers(-(10**299), 10**299) | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | text, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=20
)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return value


def laughing() -> Any:
    value: Any = ["ha"] * 10
    for _ in range(90):
        value = [value] * 10
    return value


def cyclic() -> Any:
    value: Any = {"a": [1]}
    value["a"].append(value)
    return value


class Colour(enum.StrEnum):
    RED = "red"


@given(values)
def test_every_json_value_survives_and_is_left_alone(value: Any) -> None:
    before = copy.deepcopy(value)
    encoded = check_payload(value, max_bytes=10_000_000, require_object=False)
    assert json.loads(encoded) == value == before
    assert canonical_json(json.loads(encoded)) == encoded


def test_the_text_is_canonical() -> None:
    assert canonical_json({"b": (1, 2), "a": {"é": Colour.RED}}) == '{"a":{"é":"red"},"b":[1,2]}'.encode()
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1}) != content_hash({"a": 1, "b": 2.0})


@pytest.mark.parametrize(
    ("value", "pointer", "says"),
    [
        ([1], "", "pass a dict"),
        ({"a": decimal.Decimal("1.5")}, "/a", "Decimal is not JSON: pass str or float"),
        ({"a": datetime.datetime.min}, "/a", "isoformat"),
        ({"a": uuid.UUID(int=1)}, "/a", "UUID is not JSON: pass str"),
        ({"a": b"x"}, "/a", "bytes is not JSON"),
        ({"a": [{1}]}, "/a/0", "set is not JSON: pass a list"),
        ({"a": object()}, "/a", "object is not JSON"),
        ({"a": {1: 2}}, "/a", "keys are text"),
        ({"a": {None: 2}}, "/a", "keys are text"),
        ({"a/b": {"~": [float("nan")]}}, "/a~1b/~0/0", "nan"),
        ({"a": float("-inf")}, "/a", "-inf"),
        ({"a": "x\x00y"}, "/a", "NUL"),
        ({"a": {"\x00": 1}}, "/a", "a key that holds the character NUL"),
        ({"a": "\udc80"}, "/a", "surrogate"),
        ({"\ud800": 1}, "", "surrogate"),
        ({"a": 10**400}, "/a", "pass it as str"),
        ({"a": -(10**300)}, "/a", "more than 300 digits"),
        (cyclic(), "/a/1", "contains itself"),
        ({"a": nested(100)}, "/a" + "/0" * 99, "deeper than 100 levels"),
        ({"a": nested(100_000)}, "/a" + "/0" * 99, "deeper than 100 levels"),
        ({"a": laughing()}, "", "larger than 100000 bytes"),
        ({"a": "x" * 100_000}, "", "larger than 100000 bytes"),
        ({"a": "\n" * 60_000}, "", "larger than 100000 bytes"),
    ],
)
def test_what_databases_refuse_is_refused_with_a_place_and_a_remedy(value: Any, pointer: Any, says: Any) -> None:
    with pytest.raises(InvalidPayloadError, match=says) as caught:
        check_payload(value, max_bytes=100_000)
    assert caught.value.context["pointer"] == pointer


def test_the_limits_themselves_are_allowed() -> None:
    value = {"a": nested(MAX_DEPTH - 1), "b": 10**300 - 1, "c": [nested(3)] * 2}
    encoded = check_payload(value, max_bytes=len(canonical_json(value)))
    assert json.loads(encoded) == value
    with pytest.raises(InvalidPayloadError):
        check_payload(value, max_bytes=len(encoded) - 1)
    with pytest.raises(InvalidPayloadError, match="deeper than 32"):
        check_payload(value, max_bytes=10**6, max_depth=MAX_DEPTH_MARIADB)


def test_no_value_is_repeated_in_the_message() -> None:
    with pytest.raises(InvalidPayloadError) as caught:
        check_payload({"password": "hunter2\x00"}, max_bytes=100)
    assert "hunter2" not in str(caught.value) + repr(caught.value.context)


def test_pointers_are_escaped() -> None:
    assert json_pointer(("a/b", 0, "~")) == "/a~1b/0/~0"
    assert json_pointer(()) == ""


class Key(enum.StrEnum):
    A = "a"


ODD = st.sampled_from(
    ["\x00", "\ud800", "\\u0000", b"x", 1j, 10**301, float("nan"), (1, "é"), {1: 2}, {"\x00": 1}, Key.A]
)


@given(st.recursive(scalars | text | ODD, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=12))
def test_the_quick_way_refuses_what_the_walk_refuses_with_the_same_words(value: Any) -> None:
    outcomes = []
    for check in (
        lambda: _inspect(value, "payload", 10**6, 4),
        lambda: check_payload(value, max_bytes=10**6, max_depth=4, require_object=False),
    ):
        try:
            check()
            outcomes.append("")
        except InvalidPayloadError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
