"""Ranges of numbers and of texts: everything between two ends, without some points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from automate_core.rules.coercion import INFINITY

__all__ = ["FILLED_TEXTS", "NUMBERS", "TEXTS", "Range", "make_range"]

_INVERSE = {"==": "!=", "!=": "==", ">": "<=", ">=": "<", "<": ">=", "<=": ">"}


@dataclass(frozen=True, slots=True)
class Range:
    """A range that is not empty; :func:`make_range` makes it.

    Args:
        low: Its lower end.
        high: Its upper end; None for texts without one.
        above: Whether the lower end itself is not in it.
        below: Whether the upper end itself is not in it.
        without: Points that are not in it.
        whole: Whether it holds whole numbers alone.
    """

    low: Any
    high: Any
    above: bool = False
    below: bool = False
    without: frozenset[Any] = frozenset()
    whole: bool = False

    @property
    def is_point(self) -> bool:
        """Whether it holds its lower end alone."""
        return self.high is not None and bool(self.low == self.high)

    def holds(self, point: Any) -> bool:
        """Return whether a point is in it.

        Args:
            point: A number or a text, as the ends are.
        """
        if point in self.without or (self.whole and not _is_whole(point)):
            return False
        if point < self.low or (self.above and point == self.low):
            return False
        return self.high is None or bool(point < self.high) or (point == self.high and not self.below)

    def only(self, relation: str, point: Any, holds: bool = True) -> Range | None:
        """Return the part that stands in a relation to a point.

        Args:
            relation: ``==``, ``!=``, ``>``, ``>=``, ``<`` or ``<=``.
            point: What is on the right of the relation.
            holds: Whether the relation is to hold, or not to.

        Returns:
            The part; None where it is empty.
        """
        relation = relation if holds else _INVERSE[relation]
        if relation == "!=":
            without = self.without | {point}
            return make_range(Range(self.low, self.high, self.above, self.below, without, self.whole))
        part: Range | None = self
        if relation in ("==", ">", ">="):
            part = part.meet(Range(point, self.high, above=relation == ">")) if part else None
        if relation in ("==", "<", "<="):
            part = part.meet(Range(self.low, point, below=relation == "<")) if part else None
        return part

    def meet(self, other: Range) -> Range | None:
        """Return what is in both; None where nothing is.

        Args:
            other: The other range.
        """
        low = max(self.low, other.low)
        highs = [high for high in (self.high, other.high) if high is not None]
        high = min(highs, default=None)
        return make_range(
            Range(
                low,
                high,
                above=any(part.above and part.low == low for part in (self, other)),
                below=any(part.below and part.high == high for part in (self, other)),
                without=self.without | other.without,
                whole=self.whole or other.whole,
            )
        )

    def join(self, other: Range) -> Range:
        """Return the smallest range around both.

        Args:
            other: The other range.
        """
        low = min(self.low, other.low)
        high = None if self.high is None or other.high is None else max(self.high, other.high)
        return Range(
            low,
            high,
            above=all(part.above or part.low != low for part in (self, other)),
            below=high is not None and all(part.below or part.high != high for part in (self, other)),
            without=frozenset(
                point for point in self.without | other.without if not (self.holds(point) or other.holds(point))
            ),
            whole=self.whole and other.whole,
        )


def _is_whole(point: Any) -> bool:
    return isinstance(point, int) or (isinstance(point, float) and point.is_integer())


def make_range(wanted: Range) -> Range | None:
    """Return a range with ends that are in it as far as can be told; None where it is empty.

    Args:
        wanted: The range as it was asked for.
    """
    low, high, above, below = wanted.low, wanted.high, wanted.above, wanted.below
    if wanted.whole:
        low, above = _next_whole(low, above, wanted.without)
        high, below = _next_whole(high, below, wanted.without, step=-1)
    above, below = above or low in wanted.without, below or (high is not None and high in wanted.without)
    if high is not None and (low > high or (low == high and (above or below))):
        return None
    return Range(low, high, above, below, wanted.without, wanted.whole)


def _next_whole(end: Any, is_open: bool, without: frozenset[Any], step: int = 1) -> tuple[Any, bool]:
    if end in (INFINITY, -INFINITY):
        return end, is_open
    whole = math.ceil(end) if step > 0 else math.floor(end)
    if is_open and whole == end:
        whole += step
    while whole in without:
        whole += step
    return whole, False


NUMBERS = Range(-INFINITY, INFINITY)
"""Every number."""

TEXTS = Range("", None)
"""Every text."""

FILLED_TEXTS = Range("", None, above=True)
"""Every text but the empty one."""
