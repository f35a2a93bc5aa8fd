"""Live secret values, found in every encoding.

Each value is expanded into the texts it may appear as. Backslashes do not count, neither in them nor in what is
searched: however often a text is escaped as in JSON or Python, backslashes are all that this adds to it. The texts are
found with a window index: what is searched is sampled at each ``step``-th position, and the window of ``width``
characters that starts there is looked up among the windows of the patterns. A value is entered where it differs from
the others, so the cost depends on the length of the text, hardly on the number of values, though they begin alike. A
new value is added to the index without building it again.
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
from automate_core._redaction.parts import parts

__all__ = ["MIN_LENGTH", "LiveValues", "encodings"]

MIN_LENGTH = 6
"""Shorter values are not searched for: they would be found in ordinary words and numbers."""

_PLACES = 32
"""Into how many stretches a value is divided in search of what sets it apart."""

_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
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
_LINE_END = re.compile(_BREAK)


def encodings(value: str) -> set[str]:
    """Return the texts as which a value may appear, without those that base64 makes of it.

    Args:
        value: The value.

    Returns:
        Raw, JSON, Python ``repr``, URL, HTML, shell and hex forms, of UTF-8 and of Latin-1, all without backslashes.
    """
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
    bare = {form.replace("\\", "") for form in found}
    return {form for form in bare if len(form) >= MIN_LENGTH}


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


class _Pattern(NamedTuple):
    text: str
    offset: int
    """Where in the pattern the window starts."""
    before: bool
    after: bool
    """Whether the base64 character beside the pattern belongs to it."""


class _Windows:
    """An index of patterns by the windows that a sampled text must hit.

    Args:
        width: Characters of a window.
        step: Distance of the sampled positions. A pattern needs ``width + step - 1`` characters at least.
    """

    def __init__(self, width: int, step: int) -> None:
        self.width = width
        self.step = step
        self._index: dict[str, tuple[_Pattern, ...]] = {}
        self._known: set[tuple[str, bool, bool]] = set()

    @property
    def shortest(self) -> int:
        return self.width + self.step - 1

    def add(self, text: str, before: bool, after: bool) -> None:
        if (text, before, after) in self._known:  # secrets have lines in common
            return
        self._known.add((text, before, after))
        first = self._rarest(text)
        for offset in range(first, first + self.step):
            window = text[offset : offset + self.width]
            self._index[window] = (*self._index.get(window, ()), _Pattern(text, offset, before, after))

    def _rarest(self, text: str) -> int:
        """Find where the windows of a text are shared with the fewest others, for many secrets begin alike."""
        last = len(text) - self.shortest
        best, shared = 0, sys.maxsize
        for first in range(0, last + 1, max(1, last // _PLACES)):
            crowd = max(
                len(self._index.get(text[offset : offset + self.width], ()))
                for offset in range(first, first + self.step)
            )
            if crowd < shared:
                best, shared = first, crowd
            if not crowd:
                break
        return best

    def find(self, text: str) -> list[tuple[int, int]]:
        index, width = self._index, self.width
        found: list[tuple[int, int]] = []
        if not index:
            return found
        last = len(text) - width + 1
        for position in [i for i in range(0, last, self.step) if text[i : i + width] in index]:
            for pattern in index[text[position : position + width]]:
                start = position - pattern.offset
                if start >= 0 and text.startswith(pattern.text, start):
                    found.append(_widen(text, start, start + len(pattern.text), pattern))
        return found


def _widen(text: str, start: int, end: int, pattern: _Pattern) -> tuple[int, int]:
    if pattern.before and start and text[start - 1] in _BASE64:
        start -= 1
    if pattern.after and end < len(text) and text[end] in _BASE64:
        end += 1
        while end < len(text) and text[end] == "=":
            end += 1
    return start, end


def _length(value: str) -> int:
    return len(value.strip().replace("\\", ""))


def _numbers(values: list[str]) -> frozenset[int]:
    return frozenset(int(value) for value in values if value.isdecimal() and value.isascii() and len(value) < 100)


def _is_textless(value: str) -> bool:
    return any(_TEXTLESS.fullmatch(part) for part in parts(value))


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
        self._values: dict[str, None] = {}
        self._tiers, self._cuts = self._new_tiers(), Cuts()
        self.numbers: frozenset[int] = frozenset()
        self.textless = False
        self.shortest = sys.maxsize
        self.version = 0

    @staticmethod
    def _new_tiers() -> tuple[_Windows, _Windows]:
        return _Windows(8, 4), _Windows(MIN_LENGTH - 1, 2)  # the longest patterns first

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
        with self._lock:
            if value in self._values:
                self._values[value] = self._values.pop(value)
                return True
            self._values[value] = None
            if len(self._values) > self._limit:
                self._keep(list(self._values)[len(self._values) // 10 :])
            else:
                self.shortest = min(self.shortest, self._index(value, self._tiers, self._cuts))
                self.numbers |= _numbers([value])
                self.textless = self.textless or _is_textless(value)
                self.version += 1
        return True

    def discard(self, value: str) -> None:
        """Search for a value no longer; nothing happens where it is unknown.

        Args:
            value: The value.
        """
        with self._lock:
            if value in self._values:
                self._keep([other for other in self._values if other != value])

    def clear(self) -> None:
        """Forget every value."""
        with self._lock:
            self._keep([])

    def _keep(self, values: list[str]) -> None:
        tiers, cuts = self._new_tiers(), Cuts()
        shortest = min((self._index(value, tiers, cuts) for value in values), default=sys.maxsize)
        self._values = dict.fromkeys(values)
        self._tiers, self._cuts, self.shortest, self.numbers = tiers, cuts, shortest, _numbers(values)
        self.textless = any(map(_is_textless, values))
        self.version += 1

    def _index(self, value: str, tiers: tuple[_Windows, _Windows], cuts: Cuts) -> int:
        """Enter a value; return the length of the shortest text that it may appear as."""
        patterns: set[tuple[str, bool, bool]] = set()
        for part in parts(value):
            if _length(part) >= MIN_LENGTH:
                forms = encodings(part)
                cuts.add(forms)
                patterns.update((form, False, False) for form in forms)
                patterns.update(_base64_cores(part))
        for text, before, after in patterns:
            tier = next(tier for tier in tiers if len(text) >= tier.shortest)
            tier.add(text, before, after)
        return min(len(text) for text, _, _ in patterns)

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
