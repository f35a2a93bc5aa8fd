"""Live secret values, found in every encoding.

Each value is expanded into the texts it may appear as. Backslashes do not count, neither in them nor in what is
searched: however often a text is escaped as in JSON or Python, backslashes are all that this adds to it.
"""

from __future__ import annotations

import re
import sys
import threading
from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

from automate_core._redaction.cuts import LEAST, Cuts
from automate_core._redaction.encodings import MIN_LENGTH, base64_cores, encodings, forms_of
from automate_core._redaction.parts import ending, opening, parts
from automate_core._redaction.windows import Key, Windows

__all__ = ["MAX_LENGTH", "MIN_LENGTH", "LiveValues"]

MAX_LENGTH = 65_536
"""What is longer is no secret that can be resolved: each of its lines is searched for in every encoding."""

_TEXTLESS = re.compile(r"[0-9a-fA-F+\-.:/ ()jTE]*[0-9][0-9a-fA-F+\-.:/ ()jTE]*")
"""What numbers, dates and UUIDs are written with."""

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
        found.update(base64_cores(part))
    return found


def _ends(value: str) -> tuple[set[str], set[str]]:
    """Return what of a value may stand before an ellipsis, and after one, without what tells nothing."""
    heads: set[str] = set()
    tails: set[str] = set()
    for part in _long_parts(value):
        forms, openings, endings = encodings(part), forms_of(opening(part)), forms_of(ending(part))
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
