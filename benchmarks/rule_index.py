"""Matching: many rules that are installed, and the few that an event can match."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automate_core.rules import RuleIndex, compile_rule

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


def matcher(installed: int) -> Matches:
    """Install rules, and return what counts those that match an event.

    Args:
        installed: How many.
    """
    rules = [compile_rule(rule_of(number, installed)) for number in range(installed)]
    candidates = RuleIndex(enumerate(rules)).candidates
    evaluates = [rule.evaluate for rule in rules]

    def match(event: Any) -> int:
        return sum([evaluates[number](event) for number in candidates(event)])

    return match
