"""Closures that call the function of an operator, and say meanwhile which one spends the budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automate_core.rules.leaves import Closure
from automate_core.rules.limits import Budget, Where

__all__ = ["binary", "placed", "variadic"]


def binary(function: Callable[..., Any], parts: list[Closure], where: Where) -> Closure:
    """Call a function with the budget and the values of two operands; the arguments are those of :func:`variadic`."""
    first, second = parts

    def compute(context: Any, budget: Budget | None = None) -> Any:
        left, right = first(context, budget), second(context, budget)
        if budget is None:
            return function(None, left, right)
        around, budget.where = budget.where, where
        value = function(budget, left, right)
        budget.where = around
        return value

    return compute


def variadic(function: Callable[..., Any], parts: list[Closure], where: Where) -> Closure:
    """Call a function with the budget and the values of its operands.

    Args:
        function: The function.
        parts: The closures of the operands.
        where: The place of the operator.

    Returns:
        The closure.
    """

    def compute(context: Any, budget: Budget | None = None) -> Any:
        values = [part(context, budget) for part in parts]
        if budget is None:
            return function(None, *values)
        around, budget.where = budget.where, where
        value = function(budget, *values)
        budget.where = around
        return value

    return compute


def placed(function: Callable[..., Any], where: Where) -> Callable[..., Any]:
    """Let a function say where it spends the budget, which is its last argument; the others are as above."""

    def call(*given: Any) -> Any:
        budget = given[-1]
        if budget is None:
            return function(*given)
        around, budget.where = budget.where, where
        value = function(*given)
        budget.where = around
        return value

    return call
