"""Live secret values, found in every encoding.

Each value is expanded into the texts it may appear as. Backslashes do not count, neither in them nor in what is
searched: however often a text is escaped as in JSON or Python, backslashes are all that this adds to it.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
import threading
import uuid
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from automate_core._redaction.cuts import LEAST, Cuts
from automate_core._redaction.parts import ending, opening, parts
from automate_core._redaction.windows import Key, Windows

__all__ = ["MAX_LENGTH", "MIN_LENGTH", "LiveValues", "encodings"]

MIN_LENGTH = 6
"""Shorter values are not searched for: they would be found in ordinary words and numbers."""

MAX_LENGTH = 65_536
"""What is longer is no secret that can be resolved: each of its lines is searched for in every encoding."""

_HEX_ESCAPE = re.compile(r"%[0-9A-F]{2}|\\u[0-9a-f]{4}|\\x[0-9a-f]{2}")

_JSON_ESCAPED = ("&<>", "&<>'", "&<>'=", "&<>'\"", "&<>'\"+`", "\\&<>'\"=-;`")
"""Which characters encoders write as ``\\u0026`` although JSON need not: Go and Django, Jinja, Gson, PHP, .NET, and
Django for scripts."""

_APOSTROPHES, _QUOTES = ("&#x27;", "&#39;", "&#039;", "&apos;"), ("&quot;", "&#34;")
"""What HTML and XML have for them."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(-?)(?:[0-9a-fA-F]{4}\1){3}[0-9a-fA-F]{12}")
_TEXTLESS = re.compile(r"[0-9a-fA-F+\-.:/ ()jTE]*[0-9][0-9a-fA-F+\-.:/ ()jTE]*")
"""What numbers, dates and UUIDs are written with."""

_URL_SAFE = ("", "/", "!'()*~", "!$&'()*+,;=:@/~", "*-._")
"""What encoders leave as it is: everything quoted, paths, ``encodeURIComponent``, URL sub-delimiters, HTML forms."""


_BREAK = r"(?:\r?\n[\s|]{0,80}|(?:\\+r)?\\+n|(?:%0[Dd])?%0[Aa])"
_WRAPPED = re.compile(rf"(?:[A-Za-z0-9+/]{{60,76}}+{_BREAK})+[A-Za-z0-9+/]*={{0,2}}")
"""Base64 in lines, as in mail. The ends of lines may be escaped, and what follows them indented.

What has been read of a line is not given back: in a long line without an end, each place would be tried for each of the
lengths.
"""
_WRAPPED_LENGTH = 61
_LONGEST_HELD = 4096
"""Characters at the end of a text with which a value may begin."""
_LONGEST_LINES = 8192
"""The same in base64 in lines."""

_LINE_END = re.compile(_BREAK)


def encodings(value: str) -> set[str]:
    """Return the texts as which a value may appear, without those that base64 makes of it.

    Args:
        value: The value.

    Returns:
        Raw, JSON, Python ``repr``, URL, HTML, shell and hex forms, of UTF-8 and of Latin-1, all without backslashes.
    """
    return {form for form in _forms(value) if len(form) >= MIN_LENGTH}


def _forms(value: str) -> set[str]:
    marked = html.escape(value, quote=False)
    texts = {value, value.strip(), marked}
    texts.update(marked.replace("'", one).replace('"', two) for one in _APOSTROPHES for two in _QUOTES)
    texts.update(_uuids(value.strip()))
    texts.add(value.replace("'", "'\"'\"'"))  # as the shell has it between quotes
    found = {escaped for text in texts for escaped in _escaped(text)}
    for raw in _in_bytes(value):
        found.update({raw.hex(), raw.hex().upper(), "".join(f"%{byte:02X}" for byte in raw)})
        found.update(quote(raw, safe=safe) for safe in _URL_SAFE)
        found.update({quote_plus(raw), quote_plus(raw, safe="*")})
    found.update([_HEX_ESCAPE.sub(_swap_case, form) for form in found if "%" in form or "\\" in form])
    found.update([form.replace("%", "%25") for form in found if "%" in form])  # encoded twice
    return {form.replace("\\", "") for form in found}


def _uuids(value: str) -> Iterator[str]:
    """Yield the forms of a UUID: with and without hyphens, in lower and upper case."""
    if _UUID.fullmatch(value):
        for form in (str(uuid.UUID(value)), value.replace("-", "")):
            yield from (form.lower(), form.upper())


def _escaped(text: str) -> Iterator[str]:
    yield text
    yield repr(text)[1:-1]
    yield from _in_json(text)
    for raw in _in_bytes(text):
        yield raw.decode("utf-8", "surrogateescape")
        yield repr(raw)[2:-1]


def _in_json(value: str) -> set[str]:
    dumped = [json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)]
    found = set(dumped)
    for characters in _JSON_ESCAPED:
        if not set(characters).isdisjoint(value):
            found.update(_escape(form, characters, code) for form in dumped for code in ("\\u%04x", "\\u%04X"))
    return found


def _escape(form: str, characters: str, code: str) -> str:
    """Write characters of a JSON text by their numbers."""
    for character in characters:
        form = form.replace(json.dumps(character)[1:-1], code % ord(character))
    return form


def _in_bytes(value: str) -> Iterator[bytes]:
    """Yield a value in UTF-8, and in Latin-1 where that is something else: credentials in headers are sent so."""
    yield value.encode("utf-8", "surrogatepass")
    if not value.isascii():
        try:
            yield value.encode("latin-1")
        except UnicodeEncodeError:
            return


def _swap_case(match: re.Match[str]) -> str:
    text = match.group()
    if text[0] == "%":
        return text.lower()
    return text[:2] + text[2:].upper()


def _base64_cores(value: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield what every base64 text that holds the value has in common, for each of the three alignments.

    With it: whether the character before, and the one after, hold some bits of the value too. What was encoded may be
    JSON with the value in it.
    """
    for raw in {*_in_bytes(value), *(form.encode("utf-8", "surrogatepass") for form in _in_json(value))}:
        for offset in range(3):
            encoded = base64.b64encode(b"\0" * offset + raw).decode()
            bits = (offset + len(raw)) * 8
            core = encoded[(offset * 8 + 5) // 6 : bits // 6]
            if len(core) >= MIN_LENGTH:
                for form in _base64_forms(core):
                    yield form, offset > 0, bits % 6 > 0


def _base64_forms(core: str) -> set[str]:
    """Return a base64 text, its URL-safe form, and what URL encoding makes of it."""
    others = (("-", "_"), ("%2B", "%2F"), ("%2b", "%2f"))
    return {core, *(core.replace("+", plus).replace("/", slash) for plus, slash in others)}


def _length(value: str) -> int:
    return len(value.strip().replace("\\", ""))


class _Facts(NamedTuple):
    """What is known of a value: the length of its shortest form, what it may be beside a text, which number it is."""

    shortest: int
    textless: bool
    number: int | None


class _Forms(NamedTuple):
    """What values are found by, in order: all of it, and what has several lines."""

    version: int
    forms: list[str]
    of_lines: list[str]


def _end_that_begins(forms: list[str], text: str) -> int:
    """Return the length of the longest end of a text with which one of the forms begins, and goes on; 0 for none."""
    for start in range(len(text)) if forms else ():
        rest = text[start:]
        place = bisect_right(forms, rest)
        if place < len(forms) and forms[place].startswith(rest):
            return len(rest)
    return 0


def _number(value: str) -> int | None:
    return int(value) if value.isdecimal() and value.isascii() and len(value) < 100 else None


def _is_textless(value: str) -> bool:
    return any(_TEXTLESS.fullmatch(part) for part in parts(value))


def _patterns(value: str) -> set[Key]:
    """Return what a value is found by."""
    found: set[Key] = set()
    for part in _long_parts(value):
        found.update((form, False, False) for form in encodings(part))
        found.update(_base64_cores(part))
    return found


def _ends(value: str) -> tuple[set[str], set[str]]:
    """Return what of a value may stand before an ellipsis, and after one, without what tells nothing."""
    heads: set[str] = set()
    tails: set[str] = set()
    for part in _long_parts(value):
        forms, openings, endings = encodings(part), _forms(opening(part)), _forms(ending(part))
        for form in forms:
            heads.add(form.removeprefix(max((one for one in openings if form.startswith(one)), key=len, default="")))
            tails.add(form.removesuffix(max((one for one in endings if form.endswith(one)), key=len, default="")))
    return heads, tails


class _Learned(NamedTuple):
    """All that a value is found by."""

    keys: set[Key]
    heads: set[str]
    tails: set[str]
    facts: _Facts


def _learn(value: str) -> _Learned:
    keys, (heads, tails) = _patterns(value), _ends(value)
    facts = _Facts(min(len(text) for text, _, _ in keys), _is_textless(value), _number(value))
    return _Learned(keys, heads, tails, facts)


def _long_parts(value: str) -> list[str]:
    return [part for part in parts(value) if _length(part) >= MIN_LENGTH]


class LiveValues:
    """The secret values that are known to this process.

    Args:
        limit: How many are kept. Beyond it the tenth that was used longest ago is forgotten.

    Attributes:
        numbers: Those of the values that are numbers.
        textless: Whether one of them may be written by a number, a date or a UUID.
        shortest: The length of the shortest text in which a whole value can be found.
        version: Changes with the values.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.numbers: frozenset[int] = frozenset()
        self.textless = False
        self.shortest = sys.maxsize
        self.version = 0
        self._sorted = _Forms(0, [], [])
        self._reset()

    def _reset(self) -> None:
        self._values: dict[str, _Facts] = {}
        self._tiers, self._cuts = self._new_tiers(), Cuts()
        self._describe()

    @staticmethod
    def _new_tiers() -> tuple[Windows, Windows]:
        return Windows(8, 4), Windows(MIN_LENGTH - 1, 2)  # the longest patterns first

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: str) -> bool:
        """Search for a value from now on.

        Args:
            value: The value.

        Returns:
            Whether it is searched for; False for one that is shorter than :data:`MIN_LENGTH` without backslashes.
        """
        if _length(value) < MIN_LENGTH:
            return False
        if self._touch(value):
            return True
        learned = _learn(value)  # which takes its time, and keeps nobody who uses another value waiting
        with self._lock:
            if value in self._values:
                return True
            self._enter(value, learned)
            if len(self._values) > self._limit:
                for old in list(self._values)[: len(self._values) // 10]:
                    self._drop(old)
                self._describe()
        return True

    def _touch(self, value: str) -> bool:
        """Note that a value is used, and return whether it is known."""
        with self._lock:
            facts = self._values.pop(value, None)
            if facts is not None:
                self._values[value] = facts
            return facts is not None

    def discard(self, value: str) -> None:
        """Search for a value no longer; nothing happens where it is unknown.

        Args:
            value: The value.
        """
        with self._lock:
            if value in self._values:
                self._drop(value)
                self._describe()

    def clear(self) -> None:
        """Forget every value."""
        with self._lock:
            self._reset()

    def _enter(self, value: str, learned: _Learned) -> None:
        for key in learned.keys:
            self._tier(key).add(key)
        self._cuts.add(learned.heads, learned.tails)
        facts = self._values[value] = learned.facts
        self.shortest = min(self.shortest, facts.shortest)
        self.textless = self.textless or facts.textless
        if facts.number is not None:
            self.numbers |= {facts.number}
        self.version += 1

    def _drop(self, value: str) -> None:
        for key in _patterns(value):
            self._tier(key).discard(key)
        self._cuts.discard(*_ends(value))
        del self._values[value]

    def _tier(self, key: Key) -> Windows:
        return next(tier for tier in self._tiers if len(key[0]) >= tier.shortest)

    def _describe(self) -> None:
        """Tell anew what the values have in common, after some have gone."""
        facts = self._values.values()
        self.shortest = min((one.shortest for one in facts), default=sys.maxsize)
        self.textless = any(one.textless for one in facts)
        self.numbers = frozenset(one.number for one in facts if one.number is not None)
        self.version += 1

    def replace(self, text: str, replacement: str) -> str:
        """Replace every live value in a text, in whichever encoding.

        Args:
            text: The text.
            replacement: What stands in its place.
        """
        if len(text) < self.shortest and (len(text) <= LEAST or text.isalnum()):
            return text
        longer, shorter = self._tiers
        bare = text.replace("\\", "") if "\\" in text else text
        spans = longer.find(bare) + shorter.find(bare) + self._cuts.find(bare)
        if spans and bare is not text:
            spans = _among_backslashes(spans, text)
        spans += self._wrapped(text)
        if not spans:
            return text
        pieces, position = [], 0
        for start, end in sorted(spans):
            if start >= position:
                pieces += [text[position:start], replacement]
            position = max(position, end)
        pieces.append(text[position:])
        return "".join(pieces)

    def unfinished(self, text: str) -> int:
        """Return how many characters at the end of a text a live value may begin with, of which the rest is missing.

        Args:
            text: The text.
        """
        known = self._sorted
        if known.version != self.version:
            known = self._sorted = self._in_order()
        end = text[-_LONGEST_HELD:]
        bare = end.replace("\\", "")
        forms = known.of_lines if bare.endswith("\n") else known.forms
        start = len(bare) - _end_that_begins(forms, bare)
        begun = len(end) - _among_backslashes([(start, len(bare))], end)[0][0] if start < len(bare) else 0
        return max(begun, self._unfinished_lines(text, known.forms))

    def _unfinished_lines(self, text: str, forms: list[str]) -> int:
        """Count the characters of whole lines of base64 at the end of a text in which a value may begin."""
        tail = text[-_LONGEST_LINES:]
        ended = tail if tail.endswith("\n") else f"{tail}\n"
        block = next((found for found in _WRAPPED.finditer(ended) if found.end() >= len(tail)), None)
        if block is None:
            return 0
        begun = _end_that_begins(forms, _LINE_END.sub("", block.group()))
        kept = len(tail) - len(ended)
        for line in reversed(block.group().splitlines(keepends=True)) if begun else ():
            kept += len(line)
            begun -= len(line.strip(" \t|\r\n"))
            if begun < 0:  # so that the character before is kept too, which may hold the first bits
                break
        return max(kept, 0)

    def _in_order(self) -> _Forms:
        with self._lock:
            forms = sorted({text for tier in self._tiers for text in tier.texts()})
            return _Forms(self.version, forms, [form for form in forms if "\n" in form])

    def _wrapped(self, text: str) -> list[tuple[int, int]]:
        """Find the base64 texts in lines that hold a value when the lines are joined."""
        if len(text) < _WRAPPED_LENGTH or not ("\n" in text or "\\" in text or "%0" in text):
            return []
        return [
            block.span()
            for block in _WRAPPED.finditer(text)
            if any(tier.find(_LINE_END.sub("", block.group())) for tier in self._tiers)
        ]


def _among_backslashes(spans: list[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    """Return where the spans of a text without its backslashes are in the text; those before a span belong to it."""
    runs = text.split("\\")
    starts = list(accumulate(map(len, runs), initial=0))[:-1]

    def end_of(count: int) -> int:
        """Return where the first characters end."""
        return count + bisect_right(starts, count - 1) - 1 if count else 0

    return [(end_of(start), end_of(end)) for start, end in spans]
