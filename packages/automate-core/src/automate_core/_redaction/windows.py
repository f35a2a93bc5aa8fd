"""A window index: many texts are found at once.

What is searched is sampled at each ``step``-th position, and the window of ``width`` characters that starts there is
looked up among the windows of the patterns. A pattern is entered where it differs from the others, so the cost depends
on the length of the text, hardly on the number of patterns, though they begin alike. Patterns are added and dropped
without building the index again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Key", "Windows"]

_PLACES = 32
"""Into how many stretches a value is divided in search of what sets it apart."""

_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")


class _Pattern(NamedTuple):
    text: str
    offset: int
    """Where in the pattern the window starts."""
    before: bool
    after: bool
    """Whether the base64 character beside the pattern belongs to it."""


Key = tuple[str, bool, bool]
"""The text of a pattern, and whether the base64 character before and after it belongs to it."""


class Windows:
    """An index of patterns by the windows that a sampled text must hit.

    Args:
        width: Characters of a window.
        step: Distance of the sampled positions. A pattern needs ``width + step - 1`` characters at least.
    """

    def __init__(self, width: int, step: int) -> None:
        self.width = width
        self.step = step
        self._index: dict[str, tuple[_Pattern, ...]] = {}
        self._known: dict[Key, tuple[int, int]] = {}
        """How many values have the pattern, and where the first of its windows starts."""

    @property
    def shortest(self) -> int:
        """The length of the shortest pattern that it takes."""
        return self.width + self.step - 1

    def add(self, key: Key) -> None:
        """Search for a pattern from now on.

        Args:
            key: The pattern.
        """
        count, first = self._known.get(key, (0, 0))
        if not count:  # secrets have lines in common
            first = self._rarest(key[0])
            for window, pattern in self._entries(key, first):
                self._index[window] = (*self._index.get(window, ()), pattern)
        self._known[key] = (count + 1, first)

    def discard(self, key: Key) -> None:
        """Take back :meth:`add`; what was added twice is still searched for.

        Args:
            key: As it was added.
        """
        count, first = self._known.pop(key)
        if count > 1:
            self._known[key] = (count - 1, first)
            return
        for window, pattern in self._entries(key, first):
            others = tuple(other for other in self._index[window] if other != pattern)
            if others:
                self._index[window] = others
            else:
                del self._index[window]

    def texts(self) -> Iterator[str]:
        """Yield the texts of the patterns."""
        return (text for text, _, _ in self._known)

    def _entries(self, key: Key, first: int) -> Iterator[tuple[str, _Pattern]]:
        text, before, after = key
        for offset in range(first, first + self.step):
            yield text[offset : offset + self.width], _Pattern(text, offset, before, after)

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
        """Return from where to where a pattern was found.

        Args:
            text: Where to look.
        """
        index, width = self._index, self.width
        found: list[tuple[int, int]] = []
        if not index:
            return found
        last = len(text) - width + 1
        for position in [i for i in range(0, last, self.step) if text[i : i + width] in index]:
            for pattern in index.get(text[position : position + width], ()):  # gone, if another thread has dropped it
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
