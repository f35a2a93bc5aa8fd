"""Making a difference small: the smallest rule and data that still differ, and for the same reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from automate_core.errors import RuleSyntaxError
from automate_core.rules import compile_rule

from differential.generator import Case

__all__ = ["shrink"]

_SIMPLE = (None, 0, 1, "", "a")
_MOST_ROUNDS = 60


def shrink(case: Case, keep: Callable[[Sequence[Case]], Sequence[bool]]) -> Case:
    """Replace parts of a case by smaller ones as long as it stays interesting.

    Args:
        case: The case.
        keep: Tells of each of many cases whether it is as interesting as this one.

    Returns:
        The smallest case that was found.
    """
    for _ in range(_MOST_ROUNDS):
        smaller = sorted(
            {json.dumps(other): other for other in _smaller(case) if _is_rule(other.rule)}.items(), key=_size
        )
        found = [other for _, other in smaller if _size(("", other)) < _size(("", case))]
        kept = next((other for other, kept in zip(found, keep(found), strict=True) if kept), None)
        if kept is None:
            break
        case = kept
    return case


def _size(entry: tuple[str, Case]) -> tuple[int, str]:
    text = json.dumps(entry[1])
    return len(text), text


def _is_rule(rule: Any) -> bool:
    try:
        compile_rule(rule)
    except RuleSyntaxError:
        return False
    except Exception:
        return True  # that is a difference
    return True


def _smaller(case: Case) -> Iterator[Case]:
    for rule in _parts(case.rule):
        yield Case(rule, case.data)
    for data in _parts(case.data):
        yield Case(case.rule, data)


def _parts(value: Any) -> Iterator[Any]:
    """Yield what is left of a value after one cut: somewhere in it, a child takes its parent's place or goes."""
    if isinstance(value, list | dict):
        children = list(value) if isinstance(value, list) else list(value.values())
        yield from children
        for child in children:
            yield from child if isinstance(child, list) else ()
    if value not in _SIMPLE:
        yield from _SIMPLE
    if isinstance(value, list):
        for at, item in enumerate(value):
            yield [*value[:at], *value[at + 1 :]]
            for part in _parts(item):
                yield [*value[:at], part, *value[at + 1 :]]
    elif isinstance(value, dict):
        for key, item in value.items():
            yield {other: kept for other, kept in value.items() if other != key}
            for part in _parts(item):
                yield {**value, key: part}
