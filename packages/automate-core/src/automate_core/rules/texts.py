"""The operators that make texts and lists; what they make is paid from the budget of the evaluation."""

from __future__ import annotations

from typing import Any

from automate_core.rules.coercion import Number, is_number, plain, to_number, to_text
from automate_core.rules.comparisons import less
from automate_core.rules.limits import Budget

__all__ = ["concatenate", "merge", "substring"]


def concatenate(budget: Budget | None, *values: Any) -> str:
    """Join the texts of the values; null is empty."""
    parts: list[str] = []
    for value in values:
        limit = None if budget is None else budget.produced + 1
        part = "" if value is None else to_text(value, budget, limit)
        if budget is not None:
            budget.produce(len(part))
        parts.append(part)
    return "".join(parts)


def merge(budget: Budget | None, *values: Any) -> list[Any]:
    """Join lists; what is not a list counts as a list of one."""
    merged: list[Any] = []
    for value in values:
        items = plain(value)
        items = items if isinstance(items, list) else [items]
        if budget is not None:
            budget.produce(len(items))
            budget.read_items(len(items))
        merged.extend(items)
    return merged


def substring(budget: Budget | None, source: Any, start: Any, *length: Any) -> str:
    """Cut a piece out of a text; a negative length leaves that many characters out at the end."""
    limit = None if budget is None else budget.produced + 1
    if budget is not None:
        budget.convert()
    text = to_text(source, budget, limit)
    begin = _position(to_number(start, budget), len(text))
    piece = text[max(len(text) + begin, 0) if begin < 0 else begin :]
    if length:
        piece = _shorten(budget, piece, length[0])
    if budget is not None:
        budget.produce(len(piece))
    return piece


def _shorten(budget: Budget | None, piece: str, length: Any) -> str:
    if not less(length, 0, budget):
        return piece[: max(_position(to_number(length, budget), len(piece)), 0)]
    if not is_number(length):
        # JavaScript joins the two texts here and gets a length that is not a number.
        return ""
    return piece[: max(_position(len(piece) + length, len(piece)), 0)]


def _position(number: Number, bound: int) -> int:
    if number != number:
        return 0
    return int(max(-bound, min(number, bound)))
