"""Closures for the operators that go through lists.

Their visits are paid before the first item is looked at where all items are visited, and afterwards where the first
decisive item ends the visit. Items are the context of the body: no scope is built around them, except by ``reduce``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automate_core.rules.arithmetic import add
from automate_core.rules.coercion import MAX_EXACT, list_items
from automate_core.rules.leaves import Closure
from automate_core.rules.limits import Budget, Where

__all__ = [
    "COMPUTE",
    "all_items",
    "filter_items",
    "filter_numbers",
    "map_items",
    "map_numbers",
    "no_item",
    "reduce_items",
    "some_item",
    "sum_items",
    "weight",
]

_NODES_PER_VISIT = 20


def weight(body: Any) -> int:
    """Tell what one item costs: one visit for every 20 nodes of the body, one at least.

    Args:
        body: The rule that is evaluated for each item.

    Returns:
        The number of visits.
    """
    return 1 + _count(body) // _NODES_PER_VISIT


def _count(rule: Any) -> int:
    if type(rule) is dict:
        return sum(_count(written) for written in rule.values())
    return 1 + sum(_count(item) for item in rule) if type(rule) is list else 1


_Visit = Callable[[list[Any], Any, Budget], Any]
"""Goes through the items; takes them, the context around them and the budget."""


def _over(source: Closure, visit: _Visit, where: Where) -> Closure:
    """Go through a list, and say until that is done where it is done."""

    def run(context: Any, budget: Budget) -> Any:
        items = source(context, budget)
        around, budget.where = budget.where, where
        result = visit(items if type(items) is list else list_items(items), context, budget)
        budget.where = around
        return result

    return run


def map_items(source: Closure, body: Closure, cost: int, where: Where) -> Closure:
    """Compute something for every item.

    Args:
        source: Gives the list.
        body: Computes for one item.
        cost: The visits that one item costs.
        where: The place of the operator, for errors.

    Returns:
        The closure.
    """

    def visit(items: list[Any], context: Any, budget: Budget) -> Any:
        budget.visit(len(items) * cost)
        budget.produce(len(items))
        return [body(item, budget) for item in items]

    return _over(source, visit, where)


def filter_items(source: Closure, body: Closure, cost: int, where: Where) -> Closure:
    """Keep the items for which a test holds; the arguments are those of :func:`map_items`."""

    def visit(items: list[Any], context: Any, budget: Budget) -> Any:
        budget.visit(len(items) * cost)
        return [item for item in items if body(item, budget)]

    return _over(source, visit, where)


def _are_whole(items: list[Any], most: int) -> bool:
    """Tell whether all items are whole numbers that are no larger than that, whatever their sign."""
    return {*map(type, items)} == _WHOLE and -most <= min(items) and max(items) <= most


_WHOLE = {int}


def filter_numbers(source: Closure, test: Closure, compare: Closure, number: Any, cost: int, where: Where) -> Closure:
    """Keep the items that compare with a number in a certain way, without a call for each.

    Args:
        source: Gives the list.
        test: Compares an item of any type.
        compare: Compares two numbers.
        number: What items are compared with.
        cost: The visits that one item costs.
        where: The place of the operator, for errors.

    Returns:
        The closure.
    """

    def visit(items: list[Any], context: Any, budget: Budget) -> Any:
        budget.visit(len(items) * cost)
        return [item for item in items if (compare(item, number) if type(item) is int else test(item, budget))]

    return _over(source, visit, where)


def map_numbers(
    source: Closure, body: Closure, compute: Closure, number: Any, most: int, cost: int, where: Where
) -> Closure:
    """Compute with every item and a positive number, without a call for each.

    Args:
        source: Gives the list.
        body: Computes with an item of any type.
        compute: Computes with a list, the number, the largest magnitude and the body: see ``COMPUTE``.
        number: The number.
        most: The largest magnitude of an item for which the result is one that JavaScript knows.
        cost: The visits that one item costs.
        where: The place of the operator, for errors.

    Returns:
        The closure.
    """

    def visit(items: list[Any], context: Any, budget: Budget) -> Any:
        budget.visit(len(items) * cost)
        budget.produce(len(items))
        return compute(items, number, most, body, budget)

    return _over(source, visit, where)


def _added(items: list[Any], number: int, most: int, body: Closure, budget: Budget) -> list[Any]:
    usual, lowest = min(most, _USUAL), -min(most, _USUAL)
    return [
        item + number if type(item) is int and (lowest < item < usual or -most <= item <= most) else body(item, budget)
        for item in items
    ]


def _subtracted(items: list[Any], number: int, most: int, body: Closure, budget: Budget) -> list[Any]:
    usual, lowest = min(most, _USUAL), -min(most, _USUAL)
    return [
        item - number if type(item) is int and (lowest < item < usual or -most <= item <= most) else body(item, budget)
        for item in items
    ]


def _multiplied(items: list[Any], number: int, most: int, body: Closure, budget: Budget) -> list[Any]:
    usual, lowest = min(most, _USUAL), -min(most, _USUAL)
    return [
        item * number if type(item) is int and (lowest < item < usual or -most <= item <= most) else body(item, budget)
        for item in items
    ]


_USUAL = 10**9
"""Up to here Python compares whole numbers fastest."""

COMPUTE: dict[str, Callable[[list[Any], int, int, Closure, Budget], list[Any]]] = {
    "+": _added,
    "-": _subtracted,
    "*": _multiplied,
}
"""How Python computes with whole numbers, where JSONLogic says the same as long as the results are exact."""


def all_items(source: Closure, body: Closure, cost: int, where: Where) -> Closure:
    """Tell whether a test holds for all items of a list that has some; the arguments are those of :func:`map_items`."""

    def visit(items: list[Any], context: Any, budget: Budget) -> Any:
        return bool(items) and _position(items, body, False, cost, budget) is None

    return _over(source, visit, where)


def some_item(source: Closure, body: Closure, cost: int, where: Where) -> Closure:
    """Tell whether a test holds for an item; the arguments are those of :func:`map_items`."""

    def visit(items: list[Any], context: Any, budget: Budget) -> Any:
        return _position(items, body, True, cost, budget) is not None

    return _over(source, visit, where)


def no_item(source: Closure, body: Closure, cost: int, where: Where) -> Closure:
    """Tell whether a test holds for no item; the arguments are those of :func:`map_items`."""

    def visit(items: list[Any], context: Any, budget: Budget) -> Any:
        return _position(items, body, True, cost, budget) is None

    return _over(source, visit, where)


def _position(items: list[Any], test: Closure, wanted: bool, cost: int, budget: Budget) -> int | None:
    """Find the first item for which the test gives what is wanted."""
    visited = budget.affordable(items, cost)
    for position, item in enumerate(visited):
        if test(item, budget) is wanted:
            budget.visit((position + 1) * cost)
            return position
    budget.visit(len(visited) * cost)
    return None


def reduce_items(
    source: Closure, body: Closure, initial: Closure, keeps_scope: bool, cost: int, where: Where
) -> Closure:
    """Bring a list down to one value.

    Args:
        source: Gives the list.
        body: Computes from an item (``current``) and the value so far (``accumulator``).
        initial: Gives the value before the first item.
        keeps_scope: Whether the body may hand on the object that holds these two; then each item gets its own.
        cost: The visits that one item costs.
        where: The place of the operator, for errors.

    Returns:
        The closure.
    """

    def visit(items: list[Any], context: Any, budget: Budget) -> Any:
        result = initial(context, budget)
        budget.visit(len(items) * cost)
        scope: dict[str, Any] = {}
        produced = budget.produced
        for item in items:
            if keeps_scope:
                scope = {}
            scope["current"] = item
            scope["accumulator"] = result
            result = body(scope, budget)
            if type(result) is str:
                # A text holds on to nothing, so whatever else was produced is gone: only the text itself is paid.
                budget.produced = produced - len(result)
        return result

    return _over(source, visit, where)


def sum_items(source: Closure, summand: Closure | None, initial: Closure, cost: int, where: Where) -> Closure:
    """Add up a list, the way of ``reduce`` with ``+``.

    Args:
        source: Gives the list.
        summand: Gives what is added of an item; None adds the item itself.
        initial: Gives the value before the first item.
        cost: The visits that one item costs.
        where: The place of the operator, for errors.

    Returns:
        The closure.
    """

    def visit(items: list[Any], context: Any, budget: Budget) -> Any:
        total = initial(context, budget)
        budget.visit(len(items) * cost)
        values = items if summand is None else [summand(item) for item in items]
        if type(total) is int and _are_whole(values, (MAX_EXACT - abs(total)) // (len(values) + 1)):
            return total + sum(values)
        for value in values:
            both_floats = type(value) is float and type(total) is float
            total = (total + value or 0) if both_floats else add(budget, total, value)
        return total

    return _over(source, visit, where)
