"""Which bracket of a text closes which, however the text is quoted, escaped or cut."""

from __future__ import annotations

import json

import pytest
from automate_core._redaction.brackets import Brackets
from automate_core.redaction import REDACTED, redact_text
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

unhurried = hypothesis_settings(deadline=None)

pieces = st.sampled_from(["[", "]", "{", "(", ")", '"', "'", '\\"', "\\\\\\'", ",", " ", "=", "x", "\\n", "\n", "b"])


@hypothesis_settings(unhurried, max_examples=300)
@given(st.lists(pieces, max_size=40).map("".join))
def test_what_one_search_has_met_does_not_change_the_next(text: str) -> None:
    brackets = Brackets(text)
    for place in [place for place, character in enumerate(text) if character in "[({"]:
        assert brackets.closing(place) == Brackets(text).closing(place)


json_values = st.recursive(
    st.text("ab]}[{\"',: \\\n", max_size=6) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab]:{", max_size=3), inner, max_size=3),
    max_leaves=10,
)


@unhurried
@given(
    st.dictionaries(st.text("ab", max_size=3), json_values) | st.lists(json_values),
    st.sampled_from([None, 2]),
    st.booleans(),
    st.integers(0, 2),
)
def test_a_value_of_json_is_hidden_up_to_its_end(value: object, indent: int | None, readable: bool, times: int) -> None:
    def dumped(data: object) -> str:
        text = json.dumps(data, indent=indent, ensure_ascii=not readable)
        for _ in range(times):
            text = json.dumps(text)
        return text

    shown = redact_text(dumped({"a": 1, "password": value, "z": 2}))
    hidden = dumped({"a": 1, "password": "*", "z": 2})
    left, _, right = hidden.partition("*")
    quote = left[len(left.rstrip('"\\')) :]
    assert shown == left.removesuffix(quote) + REDACTED + right.removeprefix(quote)


@unhurried
@given(st.dictionaries(st.text("ab", max_size=3), json_values, min_size=1), st.sampled_from([None, 0, 2]), st.data())
def test_of_a_value_of_json_that_is_cut_nothing_is_shown(
    value: object, indent: int | None, data: st.DataObject
) -> None:
    text = json.dumps({"password": value}, indent=indent)[:-1].rstrip()
    begun = text[: data.draw(st.integers(text.index(":") + 3, len(text) - 1))]
    assert redact_text(begun).rstrip("\n") == f"{text[: text.index('{', 1)]}{REDACTED}"


@pytest.mark.parametrize("text", ["[", "[']", '["]', "[(]", '["a\\"]', "[\n"])
def test_what_does_not_close_has_no_end(text: str) -> None:
    assert Brackets(text).closing(0) is None
