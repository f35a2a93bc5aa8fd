"""One run: a rule is compiled, evaluated and explained. Many runs: in several processes, each with its own limits."""

from __future__ import annotations

import json
import resource
import signal
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from types import FrameType
from typing import Any, NamedTuple

from automate_core.errors import RuleError
from automate_core.rules import compile_rule, evaluate, explain, format_explanation
from differential.generator import NAMES, OPERATORS, Draw, data_for, rule_for, scalar

from fuzz.values import SHARED, damaged, python_value

__all__ = ["Outcome", "Report", "draw_run", "guarded", "play", "run_many"]

LONGEST = 5.0
"""Seconds of CPU that a run may take; the limits of rules end each within a fraction of this."""

MOST_MEMORY = 2 << 30
PER_CHUNK = 500
_KEYS = ("a", "b", "list", "text")
MOST_FAILURES = 20


class TooSlow(BaseException):
    """A run takes too long. It is no Exception, so that nothing takes it for an error of its own."""


class Outcome(NamedTuple):
    """What a run came to: what refused the rule, empty where nothing did; and what should not have happened."""

    refused: str = ""
    failure: str = ""


class Report(NamedTuple):
    """What several runs came to."""

    runs: int
    outcomes: Counter[str]
    failures: list[tuple[int, str]]


def draw_run(seed: int, number: int) -> tuple[Any, Any]:
    """Draw the rule and the data of one run.

    Args:
        seed: The seed.
        number: The number of the run.
    """
    draw = Draw(seed << 64 | number, 0.02)
    kind = draw.random()
    if kind < 0.2:
        return python_value(draw), _strange_data(draw)
    if kind < 0.5:
        # In large rules most strange values are coerced before they meet.
        few = draw.choices(SHARED, k=2)
        return _meeting(draw), {key: draw.choice((draw.choice(few), few, [few[0]])) for key in _KEYS}
    rule = rule_for(draw)
    if kind < 0.7:
        rule = damaged(draw, rule)
    return rule, data_for(draw) if draw.random() < 0.2 else _strange_data(draw)


def _meeting(draw: Draw) -> dict[str, Any]:
    """Draw one operation on variables."""
    operator = OPERATORS[draw.choice(NAMES)]
    count = draw.randint(max(operator.minimum, 1), 3 if operator.maximum is None else operator.maximum)
    return {operator.name: [_read(draw) for _ in range(count)]}


def _read(draw: Draw) -> Any:
    kind = draw.random()
    variable = {"var": draw.choice(_KEYS)}
    if kind < 0.7:
        return variable
    return [variable] if kind < 0.85 else draw.choice(({"var": ""}, {"var": "current"}, scalar(draw)))


def _strange_data(draw: Draw) -> Any:
    data = data_for(draw)
    if not isinstance(data, dict):
        return python_value(draw)
    for key in data:
        if draw.random() < 0.7:
            data[key] = python_value(draw, 2)
    return data


def play(rule: Any, data: Any) -> Outcome:
    """Do everything that can be done with a rule.

    Args:
        rule: Any value.
        data: Any value.
    """
    try:
        compiled = compile_rule(rule)
        matches: Any = compiled.evaluate(data)
        tree = compiled.explain(data)
    except RuleError as error:
        return Outcome(type(error).__name__, _again(rule, data, type(error)))
    if type(matches) is not bool or tree["result"] is not matches:
        return Outcome("", f"evaluate gives {matches!r}, explain {tree['result']!r}")
    json.dumps(tree, allow_nan=False)
    format_explanation(tree)
    try:
        json.dumps(compiled.value(data), allow_nan=False, default=_name_type, skipkeys=True)
    except RuleError as error:
        return Outcome(f"value: {type(error).__name__}")
    return Outcome()


def _again(rule: Any, data: Any, refusal: type[RuleError]) -> str:
    """Say what is wrong where the short ways do not refuse a rule as the long one did; empty where they do."""
    for way in (evaluate, explain):
        try:
            way(rule, data)
        except RuleError as error:
            if type(error) is not refusal or not isinstance(error.context["pointer"], str):
                return f"{way.__name__} raises {type(error).__name__}, not {refusal.__name__}"
        else:
            return f"{way.__name__} does not raise {refusal.__name__}"
    return ""


def _name_type(value: object) -> str:
    return type(value).__name__


def guarded(seed: int, number: int) -> Outcome:
    """Play one run, and turn whatever it raises into a failure."""
    signal.signal(signal.SIGVTALRM, _interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        return play(*draw_run(seed, number))
    except (Exception, TooSlow) as error:
        return Outcome("", f"{type(error).__name__}: {error}"[:200])
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise TooSlow(f"more than {LONGEST:.0f} s of CPU")


def limit() -> None:
    """Limit this process: a run that would take the machine's memory becomes a failure of that run."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def run_chunk(chunk: tuple[int, int, int]) -> Report:
    """Play runs one after the other.

    Args:
        chunk: The seed, the first number and the one after the last.
    """
    seed, first, last = chunk
    outcomes: Counter[str] = Counter()
    failures = []
    for number in range(first, last):
        outcome = guarded(seed, number)
        outcomes[outcome.refused] += 1
        if outcome.failure:
            failures.append((number, outcome.failure))
    return Report(last - first, outcomes, failures[:MOST_FAILURES])


def run_many(seed: int, count: int, processes: int) -> Iterator[Report]:
    """Play runs in several processes, and yield what some of them came to as they end.

    Args:
        seed: The seed.
        count: How many.
        processes: In how many processes.
    """
    chunks = [(seed, first, min(first + PER_CHUNK, count)) for first in range(0, count, PER_CHUNK)]
    with get_context("spawn").Pool(processes, limit) as pool:
        yield from pool.imap_unordered(run_chunk, chunks)
