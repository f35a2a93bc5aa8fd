"""Where ``var`` finds values: dictionaries by key, lists and texts by position, nothing else.

There is no way from a path to an attribute or a method: ``a.length`` and ``a.__class__`` are keys like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from automate_core.rules.coercion import plain, to_text
from automate_core.rules.limits import Budget

__all__ = ["MISSING", "entry", "find", "lookup", "split", "step", "walk"]

_SEQUENCES = (list, str)
_MAX_COMPUTED_PATH = 4_096
_PARTS_PER_VISIT = 16
_MAX_POSITION_DIGITS = 15


class _Missing:
    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""Nothing is there; not the same as null."""

entry: Final[Callable[..., Any]] = dict.get
"""Reads a key of a dict, and what is stored even where a subclass has methods of its own. What is no dict raises a
:class:`TypeError`: that is faster than asking for the type first."""


def split(path: Any) -> tuple[str, ...]:
    """Split a path into its parts.

    Args:
        path: The path; null and ``""`` mean the whole context, other values are read as text.

    Returns:
        The parts, none for the whole context.
    """
    return () if path is None or path == "" else tuple(to_text(path).split("."))


def step(value: Any, part: str) -> Any:
    """Go one step down.

    Args:
        value: Where to start.
        part: A key, or a position in a list or a text.

    Returns:
        What is there; None where nothing is.
    """
    if value is None:
        return None
    found = _enter(value, part)
    return None if found is MISSING else found


def find(value: Any, part: str) -> Any:
    """Go one step down, faster than :func:`step` where that is a key of a dict; the arguments are the same."""
    return value.get(part) if type(value) is dict else step(value, part)


def _enter(value: Any, part: str) -> Any:
    value = plain(value)
    if isinstance(value, dict):
        return entry(value, part, MISSING)
    if isinstance(value, _SEQUENCES) and _is_position(part):
        position = int(part)
        return value[position] if position < len(value) else MISSING
    return MISSING


def _is_position(part: str) -> bool:
    digits = part.isascii() and part.isdigit() and len(part) <= _MAX_POSITION_DIGITS
    return digits and (part == "0" or part[0] != "0")


def walk(context: Any, parts: tuple[str, ...]) -> Any:
    """Follow a path.

    Args:
        context: Where to start.
        parts: The parts of the path.

    Returns:
        What is there; :data:`MISSING` where nothing is.
    """
    for part in parts:
        context = context.get(part, MISSING) if type(context) is dict else _enter(context, part)
        if context is MISSING:
            return MISSING
    return context


def lookup(context: Any, path: Any, budget: Budget | None = None) -> Any:
    """Follow a path that was computed.

    Args:
        context: Where to start.
        path: The path; null and ``""`` mean the context itself. Beyond 4,096 characters it names nothing.
        budget: Pays for reading a list as a path, and for long paths.

    Returns:
        What is there; :data:`MISSING` where nothing is.
    """
    if path is None or (type(path) is str and not path):
        return context
    text = to_text(path, budget, _MAX_COMPUTED_PATH + 1)
    if len(text) > _MAX_COMPUTED_PATH:
        return MISSING
    parts = tuple(text.split("."))
    if budget is not None:
        budget.convert()
        budget.visit(len(parts) // _PARTS_PER_VISIT)
    return walk(context, parts)
