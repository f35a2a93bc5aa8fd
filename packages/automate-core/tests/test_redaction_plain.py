"""The quick ways of the redactor give what the thorough ones give."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import decimal
import enum
import fractions
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from automate_core import redaction, settings
from automate_core._redaction import plain, shapes
from automate_core._redaction.encodings import base64_cores, encodings
from automate_core._redaction.keys import extra_keys, may_hold_secret_key
from automate_core._redaction.named import redact_elements, redact_named
from automate_core._redaction.plain import NotPlainError, PlainCopier
from automate_core._redaction.values import LiveValues
from automate_core._redaction.walk import Walk
from automate_core.errors import PermanentError
from automate_core.redaction import REDACTED, forget, redact, redact_text, remember
from automate_core.rules import explain
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

unhurried = hypothesis_settings(deadline=None)

ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
SECRETS = [
    "hunter2", "48151623", "open sesame, said he", "xK9v-2mPq_Lr7TzWb4Nc", "postgresql://app:Zx81@db/orders",
    ID, "8812345.6789", "2031-05-17",
]  # fmt: skip
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
KEYS = [
    "id", "operator", "value", "name", "key", "lines", "", "password", "Authorization", "x_api_key", "token_count",
    "shoe", "badge_number", "shoe=41", "password=hunter3", "hunter2", "with hunter2 in it", SHAPES[0], REDACTED,
    "a" * 100, "a" * 300,
]  # fmt: skip


def _encoded() -> st.SearchStrategy[str]:
    ways: list[Callable[[str], str]] = [
        str, lambda value: base64.b64encode(b"u:" + value.encode()).decode(), lambda value: value.encode().hex(),
    ]  # fmt: skip
    return st.builds(lambda way, value: way(value), st.sampled_from(ways), st.sampled_from(SECRETS))


texts = st.sampled_from(PROSE) | st.lists(
    st.sampled_from(PROSE) | st.sampled_from(SHAPES) | _encoded() | st.text(max_size=4), max_size=4
).map(" ".join)
leaves = (
    texts
    | st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(10**20), 10**20)
    | st.sampled_from([0, 250, 48151623, 48151624, 4111111111111111, 4111111111111112])
    | st.deferred(lambda: st.sampled_from(TEXTLESS))
)
keys = st.sampled_from(KEYS) | texts


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=5)
        | st.tuples(keys, inner).map(list)
        | st.fixed_dictionaries({"name": keys | inner, "value": inner})
        | st.fixed_dictionaries({"value": inner, "key": keys})
    )


json_values = st.recursive(leaves, _containers, max_leaves=15)


class Colour(enum.StrEnum):
    RED = "red"
    PASSWORD = "password"


class Word(str):
    __slots__ = ()


@dataclasses.dataclass(frozen=True)
class Login:
    user: str
    password: str


class Shows:
    def __redacted__(self) -> str:
        return "what may be shown"


secrets = st.lists(st.sampled_from(SECRETS), unique=True)
TEXTLESS: list[Any] = [
    uuid.UUID(ID), uuid.UUID(int=7), 8812345.6789, decimal.Decimal("8812345.6789"), decimal.Decimal("sNaN"),
    decimal.Decimal(4111111111111111), 4111111111111111.0, float("nan"), datetime.date(2031, 5, 17),
    datetime.datetime(2031, 5, 17, tzinfo=datetime.UTC), datetime.timedelta(1), fractions.Fraction(1, 3), 1j,
]  # fmt: skip


@unhurried
@given(st.sampled_from(TEXTLESS) | st.floats() | st.decimals() | st.uuids() | st.datetimes() | st.booleans(), secrets)
def test_a_value_is_hidden_where_its_text_is_not_shown(value: Any, live: list[str]) -> None:
    with _situation(live, ()):
        hidden = redact_text(str(value)) != str(value)
        for shown in (redact(value), *redact([value]), redact({"a": value})["a"], *redact((value,))):
            assert shown == REDACTED if hidden else shown is value


@pytest.mark.parametrize("value", TEXTLESS[:1] + TEXTLESS[2:4] + TEXTLESS[5:7] + TEXTLESS[8:10], ids=str)
def test_a_secret_that_was_read_as_a_number_or_uuid_is_hidden(value: Any) -> None:
    with _situation(SECRETS, ()):
        assert redact({"client_id": value, "seen": {value}}) == {"client_id": REDACTED, "seen": {REDACTED}}
        assert PermanentError("No.", context={"client": value}).context == {"client": REDACTED}


@pytest.mark.parametrize("known", [ID, ID.upper(), ID.replace("-", "")])
def test_a_uuid_is_found_in_each_of_its_forms(known: str) -> None:
    value = uuid.UUID(ID)
    with _situation([known], ()):
        for form in (ID, ID.upper(), value.hex, value.hex.upper()):
            assert redact_text(f"<{form}>") == f"<{REDACTED}>"
        assert redact([value, uuid.UUID(int=7)]) == [REDACTED, uuid.UUID(int=7)]


def test_numbers_are_not_made_texts_of_where_no_secret_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveValues()
    live.add("not a number")
    monkeypatch.setattr(live, "replace", None)
    data = [1.5, uuid.UUID(int=7), datetime.datetime.max, True, None]
    assert PlainCopier(live, ()).items(data, 1) == data


ODD = [
    Colour.RED, Word("hunter2"), b"password=1", (1, "x"), ("password", "x"), {"x"}, Login("u", "p"), ValueError("a"),
    Shows(), Shows, OrderedDict(password=1), {Colour.PASSWORD: 1}, {Word("password"): 1}, {b"password": 1}, {1: 2},
    [b"cookie", "x"], [Colour.PASSWORD, "x"], {"name": Colour.PASSWORD, "value": 1}, 1j, datetime.datetime.max,
    decimal.Decimal(10) ** 15, uuid.UUID(int=1), datetime.UTC, {Colour.RED: 1}, {Word("id"): 1}, {"password": Shows()},
    [["Cookie", "x"], ["Accept", "y"]], {"a": ["Cookie", "x"]}, {"value": Shows(), "name": "DB_PASSWORD"},
]  # fmt: skip
any_values = st.recursive(leaves | st.sampled_from(ODD), _containers, max_leaves=15)


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


def general(data: Any) -> Any:
    """What the general walk gives."""
    return Walk(redaction._live, redact_text).visit(data)


@hypothesis_settings(unhurried, max_examples=300)
@given(any_values, secrets, extras)
def test_the_quick_way_gives_what_the_general_walk_gives(data: Any, live: list[str], extra: tuple[str, ...]) -> None:
    with _situation(live, extra):
        assert _exactly(redact(data)) == _exactly(general(data))


def _exactly(data: Any) -> Any:
    """With types, and the order of keys."""
    if isinstance(data, dict):
        return dict, [(_exactly(key), _exactly(value)) for key, value in data.items()]
    if isinstance(data, (list, tuple)):
        return type(data), [_exactly(part) for part in data]
    return type(data), repr(data)


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_what_is_odd_is_left_to_the_general_walk(odd: Any) -> None:
    redact({"red": 1, "id": 2, "password": 3})
    for data in (odd, [odd], {"a": 1, "b": odd}, {"password": odd}, {"value": odd, "key": "API_KEY"}, [1, [odd, odd]]):
        assert _exactly(redact(data)) == _exactly(general(data))


def test_no_code_of_the_values_runs_twice() -> None:
    class Counts:
        calls = 0

        def __redacted__(self) -> int:
            self.calls += 1
            return self.calls

    assert redact({"password": Counts(), "a": Counts(), "b": (1,)}) == {"password": 1, "a": 1, "b": (1,)}


@unhurried
@given(json_values, secrets, extras)
def test_the_copy_shares_nothing_that_can_change(data: Any, live: list[str], extra: tuple[str, ...]) -> None:
    with _situation(live, extra):
        given_parts = {id(part) for part in _containers_in(data)}
        assert not any(id(part) in given_parts for part in _containers_in(redact(data)))


def _containers_in(data: Any) -> Iterator[Any]:
    if isinstance(data, (dict, list)):
        yield data
        for part in data.values() if isinstance(data, dict) else data:
            yield from _containers_in(part)


@pytest.mark.parametrize("wrap", [lambda data: [data], lambda data: {"a": data}, lambda data: [{"a": [data, data]}]])
def test_at_the_limit_of_depth_both_give_the_same(wrap: Callable[[Any], Any]) -> None:
    data: Any = {"bottom": "password=1"}
    for level in range(110):
        data = wrap(data) if level < 5 or level > 105 else [data]
        if level > 90:
            assert redact(data) == general(data)


def test_cycles_are_cut_as_in_the_general_walk() -> None:
    loop: dict[str, Any] = {"shared": ["x"]}
    loop["list"] = [loop["shared"], loop["shared"], {"again": loop}]
    assert redact(loop) == general(loop)
    assert redact(loop)["list"] == [["x"], ["x"], {"again": "[CYCLE]"}]


@pytest.mark.parametrize(
    "data",
    [
        {"value": 250},
        {"invoice": {"id": "inv_123", "total": 12.5, "lines": ["a", "b"], "at": datetime.datetime.max}},
        {"headers": {"Authorization": "Bearer abcdef", "X-Api-Key": "$secret:KEY"}, "url": "https://u:p@host"},
        explain({"and": [{">": [{"var": "a.b"}, 1]}, {"in": [{"var": "c"}, ["x", "password=1"]]}]}, {"a": {"b": 2}}),
        [{"name": "DB_PASSWORD", "value": ["x"]}, {"name": "HOME", "value": "hunter2"}],
    ],
)
def test_what_passes_through_all_day_takes_the_quick_way(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    remember("hunter2")
    try:
        thorough = general(data)
        monkeypatch.setattr(redaction, "Walk", None)
        assert redact(data) == thorough
    finally:
        forget("hunter2")


# -- what is remembered of keys ---------------------------------------------------------------------------------------


def test_a_key_is_judged_anew_when_the_secrets_or_the_settings_change() -> None:
    data = {"speak friend": "x", "shoe": 41}
    for _ in range(2):
        assert redact(data) == data
        with _situation(["speak friend"], ()):
            assert redact(data) == {REDACTED: "x", "shoe": 41}
        with _situation([], EXTRA):
            assert redact(data) == {"speak friend": "x", "shoe": REDACTED}


def test_the_settings_are_read_once() -> None:
    reads = []

    def provider() -> settings.Settings:
        reads.append(1)
        return settings.parse({"REDACT_KEYS": EXTRA})

    settings.configure(provider)
    try:
        redact({"a": ["x=1", {"b": "y: 2", "name": "z", "value": "</x>"}], "shoes": "z=3", "shoe": 4})
        assert len(reads) == 1
    finally:
        settings.configure(None)


def test_only_so_many_keys_are_remembered_and_no_long_ones() -> None:
    copier = PlainCopier(LiveValues(), ())
    for number in range(plain._MOST_KEYS + 10):
        assert copier.mapping({f"k{number}": 1, f"password{number}": 2}, 1)[f"password{number}"] == REDACTED
    copier.mapping({"k" * 65: 1, "password" * 10: 1}, 1)
    assert 0 < len(copier._shown) <= plain._MOST_KEYS
    assert 0 < len(copier._hidden) <= plain._MOST_KEYS
    assert max(map(len, copier._shown | copier._hidden)) <= plain._LONGEST_KEY


def test_a_key_that_must_be_changed_is_left_to_the_general_walk() -> None:
    copier = PlainCopier(LiveValues(), EXTRA)
    for _ in range(2):
        with pytest.raises(NotPlainError):
            copier.mapping({"shoe=41": 1}, 1)


# -- what a text cannot hold ------------------------------------------------------------------------------------------


def _all_patterns(text: str) -> str:
    """Try every pattern on a text, without asking whether it is worth it."""
    for _, pattern in shapes._TOKEN_PATTERNS:
        text = pattern.sub(shapes._token, text)
    text = shapes._USER_INFO.sub(shapes._user_info, shapes._PRIVATE_KEY.sub(REDACTED, text))
    lowered = text.lower()
    text = shapes._SCHEMED.sub(shapes._schemed, text)
    if may_hold_secret_key(lowered):  # this one is part of the rule
        text = redact_named(text, extra_keys())
        if "</" in text:
            text = redact_elements(text, extra_keys())
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
    forms = {form for value in kept for form in (*encodings(value), *(core for core, _, _ in base64_cores(value)))}
    bare = text.replace("\\", "")
    assert (live.replace(text, "\0") != text) is any(form in bare for form in forms)
    assert live.numbers == {int(value) for value in kept if value.isdecimal()}
