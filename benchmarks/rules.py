"""Rules: evaluated, compiled and explained, beside json-logic-qubit and Python written by hand, in one run.

::

    python benchmarks/rules.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from importlib.metadata import packages_distributions
from typing import Any

import json_logic
from automate_core.rules import compile_rule, explain
from measuring import figure, median, ratio, say, table

EVENT: dict[str, Any] = {
    "type": "order.paid",
    "amount": 150,
    "country": "DE",
    "customer": {"vip": False, "address": {"home": {"place": {"region": {"code": 5}}}}},
    **{f"field_{number}": number + 1 for number in range(30)},
}


def one(event: Any) -> bool:
    """Compare one field."""
    return bool(event["amount"] >= 100)


def few(event: Any) -> bool:
    """Combine three conditions."""
    return bool(event["type"] == "order.paid" and (event["amount"] >= 1000 or event["country"] == "DE"))


thirty = eval("lambda event: " + " and ".join(f"event['field_{number}'] > {number}" for number in range(30)))


def deep(event: Any) -> bool:
    """Compare what lies six levels deep."""
    return bool(event["customer"]["address"]["home"]["place"]["region"]["code"] == 5)


SHAPES: dict[str, tuple[Any, Callable[[Any], bool]]] = {
    "one condition": ({">=": [{"var": "amount"}, 100]}, one),
    "and/or": (
        {
            "and": [
                {"==": [{"var": "type"}, "order.paid"]},
                {"or": [{">=": [{"var": "amount"}, 1000]}, {"==": [{"var": "country"}, "DE"]}]},
            ]
        },
        few,
    ),
    "30 conditions": ({"and": [{">": [{"var": f"field_{number}"}, number]} for number in range(30)]}, thirty),
    "deep path": ({"==": [{"var": "customer.address.home.place.region.code"}, 5]}, deep),
}


def seconds(call: Callable[[], object], calls: int) -> float:
    """Return how long a call takes.

    Args:
        call: What is measured.
        calls: How often it is called.
    """
    times = range(calls)
    started = time.perf_counter()
    for _ in times:
        call()
    return (time.perf_counter() - started) / calls


def measure(rule: Any, native: Callable[[Any], bool], rounds: int) -> dict[str, list[float]]:
    """Time everything that can be done with a rule, one after the other in every round.

    Args:
        rule: The rule.
        native: The same, written by hand.
        rounds: How often.
    """
    compiled = compile_rule(rule)
    told = compiled.explain(EVENT)
    if not compiled.evaluate(EVENT) is told["result"] is json_logic.jsonLogic(rule, EVENT) is native(EVENT):
        sys.exit(f"not all agree on {rule}")
    calls: dict[str, Callable[[], object]] = {
        "native": lambda: native(EVENT),
        "qubit": lambda: json_logic.jsonLogic(rule, EVENT),
        "evaluate": lambda: compiled.evaluate(EVENT),
        "compile": lambda: compile_rule(rule),
        "explain, compiled": lambda: compiled.explain(EVENT),
        "explain": lambda: explain(rule, EVENT),
    }
    often = {name: max(1, int(0.003 / max(seconds(call, 20), 1e-8))) for name, call in calls.items()}
    series: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            series[name].append(seconds(call, often[name]))
    return series


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Rules beside json-logic-qubit and Python written by hand.")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    if packages_distributions()["json_logic"] != ["json-logic-qubit"]:
        sys.exit("another distribution than json-logic-qubit owns the module json_logic")
    gc.disable()
    rows = []
    for shape, (rule, native) in SHAPES.items():
        series = measure(rule, native, rounds)
        for name in ("evaluate", "compile", "explain, compiled", "explain"):
            to_qubit = ratio(series[name], series["qubit"])["median"]
            to_native = ratio(series[name], series["native"])["median"]
            time_of = f"{median(series[name]) * 1e6:.2f} us"
            rows.append([shape, name, time_of, f"{to_qubit:.3f}", figure(to_native)])
    say(table("", ["rule", "what", "median", "of one evaluation by qubit", "of native Python"], rows))


if __name__ == "__main__":
    main()
