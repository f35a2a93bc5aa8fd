"""Which bracket closes which, and which quote, in texts that are JSON, Python or neither, escaped, whole or cut."""

from __future__ import annotations

import re

__all__ = ["Brackets", "closing_quote"]

_MARK = re.compile(r"[\[\](){}]|(?:(?<=[\[({,:=\s])|(?<=\\[nrt]))[bBrRuUfF]{0,2}(\\{0,7}[\"'])")
"""A bracket, or the quote of a text that begins; an apostrophe in a word begins none."""


def closing_quote(text: str, start: int, quote: str) -> int | None:
    """Find the quote that closes, at any level of escaping.

    Args:
        text: The text.
        start: Where the quoted text starts.
        quote: The quote that opened it, with the backslashes before it.

    Returns:
        Where the closing quote starts; None where there is none.
    """
    escapes = len(quote) - 1
    position = text.find(quote[-1], start)
    while position >= 0:
        before = position
        while before > start and text[before - 1] == "\\":
            before -= 1
        count = position - before
        if count == escapes or (count > escapes and (count - escapes) % (2 * (escapes + 1)) == 0):
            return position - escapes
        position = text.find(quote[-1], position + 1)
    return None


class Brackets:
    """The brackets of one text. Those in quoted texts are none.

    A search that finds no end has read the rest of the text; what it met is kept, so that the next one need not read it
    again. Where a quoted text starts depends on where one begins to read, but searches that meet one mark both outside
    of quoted texts read the same from there on.

    Args:
        text: The text.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._falls: dict[int, int] = {}
        """By the place of a mark: how many brackets that are open there are closed from there on."""

    def closing(self, start: int) -> int | None:
        """Find where a bracket is closed.

        Args:
            start: The place of a bracket that opens.

        Returns:
            The place after the bracket that closes it; None where the text ends before, or within a quoted text.
        """
        met: list[tuple[int, int]] = []
        depth = 0
        mark = _MARK.search(self._text, start)
        while mark:
            place, end = mark.span()
            if self._falls.get(place, depth) < depth:
                break
            change = 0
            if mark.group(1):
                closed = closing_quote(self._text, end, mark.group(1))
                if closed is None:
                    met.append((place, 0))
                    mark = None
                    break
                end = closed + len(mark.group(1))
            else:
                change = 1 if mark.group() in "[({" else -1
                depth += change
                if not depth:
                    return end
            met.append((place, change))
            mark = _MARK.search(self._text, end)
        self._keep(met, self._falls[mark.start()] if mark else 0)
        return None

    def _keep(self, met: list[tuple[int, int]], fall: int) -> None:
        for place, change in reversed(met):
            fall = max(0, fall - change)
            self._falls[place] = fall
