"""The quick ways of the redactor give what the thorough ones give."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator

import pytest
from automate_core import settings
from automate_core._redaction import shapes
from automate_core._redaction.keys import extra_keys, may_hold_secret_key
from automate_core._redaction.values import LiveValues, _base64_cores, encodings
from automate_core.redaction import REDACTED, forget, redact_text, remember
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

unhurried = hypothesis_settings(deadline=None)

SECRETS = ["hunter2", "48151623", "open sesame, said he", "xK9v-2mPq_Lr7TzWb4Nc", "postgresql://app:Zx81@db/orders"]
EXTRA = ("badge-number", "shoe")
# Put together here, so that no scanner takes this file for a leak.
SHAPES = [
    "sk-" + "proj-abcdefghijklmnopqrst", "sk_" + "live_abcdefghij", "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789",
    "xapp-" + "12345678", "AKIA" + "IOSFODNN7EXAMPLE", "eyJ" + "hbGci.eyJzd.", "4111 1111 1111 1111",
    "3782-822463-10005", "378282246310005", "password=hunter3", "api_key: a1", "shoe=41", "badgeNumber: 7",
    "<password>x</password>", "<shoe>x</shoe>", "sent Bearer abcdef", "Basic dXNlcjpwYXNz", "https://u:p@host/x",
    "\\/\\/", "@", "a_p_i_k_e_y=7",
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
]  # fmt: skip
PROSE = [
    "", "a", "paid", "EUR", "inv_123", "/and/0/>/1/var", "==", "invoice.total is 12.5, which is more than 10", "null",
    "2023-06-06T22:19:30.123456+00:00", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "the basic plan", "tasks: one, two",
    "https://example.com/a?b=c", "Ünïcode ٣٤٥ text", "$secret:API_KEY", REDACTED, "highlights of this task-12",
]  # fmt: skip


def _encoded() -> st.SearchStrategy[str]:
    ways: list[Callable[[str], str]] = [
        str, lambda value: base64.b64encode(b"u:" + value.encode()).decode(), lambda value: value.encode().hex(),
    ]  # fmt: skip
    return st.builds(lambda way, value: way(value), st.sampled_from(ways), st.sampled_from(SECRETS))


@contextlib.contextmanager
def _situation(secrets: list[str], extra: tuple[str, ...]) -> Iterator[None]:
    settings.configure(settings.parse({"REDACT_KEYS": extra}))
    for secret in secrets:
        remember(secret)
    try:
        yield
    finally:
        for secret in secrets:
            forget(secret)
        settings.configure(None)


extras = st.sampled_from([(), EXTRA])


# -- what a text cannot hold ------------------------------------------------------------------------------------------


def _all_patterns(text: str) -> str:
    """Try every pattern on a text, without asking whether it is worth it."""
    for _, pattern in shapes._TOKEN_PATTERNS:
        text = pattern.sub(shapes._token, text)
    text = shapes._USER_INFO.sub(shapes._user_info, shapes._PRIVATE_KEY.sub(REDACTED, text))
    lowered = text.lower()
    text = shapes._SCHEMED.sub(shapes._schemed, text)
    if may_hold_secret_key(lowered):  # this one is part of the rule
        text = shapes._redact_named(text, extra_keys())
        if "</" in text:
            text = shapes._ELEMENT.sub(lambda match: shapes._element(extra_keys(), match), text)
    return shapes._CARD.sub(shapes._card, text)


glue = st.sampled_from(["", " ", "-", "_", ".", "/", "\n", "a", "1", "é", "٣", '"', "A"])


@hypothesis_settings(unhurried, max_examples=300)
@given(st.lists(st.tuples(glue, st.sampled_from(SHAPES) | st.sampled_from(PROSE)), max_size=4), extras)
def test_what_is_left_out_would_have_found_nothing(parts: list[tuple[str, str]], extra: tuple[str, ...]) -> None:
    text = "".join(part for pair in parts for part in pair)
    with _situation([], extra):
        assert redact_text(text) == _all_patterns(text)


@pytest.mark.parametrize("text", [*SHAPES, *PROSE])
def test_nothing_is_left_out_of_the_shortest_texts(text: str) -> None:
    assert redact_text(text) == _all_patterns(text)


@unhurried
@given(st.sampled_from(shapes._TOKENS).flatmap(lambda row: st.from_regex(_without_lookbehind(row[1]), fullmatch=True)))
def test_no_token_passes_unseen(token: str) -> None:
    assume(_all_patterns(token) != token)
    assert shapes.may_hold_token(token)
    assert redact_text(token) != token


def _without_lookbehind(pattern: str) -> str:
    return pattern.replace(r"(?<=hooks\.slack\.com/)", r"hooks\.slack\.com/").replace("}+", "}")


@unhurried
@given(st.text("0123456789", min_size=19, max_size=19), st.sampled_from([(4, 4, 4, 7), (4, 6, 5), (19,)]), st.data())
def test_no_card_number_passes_unseen(digits: str, groups: tuple[int, ...], data: st.DataObject) -> None:
    separator = data.draw(st.sampled_from([" ", "-"]))
    places = [sum(groups[:count]) for count in range(len(groups))]
    text = separator.join(digits[place : place + size] for place, size in zip(places, groups, strict=True))
    text = data.draw(glue) + text[: data.draw(st.integers(10, len(text)))] + data.draw(glue)
    assert shapes.may_hold_card(text) or not shapes._CARD.search(text)
    assert redact_text(text) == _all_patterns(text)


@unhurried
@given(
    st.lists(st.sampled_from(SECRETS), unique=True),
    st.lists(st.sampled_from(SECRETS), unique=True),
    st.lists(_encoded() | st.sampled_from(PROSE) | st.text(max_size=6), max_size=3).map("".join),
)
def test_a_live_value_is_found_where_one_of_its_forms_is(known: list[str], gone: list[str], text: str) -> None:
    live = LiveValues()
    for value in known:
        live.add(value)
    for value in gone:
        live.discard(value)
    kept = set(known) - set(gone)
    forms = {form for value in kept for form in (*encodings(value), *(core for core, _, _ in _base64_cores(value)))}
    assert (live.replace(text, "\0") != text) is any(form in text for form in forms)
    assert live.numbers == {int(value) for value in kept if value.isdecimal()}
