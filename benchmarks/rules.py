"""How fast rules are: ours, its peers and Python written by hand, measured in one run.

::

    python benchmarks/rules.py [--rounds 15] [--json FILE] [--write-docs] [--gate]

It makes its own environment. Everything is timed in every round, one after the other, in CPU time of the thread.
Compare ratios, within one run; times of two runs tell about the machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import repeat
from pathlib import Path
from types import FunctionType
from typing import Any

import environment

LONG_ENOUGH = 0.003
"""Seconds that one measurement takes at least."""

Call = tuple[Callable[[Any], Any], Any]
Timer = Callable[[int], float]
Series = dict[str, list[float]]


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="how often each is measured; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing; report what --json wrote")
    parser.add_argument("--write-docs", action="store_true", help="write the figures into the documentation")
    parser.add_argument("--gate", action="store_true", help="end with an error where a target is missed")
    parser.add_argument("--venv", type=Path, help="the environment; default: bench-rules-venv in the cache")
    return parser.parse_args()


def timed(function: Callable[[Any], Any], argument: Any, times: int) -> float:
    """Return how long a call takes, in seconds.

    Args:
        function: What is called.
        argument: Its argument.
        times: How often it is called.
    """
    again = repeat(None, times)
    began = time.thread_time()
    for _ in again:
        function(argument)
    return (time.thread_time() - began) / times


def timer(call: Call) -> Timer:
    """Return what times a call, given how often it shall be made.

    It has byte code of its own: Python adapts a place in the code to what is called there first, so in a loop that all
    share whatever comes later would be slower.

    Args:
        call: A function and its argument.
    """
    loop = FunctionType(timed.__code__.replace(), timed.__globals__)
    return partial(loop, *call)


def measure_calls(calls: Mapping[str, Call], rounds: int) -> Series:
    """Time calls, one after the other in every round.

    Args:
        calls: What is called, by name.
        rounds: How often.

    Returns:
        Seconds by name and round.
    """
    timers = {name: timer(call) for name, call in calls.items()}
    often = dict.fromkeys(calls, 3)
    for _ in range(2):  # the first calls are slower
        often = {name: max(1, int(LONG_ENOUGH / max(timers[name](often[name]), 1e-8))) for name in calls}
    series: Series = {name: [] for name in calls}
    for _ in range(rounds):
        for name in calls:
            series[name].append(timers[name](often[name]))
    return series


def measure_shapes(rounds: int) -> dict[str, Any]:
    """Time every shape of rule: evaluated by every engine, compiled, explained, and on events that are not as expected.

    Args:
        rounds: How often.
    """
    from automate_core.rules import compile_rule, explain
    from measuring import say
    from rule_engines import OUR_ENGINE, OURS, peers
    from rule_shapes import SHAPES

    others = dict(peers())
    found = {}
    for name, shape in SHAPES.items():
        rule, event = shape.rule, shape.event
        engines = {OURS: OUR_ENGINE, **others}
        calls: dict[str, Call] = {"native": (shape.native, event)}
        expected = shape.native(event)
        for label, engine in engines.items():
            evaluate, prepared = engine.compile(rule), engine.prepare(event)
            answer = evaluate(prepared)
            if answer == expected or answer is bool(expected):
                calls[label] = (evaluate, prepared)
            else:
                say(f"SKIPPED: {label}, {name}: it gives {answer!r:.50}, not {expected!r:.50}")
        calls["compile"] = (compile_rule, rule)
        calls["explain"] = (lambda event, rule=rule: explain(rule, event), event)
        calls["explain, compiled"] = (compile_rule(rule).explain, event)
        evaluate = compile_rule(rule).evaluate
        calls |= {f"odd: {what}": (evaluate, strange) for what, strange in shape.odd.items()}
        found[name] = measure_calls(calls, rounds)
    return found


def measure_payloads(rounds: int) -> dict[str, Any]:
    """Time one rule on events of several sizes, of which it reads three keys.

    Args:
        rounds: How often.
    """
    from rule_engines import OUR_ENGINE, OURS, peers
    from rule_shapes import AND_OR, KILOBYTES, payload

    events = {kilobytes: payload(kilobytes) for kilobytes in KILOBYTES}
    engines = {OURS: OUR_ENGINE, **dict(peers())}
    calls: dict[str, Call] = {
        f"{label}/{kilobytes}": (engine.compile(AND_OR), engine.prepare(event))
        for label, engine in engines.items()
        for kilobytes, event in events.items()
    }
    return measure_calls(calls, rounds)


def measure_matching(rounds: int) -> dict[str, Any]:
    """Time an event against several numbers of installed rules, of which it can match as many each time.

    Args:
        rounds: How often.
    """
    from rule_index import CANDIDATES, EVENT, INSTALLED, matcher

    calls: dict[str, Call] = {}
    for installed in INSTALLED:
        match = matcher(installed)
        if match(EVENT) != CANDIDATES:
            raise RuntimeError(f"{match(EVENT)} of {installed} rules match, not {CANDIDATES}")
        calls[str(installed)] = (match, EVENT)
    return measure_calls(calls, rounds)


def measure(rounds: int) -> dict[str, Any]:
    """Measure everything.

    Args:
        rounds: How often.
    """
    from measuring import machine
    from rule_engines import versions

    gc.disable()
    return {
        "machine": machine(),
        "versions": versions(),
        "rounds": rounds,
        "shapes": measure_shapes(rounds),
        "payloads": measure_payloads(rounds),
        "matching": measure_matching(rounds),
    }


def main() -> int:
    """Measure and report.

    Returns:
        The exit status.
    """
    options = parse()
    environment.enter(options.venv, environment.RULES)
    import rule_page
    from measuring import ROOT, save, say

    result = json.loads(options.read.read_text()) if options.read else measure(options.rounds)
    if options.json:
        save(options.json, result)
    say(rule_page.report(result))
    if options.write_docs:
        say(f"wrote {rule_page.write(result).relative_to(ROOT)}")
    return int(options.gate and not all(target.is_met for target in rule_page.targets(result)))


if __name__ == "__main__":
    raise SystemExit(main())
