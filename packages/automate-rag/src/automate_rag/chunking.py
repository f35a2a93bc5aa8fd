"""Cutting documents into chunks: pure and deterministic.

A document of up to ``size`` characters is one chunk. A longer one is cut at the end of a paragraph, else of a sentence,
else of a word, as late as the size allows but not before its half; where none of these is, at the size. Each chunk but
the first begins up to ``overlap`` characters before the end of the one before it, at the beginning of a word, so that a
sentence at a cut is found whole in one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from automate_core.errors import ConfigurationError
from automate_core.rag import Chunk, Document

__all__ = ["Chunker"]

_BOUNDARIES = (
    re.compile(r"\n[^\S\n]*\n\s*"),
    re.compile("[.!?\u2026]+[\"'\u201d\u2019\u00bb)\\]]*\\s+|[\u3002\uff01\uff1f]+\\s*"),
    re.compile(r"\s+"),
)


@dataclass(frozen=True, slots=True)
class Chunker:
    """Cuts text into overlapping chunks.

    Args:
        size: Longest chunk, in characters.
        overlap: Longest overlap of two neighbours, in characters; less than half of the size.

    Raises:
        ConfigurationError: If the sizes make no sense.
    """

    size: int = 1500
    overlap: int = 150

    def __post_init__(self) -> None:
        if self.size < 2 or not 0 <= self.overlap < self.size / 2:
            raise ConfigurationError(
                f"Chunks of {self.size} characters cannot overlap by {self.overlap}: the overlap must be 0 or more and "
                "less than half of the size."
            )

    @property
    def fingerprint(self) -> str:
        """What names this way of cutting; another one makes documents be indexed anew."""
        return f"paragraphs:{self.size}:{self.overlap}:1"

    def split(self, document: Document) -> list[Chunk]:
        """Cut a document.

        Args:
            document: The document.

        Returns:
            Its chunks in order, at least one; together they hold every character but blank stretches.
        """
        text = document.content
        spans = [(a, b) for a, b in self._spans(text) if not text[a:b].isspace()]
        return [Chunk(document.id, n, start, text[start:end]) for n, (start, end) in enumerate(spans)]

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        start = 0
        while len(text) - start > self.size:
            end = self._cut(text, start)
            yield start, end
            start = self._resume(text, end)
        yield start, len(text)

    def _cut(self, text: str, start: int) -> int:
        earliest, latest = start + (self.size + 1) // 2, start + self.size
        for boundary in _BOUNDARIES:
            cuts = [match.end() for match in boundary.finditer(text, earliest - 1, latest)]
            if cuts and cuts[-1] >= earliest:
                return cuts[-1]
        return latest

    def _resume(self, text: str, end: int) -> int:
        word = _BOUNDARIES[-1].search(text, end - self.overlap, end) if self.overlap else None
        return word.end() if word else end
