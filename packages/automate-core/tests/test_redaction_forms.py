"""The forms in which secrets really turn up: escaped again and again, in lines, in parts, and cut."""

from __future__ import annotations

import base64
import html
import json
import re
import reprlib
import string
import sys
import textwrap
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Literal
from urllib.parse import quote

import pytest
from automate_core._redaction import values as live_values
from automate_core._redaction.cuts import Cuts
from automate_core._redaction.encodings import base64_cores, encodings
from automate_core._redaction.parts import parts
from automate_core._redaction.values import _WRAPPED, LiveValues
from automate_core.redaction import MIN_LENGTH, REDACTED, forget, redact, redact_text, remember
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

PASSWORD = "Grüße'an\"alle\\ <b>&100%\nund ✓ die zweite Zeile"
TOKEN = "Zk9wQ2l0cm9uLWxlbW9u7Qx3"
BODY = base64.encodebytes(bytes(range(200))).decode()
KEY = f"-----BEGIN PRIVATE KEY-----\n{BODY}-----END PRIVATE KEY-----\n"
DOCUMENT = json.dumps({"type": "service_account", "project": "shop", "private_key": KEY, "client": {"secret": TOKEN}})


@pytest.fixture
def known(request: pytest.FixtureRequest) -> Iterator[str]:
    """A secret that the process knows."""
    remember(request.param)
    yield request.param
    forget(request.param)


def knows(*values: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("known", values, indirect=True, ids=lambda value: value[:12])


ESCAPES: dict[str, Callable[[str], str]] = {
    "json": json.dumps,
    "json, not ascii": lambda text: json.dumps(text, ensure_ascii=False),
    "php": lambda text: json.dumps(text).replace("/", "\\/"),
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
}


@given(st.lists(st.sampled_from(sorted(ESCAPES)), min_size=1, max_size=5))
@hypothesis_settings(deadline=None)
def test_however_often_a_text_is_escaped(ways: list[str]) -> None:
    text = f"it's: {PASSWORD}."
    for way in ways:
        text = ESCAPES[way](text)
    live = LiveValues()
    live.add(PASSWORD)
    clean = live.replace(text, REDACTED)
    assert not any(part in clean for part in ("alle", "100%", "zweite", "Gr"))
    assert REDACTED in clean


SPECIAL = "ab&cd<ef>gh'ij\"kl+mn=op\\qr`st-uv;ü"


@pytest.mark.parametrize("characters", ["&<>", "&<>'", "&<>'=", "&<>'\"", "&<>'\"+`", "&<>'\"=-;`\\"])
@pytest.mark.parametrize("code", ["\\u{:04x}", "\\u{:04X}"])
def test_json_that_has_more_by_number_than_it_must(characters: str, code: str) -> None:
    written = "".join(code.format(ord(one)) if one in characters else json.dumps(one)[1:-1] for one in SPECIAL)
    assert json.loads(f'"{written}"') == SPECIAL
    remember(SPECIAL)
    try:
        assert redact_text(f'{{"it": "{written}"}}') == f'{{"it": "{REDACTED}"}}'
        assert redact_text(json.dumps([f"<{written}>"])) == f'["<{REDACTED}>"]'
        encoded = base64.b64encode(f'["{written}"]'.encode()).decode()
        assert REDACTED in redact_text(f"sent {encoded}")
    finally:
        forget(SPECIAL)


@pytest.mark.parametrize("apostrophe", ["&#x27;", "&#39;", "&#039;", "&apos;"])
@pytest.mark.parametrize("quotes", ["&quot;", "&#34;"])
def test_html_and_xml_name_quotes_differently(apostrophe: str, quotes: str) -> None:
    remember(SPECIAL)
    try:
        marked = html.escape(SPECIAL).replace("&#x27;", apostrophe).replace("&quot;", quotes)
        assert redact_text(f"<b>{marked}</b>") == f"<b>{REDACTED}</b>"
    finally:
        forget(SPECIAL)


@knows("https://hooks.example.com/T0/abc+def")
def test_a_url_within_a_url_within_a_url(known: str) -> None:
    twice = quote(quote(known, safe=""), safe="")
    assert redact_text(f"?next={twice}&page=2") == f"?next={REDACTED}&page=2"
    assert redact_text(twice.replace("%252F", "%252f").replace("%253A", "%253a").replace("%252B", "%252b")) == REDACTED


@knows(PASSWORD)
@pytest.mark.parametrize(
    "text",
    [
        repr(html.escape(PASSWORD).encode()),
        json.dumps(html.escape(PASSWORD).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")),
        base64.b64encode(b"shop:" + json.dumps(PASSWORD).encode()).decode(),
        repr([f"curl -u '{PASSWORD.replace(chr(39), chr(39) + chr(34) + chr(39) + chr(34) + chr(39))}'"]),
    ],
    ids=["html in repr of bytes", "html of jinja", "json in base64", "shell"],
)
def test_one_form_within_another(known: str, text: str) -> None:
    clean = redact_text(text)
    assert "alle" not in clean
    assert base64.b64encode(b"alle") not in clean.encode()
    assert REDACTED in clean


def test_credentials_in_latin_1_as_headers_have_them() -> None:
    remember("schöner-größer-weiter")
    try:
        raw = "shop:schöner-größer-weiter".encode("latin-1")
        assert redact_text(f"sent {base64.b64encode(raw).decode()}").partition("sent c2hvc")[2] != ""
        assert base64.b64encode(raw).decode()[8:] not in redact_text(f"sent {base64.b64encode(raw).decode()}")
        assert redact(raw) == b"shop:" + REDACTED.encode()
        assert redact_text(quote(raw)) == f"shop%3A{REDACTED}"
    finally:
        forget("schöner-größer-weiter")


@knows(TOKEN)
@pytest.mark.parametrize("offset", range(3))
def test_base64_within_a_url(known: str, offset: int) -> None:
    raw = b"\xff\xff\xff"[:offset] + known.encode() + b"\xfe\xff"
    clean = redact_text(f"?auth={quote(base64.b64encode(raw).decode(), safe='')}&page=2")
    assert REDACTED in clean
    assert clean.endswith("&page=2")


@knows(KEY, TOKEN)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\\n", "\\\\r\\\\n", "%0A", "\n  | "])
def test_base64_in_lines(known: str, line_end: str) -> None:
    wrapped = base64.encodebytes(b"Dear all, " * 9 + known.encode() + b", yours").decode().strip()
    text = f"first line\n{wrapped}\nlast line".replace("\n", line_end)
    clean = redact_text(text)
    assert clean.startswith("first line")
    assert clean.endswith("last line")
    assert not any(line in clean for line in wrapped.splitlines()[1:-1])


def test_other_base64_in_lines_stays() -> None:
    remember(TOKEN)
    try:
        text = f"a picture:\n{base64.encodebytes(bytes(range(250))).decode()}\nend"
        assert redact_text(text) == text
    finally:
        forget(TOKEN)


GIVES_BACK = re.compile(_WRAPPED.pattern.replace("}+", "}"))
"""Tries shorter lines too, which costs seventeen times as much where a line has no end."""


@given(
    st.lists(
        st.sampled_from(["A" * 16, "B" * 58, "C" * 60, "D" * 76, "e", "\n", "\r\n", "\\n", "%0A", "\n   |", "=", "-"]),
        max_size=12,
    ).map("".join)
)
def test_lines_of_base64_are_read_once_and_no_other_ones(text: str) -> None:
    assert _WRAPPED.pattern != GIVES_BACK.pattern
    assert [one.span() for one in _WRAPPED.finditer(text)] == [one.span() for one in GIVES_BACK.finditer(text)]


# -- parts ------------------------------------------------------------------------------------------------------------


@knows(PASSWORD, KEY)
def test_lines_that_are_indented_or_quoted_one_by_one(known: str) -> None:
    clean = redact_text(textwrap.indent(known, "    > "))
    lines = [line for line in known.splitlines() if not line.startswith("-----")]
    assert not any(line in clean for line in lines)
    try:
        raise ExceptionGroup("several", [ValueError(known)])
    except ExceptionGroup as error:
        clean = redact_text("".join(traceback.format_exception(error)))
    assert not any(line in clean for line in lines)


@knows(DOCUMENT)
def test_fields_of_a_document_that_have_the_names_of_secrets(known: str) -> None:
    assert redact_text(f"key {KEY}") == f"key {REDACTED}"
    assert redact_text(f"sent {TOKEN}") == f"sent {REDACTED}"
    assert redact_text("a service_account of the project shop") == "a service_account of the project shop"


def test_the_password_of_a_url() -> None:
    remember("postgresql://app:s%2Fcret%40pass@db/orders")
    try:
        assert redact_text("authentication failed: s/cret@pass") == f"authentication failed: {REDACTED}"
        assert redact_text("s%2Fcret%40pass") == REDACTED
        assert redact_text("app at db/orders") == "app at db/orders"
    finally:
        forget("postgresql://app:s%2Fcret%40pass@db/orders")


def test_what_many_secrets_have_in_common_is_entered_once() -> None:
    live = LiveValues()
    for number in range(100):
        live.add(f"-----BEGIN KEY-----\nProc-Type: 4,ENCRYPTED\n{number:064}\n-----END KEY-----")
    shared = [pattern for bucket in live._tiers[0]._index.values() for pattern in bucket if "Proc-Type" in pattern.text]
    assert sum(pattern.text == "Proc-Type: 4,ENCRYPTED" for pattern in shared) == live._tiers[0].step


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@knows("pässwörd-für-Zoë", unicodedata.normalize("NFD", "pässwörd-für-Zoë"))
def test_both_normal_forms_of_unicode(known: str, form: Literal["NFC", "NFD"]) -> None:
    text = unicodedata.normalize(form, known)
    assert redact_text(f"<{text}>") == f"<{REDACTED}>"
    assert redact_text(quote(text)) == REDACTED
    assert redact_text(f"'{text[:12]}…'") == f"'{REDACTED}…'"
    assert base64.b64encode(text.encode()).decode()[4:12] not in redact_text(base64.b64encode(text.encode()).decode())


# -- cut --------------------------------------------------------------------------------------------------------------


class _Model(BaseModel):
    number: int


@knows(TOKEN * 3)
def test_what_pydantic_shortens(known: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _Model.model_validate({"number": known})
    assert known[:20] in str(caught.value)  # else there is nothing to see here
    clean = redact_text(caught.value)
    assert known[:8] not in clean
    assert known[-8:] not in clean


@knows(TOKEN * 3)
@pytest.mark.parametrize(
    "text",
    [
        reprlib.repr(TOKEN * 3),
        f"{(TOKEN * 3)[:17]}…",
        f"'{(TOKEN * 3)[:17]}\\u2026'",
        repr(f"{(TOKEN * 3)[:17]}…".encode()),
        f"…{(TOKEN * 3)[-17:]} is wrong",
        f"a... b... {(TOKEN * 3)[:9]}... c",
    ],
)
def test_what_an_ellipsis_leaves(known: str, text: str) -> None:
    clean = redact_text(text)
    assert REDACTED in clean
    assert not any(known[start : start + 8] in clean for start in range(len(known) - 7))


@knows(TOKEN)
@pytest.mark.parametrize("text", ["Zk9wQ2l… is short", "and so on... and so on…", "u2026 is no ellipsis here"])
def test_what_stays_beside_an_ellipsis(known: str, text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    ("known", "text", "clean"),
    [
        ("https://hooks.example.com/T0/abcdefgh", "see https://... and https%3A%2F%2F…", None),
        ("https://hooks.example.com/T0/abcdefgh", "POST https://hooks.ex…", f"POST https://{REDACTED}…"),
        (DOCUMENT, '{"type": ...} and {"type":..., and {&quot;type&quot;: &quot;...', None),
        (DOCUMENT, f'{DOCUMENT[:30]}... and ...{DOCUMENT[-20:]}', f'{{"type": "{REDACTED}... and ...{REDACTED}"}}}}'),
        (KEY, "-----BEGIN KEY-----... and -----BEGIN PRIVATE...", None),
        (KEY, "...-----END PRIVATE KEY-----", None),
        (KEY, f"...{KEY[-40:]}", f"...{REDACTED}-----END PRIVATE KEY-----\n"),
    ],
    indirect=["known"],
    ids=lambda value: str(value)[:24],
)  # fmt: skip
def test_what_tells_nothing_may_stand_beside_an_ellipsis(known: str, text: str, clean: str | None) -> None:
    assert redact_text(text) == (text if clean is None else clean)


def work(run: Callable[[], object]) -> int:
    """Count the lines of Python that run."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def test_secrets_that_begin_and_end_alike_cost_no_more_beside_an_ellipsis() -> None:
    def costs(count: int) -> tuple[int, int, int]:
        cuts = Cuts()
        alike = [f"the same beginning {number:06} the same end" for number in range(count)]
        for one in alike:
            cuts.add([one], [one])
        text = "the same beginning of … and the same end"
        one_more = ["the same beginning 000000 and the same end"]
        return (
            work(lambda: cuts.add(one_more, one_more)),
            work(lambda: cuts.find(text)),
            work(lambda: cuts.discard(one_more, one_more)),
        )

    assert costs(1000) == costs(10)


# -- dropped ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([PASSWORD, TOKEN, KEY, DOCUMENT, "aaaaaaaaaaaa", "aaaaaaaaaaaab"]), unique=True))
@hypothesis_settings(deadline=None)
def test_of_values_that_are_dropped_nothing_stays(known: list[str]) -> None:
    live = LiveValues()
    for value in known:
        live.add(value)
    for value in known:
        live.discard(value)
    assert not any(tier._index or tier._known for tier in live._tiers)
    assert not live._cuts._heads
    assert not live._cuts._tails
    assert (live.shortest, live.textless, live.numbers) == (sys.maxsize, False, frozenset())


def test_to_drop_a_value_costs_no_more_among_many() -> None:
    def cost(count: int) -> int:
        live = LiveValues()
        for number in range(count):
            live.add(f"{number:04} {TOKEN}")
        return work(lambda: live._drop(f"0000 {TOKEN}"))

    assert cost(200) <= 1.5 * cost(20)


def test_what_two_values_have_in_common_stays_until_both_are_dropped() -> None:
    live = LiveValues()
    for value in (KEY, DOCUMENT):  # which holds the key
        live.add(value)
    live.discard(KEY)
    assert live.replace(f"<{KEY}>", "*") == "<*>"
    assert live.replace(f"{BODY[:20]}...", "*") == "*..."
    live.discard(DOCUMENT)
    assert live.replace(f"<{KEY}> {BODY[:20]}...", "*") == f"<{KEY}> {BODY[:20]}..."


# -- against the simplest way -----------------------------------------------------------------------------------------

BASE64 = string.ascii_letters + string.digits + "+/-_"
ALPHABET = "ab\"'\\/+%ü\n"


def is_long(value: str) -> bool:
    return len(value.strip().replace("\\", "")) >= MIN_LENGTH


values = st.text(ALPHABET, min_size=6, max_size=14).filter(is_long)


def naive(known: list[str], text: str) -> set[int]:
    """Return which characters of a text without backslashes belong to a form of a value."""
    covered: set[int] = set()
    for value in known:
        forms = {(form, False, False) for form in encodings(value)} | set(base64_cores(value))
        for form, before, after in forms:
            start = text.find(form)
            while start >= 0:
                end = start + len(form)
                covered.update(range(start, end))
                if before and start and text[start - 1] in BASE64:
                    covered.add(start - 1)
                if after and end < len(text) and text[end] in BASE64:
                    rest = text[end + 1 :]
                    covered.update(range(end, end + 1 + len(rest) - len(rest.lstrip("="))))
                start = text.find(form, start + 1)
    return covered


@st.composite
def texts(draw: st.DrawFn, known: list[str]) -> str:
    pieces = draw(st.lists(st.sampled_from(known) | st.text(ALPHABET + "xyz", max_size=6), max_size=6))
    encoders: list[Callable[[str], str]] = [str, json.dumps, repr, quote, html.escape]
    encoders.append(lambda text: base64.b64encode(text.encode()).decode())
    chosen: list[Callable[[str], str]] = [draw(st.sampled_from(encoders)) for _ in pieces]
    return "-".join(encode(piece) for encode, piece in zip(chosen, pieces, strict=True))


@given(st.lists(values, min_size=1, max_size=3), st.text(ALPHABET, max_size=5), st.data())
@hypothesis_settings(deadline=None)
def test_what_a_value_may_begin_with_is_known(known: list[str], before: str, data: st.DataObject) -> None:
    live = LiveValues()
    for value in known:
        live.add(value)
    form = data.draw(st.sampled_from(sorted(encodings(known[0]))))
    begun = form[: data.draw(st.integers(1, len(form) - 1))]
    kept = live.unfinished(before + begun)
    assert kept >= len(begun)
    live.clear()
    assert live.unfinished(before + begun) == 0


@given(st.lists(values, min_size=1, max_size=3), st.data())
@hypothesis_settings(deadline=None)
@example(known=["aaaaaa", "aaaaaab"], data=None)
def test_it_hides_what_a_naive_replacement_of_every_form_hides(known: list[str], data: st.DataObject | None) -> None:
    text = "x aaaaaaab x" if data is None else data.draw(texts(known)).replace("\\", "")
    live = LiveValues()
    for value in known:
        live.add(value)
    covered = naive([part for value in known for part in parts(value) if is_long(part)], text)
    left = live.replace(text, "\0").replace("\0", "")
    assert left == "".join(character for place, character in enumerate(text) if place not in covered)


def test_whoever_uses_a_known_value_does_not_wait_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    live = live_values.LiveValues()
    learn = live_values._learn

    def watched(value: str) -> live_values._Learned:
        assert not live._lock.locked()
        return learn(value)

    monkeypatch.setattr(live_values, "_learn", watched)
    assert live.add("correct-horse-battery")
    assert "battery" not in live.replace("it is correct-horse-battery", "-")
