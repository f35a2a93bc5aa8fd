"""The rules that are measured, each beside the same in Python written by hand, with the data that it meets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

EVENT: dict[str, Any] = {
    "type": "order.paid",
    "amount": 150,
    "country": "DE",
    "customer": {"vip": False, "address": {"home": {"place": {"region": {"code": 5}}}}},
    **{f"field_{number}": number + 1 for number in range(30)},
}
ITEMS = {"items": list(range(1, 1_001))}  # json-logic-qubit loses an item 0
KILOBYTES = (0, 1, 10, 100)


@dataclass(frozen=True)
class Shape:
    """One kind of rule.

    Args:
        rule: The rule.
        native: The same, written by hand.
        event: What both meet.
        most: How many times as long as the native one it may take.
        least: How many times as fast as json-logic-qubit it has to be.
        odd: Events in which what the rule reads is missing, or has another type.
    """

    rule: Any
    native: Callable[[Any], Any]
    event: Mapping[str, Any]
    most: float
    least: float | None = 40
    odd: Mapping[str, Any] = field(default_factory=dict)


def one(event: Any) -> Any:
    """Compare one field."""
    return event["amount"] >= 100


def few(event: Any) -> Any:
    """Combine three conditions."""
    return event["type"] == "order.paid" and (event["amount"] >= 1000 or event["country"] == "DE")


thirty: Callable[[Any], Any] = eval(
    "lambda event: " + " and ".join(f"event['field_{number}'] > {number}" for number in range(30))
)


def deep(event: Any) -> Any:
    """Compare what lies six levels deep."""
    return event["customer"]["address"]["home"]["place"]["region"]["code"] == 5


def mapped(event: Any) -> Any:
    """Compute something for each item."""
    return [item * 2 for item in event["items"]]


def filtered(event: Any) -> Any:
    """Keep some of the items."""
    return [item for item in event["items"] if item > 500]


def summed(event: Any) -> Any:
    """Add the items up."""
    return reduce(lambda total, item: total + item, event["items"], 0)


def all_three(event: Any) -> Any:
    """Keep some items, compute something for each, and add that up."""
    return reduce(lambda total, item: total + item, [item * 2 for item in event["items"] if item > 500], 0)


MAP = {"*": [{"var": ""}, 2]}
FILTER = {">": [{"var": ""}, 500]}
REDUCE = {"+": [{"var": "current"}, {"var": "accumulator"}]}
OF_ITEMS = {"var": "items"}
CODE = "customer.address.home.place.region.code"
AND_OR = {
    "and": [
        {"==": [{"var": "type"}, "order.paid"]},
        {"or": [{">=": [{"var": "amount"}, 1000]}, {"==": [{"var": "country"}, "DE"]}]},
    ]
}


def without(*keys: str) -> dict[str, Any]:
    """Return the event without some keys."""
    return {key: value for key, value in EVENT.items() if key not in keys}


SHAPES = {
    "simple": Shape(
        {">=": [{"var": "amount"}, 100]},
        one,
        EVENT,
        most=2,
        odd={
            "missing": without("amount"),
            "null": {**EVENT, "amount": None},
            "numeric text": {**EVENT, "amount": "150"},
            "other text": {**EVENT, "amount": "many"},
            "list": {**EVENT, "amount": [150]},
            "object": {**EVENT, "amount": {"value": 150}},
        },
    ),
    "and/or": Shape(
        AND_OR,
        few,
        EVENT,
        most=3,
        odd={
            "missing": without("amount", "country"),
            "number for text": {**EVENT, "type": 7},
            "text for number": {**EVENT, "amount": "150"},
        },
    ),
    "30 conditions": Shape(
        {"and": [{">": [{"var": f"field_{number}"}, number]} for number in range(30)]},
        thirty,
        EVENT,
        most=3,
        odd={
            "last one missing": without("field_29"),
            "texts for numbers": {**EVENT, **{f"field_{number}": str(number + 1) for number in range(30)}},
        },
    ),
    "deep path": Shape(
        {"==": [{"var": CODE}, 5]},
        deep,
        EVENT,
        most=3,
        least=None,
        odd={
            "missing": without("customer"),
            "cut short": {**EVENT, "customer": {"address": {"home": {}}}},
            "list on the way": {**EVENT, "customer": {"address": {"home": [1]}}},
            "text for number": {**EVENT, "customer": {"address": {"home": {"place": {"region": {"code": "5"}}}}}},
        },
    ),
    "map, 1,000 items": Shape({"map": [OF_ITEMS, MAP]}, mapped, ITEMS, most=3),
    "filter, 1,000 items": Shape({"filter": [OF_ITEMS, FILTER]}, filtered, ITEMS, most=3),
    "reduce, 1,000 items": Shape({"reduce": [OF_ITEMS, REDUCE, 0]}, summed, ITEMS, most=3),
    "all three, 1,000 items": Shape(
        {"reduce": [{"map": [{"filter": [OF_ITEMS, FILTER]}, MAP]}, REDUCE, 0]}, all_three, ITEMS, most=3
    ),
}


def payload(kilobytes: int) -> dict[str, Any]:
    """Return the event with more in it, of which rules read nothing.

    Args:
        kilobytes: About how much, as JSON.
    """
    return {**EVENT, "lines": [{"sku": f"{number:08}", "text": "x" * 68} for number in range(kilobytes * 10)]}
