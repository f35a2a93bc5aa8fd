"""Matching: many rules that are installed, and the few that an event can match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from automate_core.rules import compile_rule

CANDIDATES = 20
INSTALLED = (100, 1_000, 10_000, 100_000)

Matches = Callable[[Any], int]


def rule_of(number: int, installed: int) -> dict[str, Any]:
    """Return one of many rules: a type, a tenant and an amount; twenty of them have type and tenant of the event.

    Args:
        number: Which.
        installed: How many there are.
    """
    meant = number % (installed // CANDIDATES) == 0
    tenant = "acme" if meant else f"tenant-{number}"
    return {
        "and": [
            {"==": [{"var": "type"}, "order.paid" if meant or number % 2 else "order.shipped"]},
            {"==": [{"var": "tenant"}, tenant]},
            {">=": [{"var": "amount"}, 100]},
        ]
    }


EVENT = {"type": "order.paid", "tenant": "acme", "amount": 150}


def candidates_of(rules: Sequence[Any]) -> Callable[[Any], Sequence[int]] | None:
    """Build the index, and return what asks it for the numbers of the rules that data can match.

    Everything that the benchmark knows about the index is here.

    Args:
        rules: Compiled rules.

    Returns:
        The question; None where there is no index yet.
    """
    try:
        from automate_core.rules.index import RuleIndex
    except ImportError:
        return None
    asked: Callable[[Any], Sequence[int]] = RuleIndex(enumerate(rules)).candidates
    return asked


def matcher(installed: int) -> Matches | None:
    """Install rules, and return what counts those that match an event; None where there is no index yet.

    Args:
        installed: How many.
    """
    rules = [compile_rule(rule_of(number, installed)) for number in range(installed)]
    candidates = candidates_of(rules)
    if candidates is None:
        return None
    evaluates = [rule.evaluate for rule in rules]

    def match(event: Any) -> int:
        return sum([evaluates[number](event) for number in candidates(event)])

    return match
