"""Reciprocal-rank fusion: one ranking out of several. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

__all__ = ["RRF_K", "fuse"]

RRF_K = 60
"""How slowly the weight of a rank falls; the value that the method is known with."""

Key = TypeVar("Key", bound=Hashable)


def fuse(rankings: Iterable[Sequence[Key]], *, k: int = RRF_K) -> list[tuple[Key, float]]:
    """Fuse rankings with equal weights.

    Args:
        rankings: Each a sequence of keys, best first, no key twice.
        k: Added to every rank.

    Returns:
        Every key with its score, best first; equal scores in the order in which the keys were met. The score is scaled
        so that a key which is first in every ranking has 1.
    """
    legs = list(rankings)
    scores: dict[Key, float] = {}
    for ranking in legs:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + (k + 1) / (k + rank) / len(legs)
    return sorted(scores.items(), key=lambda item: -item[1])
