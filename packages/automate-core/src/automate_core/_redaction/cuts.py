"""Secrets of which an ellipsis has left the beginning or the end: ``sk_live_4eC3…``, as libraries shorten values."""

from __future__ import annotations

import re
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
        self._heads: dict[str, tuple[str, ...]] = {}
        self._tails: dict[str, tuple[str, ...]] = {}

    def add(self, texts: Iterable[str]) -> None:
        """Search for texts from now on.

        Args:
            texts: The texts; one that is hardly longer than what must be left of it cannot be cut.
        """
        for text in texts:
            if len(text) > LEAST:
                for index, end in ((self._heads, text[:LEAST]), (self._tails, text[-LEAST:])):
                    known = index.get(end, ())
                    if text not in known:
                        index[end] = (*known, text)

    def find(self, text: str) -> list[tuple[int, int]]:
        """Return from where to where something is left of a text, beside an ellipsis.

        Args:
            text: Where to look, without backslashes.
        """
        return list(self._spans(text)) if self._heads and _may_be_cut(text) else []

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        marks = [match.span() for match in _ELLIPSIS.finditer(text)]
        ends = [0, *(end for _, end in marks)]
        starts = [*(start for start, _ in marks), len(text)]
        for number, (before, after) in enumerate(marks):
            yield from self._head(text, max(ends[number], before - _LONGEST), before)
            yield from self._tail(text, after, min(starts[number + 1], after + _LONGEST))

    def _head(self, text: str, first: int, end: int) -> Iterator[tuple[int, int]]:
        for start in range(first, end - LEAST + 1):
            known = self._heads.get(text[start : start + LEAST], ())
            if any(one.startswith(text[start:end]) for one in known):
                yield start, end
                return

    def _tail(self, text: str, start: int, last: int) -> Iterator[tuple[int, int]]:
        for end in range(last, start + LEAST - 1, -1):
            known = self._tails.get(text[end - LEAST : end], ())
            if any(one.endswith(text[start:end]) for one in known):
                yield start, end
                return
