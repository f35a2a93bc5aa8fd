"""Closures that go down a path before a leaf reads its key.

A loop over the parts takes twice as long as reading them one after the other, so there is a closure for each usual
number of parts. It trusts that what it looks into is an object or missing, until it is not: a question for the type at
each part would take as long as the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automate_core.rules.leaves import Closure
from automate_core.rules.limits import Budget
from automate_core.rules.paths import entry, step

__all__ = ["below"]

_NOTHING: dict[str, Any] = {}
"""What is looked into where nothing is: no key of it is there."""


def below(parents: tuple[str, ...], leaf: Closure) -> Closure:
    """Go down a path before a leaf reads its key.

    Args:
        parents: The path, one part at least.
        leaf: Takes what is there, and the budget.

    Returns:
        The closure.
    """
    steps = _STEPS.get(len(parents))
    if steps is None:
        return _five_steps(parents[:5], below(parents[5:], leaf))
    return steps(parents, leaf)


def _descend(context: Any, parents: tuple[str, ...]) -> Any:
    """Go down a path on which there are not only objects."""
    for part in parents:
        context = context.get(part) if type(context) is dict else step(context, part)
        if context is None:
            return _NOTHING
    return context


def _one_step(parents: tuple[str, ...], leaf: Closure) -> Closure:
    (first,) = parents
    trusted = True

    def descend(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if trusted:
            try:
                value = entry(context, first, _NOTHING)
            except TypeError:
                trusted = False
            else:
                return leaf(value, budget)
        return leaf(_descend(context, parents), budget)

    return descend


def _two_steps(parents: tuple[str, ...], leaf: Closure) -> Closure:
    first, second = parents
    trusted = True

    def descend(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if trusted:
            try:
                value = entry(context, first, _NOTHING)
                value = entry(value, second, _NOTHING)
            except TypeError:
                trusted = False
            else:
                return leaf(value, budget)
        return leaf(_descend(context, parents), budget)

    return descend


def _three_steps(parents: tuple[str, ...], leaf: Closure) -> Closure:
    first, second, third = parents
    trusted = True

    def descend(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if trusted:
            try:
                value = entry(context, first, _NOTHING)
                value = entry(value, second, _NOTHING)
                value = entry(value, third, _NOTHING)
            except TypeError:
                trusted = False
            else:
                return leaf(value, budget)
        return leaf(_descend(context, parents), budget)

    return descend


def _four_steps(parents: tuple[str, ...], leaf: Closure) -> Closure:
    first, second, third, fourth = parents
    trusted = True

    def descend(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if trusted:
            try:
                value = entry(context, first, _NOTHING)
                value = entry(value, second, _NOTHING)
                value = entry(value, third, _NOTHING)
                value = entry(value, fourth, _NOTHING)
            except TypeError:
                trusted = False
            else:
                return leaf(value, budget)
        return leaf(_descend(context, parents), budget)

    return descend


def _five_steps(parents: tuple[str, ...], leaf: Closure) -> Closure:
    first, second, third, fourth, fifth = parents
    trusted = True

    def descend(context: Any, budget: Budget | None = None) -> Any:
        nonlocal trusted
        if trusted:
            try:
                value = entry(context, first, _NOTHING)
                value = entry(value, second, _NOTHING)
                value = entry(value, third, _NOTHING)
                value = entry(value, fourth, _NOTHING)
                value = entry(value, fifth, _NOTHING)
            except TypeError:
                trusted = False
            else:
                return leaf(value, budget)
        return leaf(_descend(context, parents), budget)

    return descend


_STEPS: dict[int, Callable[[tuple[str, ...], Closure], Closure]] = {
    1: _one_step,
    2: _two_steps,
    3: _three_steps,
    4: _four_steps,
    5: _five_steps,
}
