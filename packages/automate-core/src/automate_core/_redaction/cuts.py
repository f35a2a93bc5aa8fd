"""Secrets of which an ellipsis has left the beginning or the end: ``sk_live_4eC3…``, as libraries shorten values."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator

__all__ = ["LEAST", "Cuts"]

LEAST = 8
"""Characters that must be left of a secret: fewer are found in ordinary words."""

_LONGEST = 4096
"""Characters beside an ellipsis that are looked at."""

_ELLIPSIS = re.compile(r"\.\.\.|…|u2026|xe2x80xa6|&hellip;|%E2%80%A6")
"""Dots, and the one character in its encodings, without backslashes."""


def _may_be_cut(text: str) -> bool:
    """Whether a text has an ellipsis; the pattern would be slower."""
    if "..." in text or "…" in text or "u2026" in text:
        return True
    return "xe2x80xa6" in text or "&hellip;" in text or "%E2%80%A6" in text


class Cuts:
    """An index of texts by how they begin and how they end."""

    def __init__(self) -> None:
        self._heads = _Beginnings()
        self._tails = _Beginnings()

    def add(self, heads: Iterable[str], tails: Iterable[str]) -> None:
        """Search for texts from now on.

        Args:
            heads: What may stand before an ellipsis: this, or how it begins.
            tails: What may stand after one.
        """
        self._heads.add(heads)
        self._tails.add(tail[::-1] for tail in tails)

    def discard(self, heads: Iterable[str], tails: Iterable[str]) -> None:
        """Take back :meth:`add`; what was added twice is still searched for.

        Args:
            heads: As they were added.
            tails: As they were added.
        """
        self._heads.discard(heads)
        self._tails.discard(tail[::-1] for tail in tails)

    def find(self, text: str) -> list[tuple[int, int]]:
        """Return from where to where something is left of a text, beside an ellipsis.

        Args:
            text: Where to look, without backslashes.
        """
        return list(self._spans(text)) if _may_be_cut(text) and (self._heads or self._tails) else []

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        marks = [match.span() for match in _ELLIPSIS.finditer(text)]
        ends = [0, *(end for _, end in marks)]
        starts = [*(start for start, _ in marks), len(text)]
        for number, (before, after) in enumerate(marks):
            head = text[max(ends[number], before - _LONGEST) : before]
            if length := self._heads.longest_end(head):
                yield before - length, before
            tail = text[after : min(starts[number + 1], after + _LONGEST)]
            if length := self._tails.longest_end(tail[::-1]):
                yield after, after + length


class _Beginnings:
    """Texts, sorted among those whose first characters are the same.

    A list is replaced, never changed: searches in other threads have the old one or the new one.
    """

    def __init__(self) -> None:
        self._index: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._index)

    def add(self, texts: Iterable[str]) -> None:
        """Add texts; one that is hardly longer than what must be left of it cannot be cut."""
        for text in texts:
            if len(text) > LEAST:
                known = self._index.get(text[:LEAST], [])
                place = bisect_left(known, text)
                self._index[text[:LEAST]] = [*known[:place], text, *known[place:]]

    def discard(self, texts: Iterable[str]) -> None:
        """Remove each of the texts once."""
        for text in texts:
            known = self._index.get(text[:LEAST], [])
            place = bisect_left(known, text)
            if known[place : place + 1] == [text]:
                if rest := [*known[:place], *known[place + 1 :]]:
                    self._index[text[:LEAST]] = rest
                else:
                    del self._index[text[:LEAST]]

    def longest_end(self, text: str) -> int:
        """Return the length of the longest end of a text with which one of the texts begins; 0 for none."""
        for start in range(len(text) - LEAST + 1):
            known = self._index.get(text[start : start + LEAST])
            if known:
                end = text[start:]
                place = bisect_left(known, end)
                if place < len(known) and known[place].startswith(end):
                    return len(end)
        return 0
