"""What redaction costs: ours, a naive loop over every form, and Aho-Corasick automata of others, measured in one run.

::

    python benchmarks/redaction.py [--rounds 7] [--json FILE] [--write-docs] [--gate]

It makes its own environment. Everything is timed in every round, one after the other, in CPU time of the thread.
Compare ratios, within one run; times of two runs tell about the machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import environment

KILOBYTES = (10, 1000)
"""The sizes of the payloads."""
SECRETS = (10, 1000)
"""How many secrets are live."""

OURS, MATCHER, NAIVE = "redact()", "its matcher alone", "naive replacement"
PYAHOCORASICK, AHOCORASICK_RS = "pyahocorasick", "ahocorasick_rs"

Redactor = Callable[[Any], Any]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_WORDS = (
    "order", "customer", "shipped", "parcel", "monkey", "author", "invoice", "Zürich", "paid", "note", "100%", "and",
)  # fmt: skip


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing; report what --json wrote")
    parser.add_argument("--write-docs", action="store_true", help="write the figures into the documentation")
    parser.add_argument("--gate", action="store_true", help="end with an error where a target is missed")
    parser.add_argument("--venv", type=Path, help="the environment; default: bench-redaction-venv in the cache")
    return parser.parse_args()


def secrets(count: int) -> list[str]:
    """Return secrets, the same ones in every run; a tenth of them begin alike.

    Args:
        count: How many.
    """
    source = random.Random(7)
    made = ["".join(source.choices(_LETTERS, k=source.randint(16, 64))) for _ in range(count)]
    return [f"postgresql://app:{one}" if place % 10 == 0 else one for place, one in enumerate(made)]


def payload(kilobytes: int, known: list[str]) -> dict[str, Any]:
    """Return an event as JSON has it, of which one text in five hundred holds a secret.

    Args:
        kilobytes: Its size as JSON.
        known: The secrets.
    """
    source = random.Random(11)
    orders: list[dict[str, Any]] = []
    size = 0
    while size < kilobytes * 1000:
        order = {
            "id": source.randrange(10**9),
            "customer": {"name": " ".join(source.choices(_WORDS, k=3)), "tags": source.choices(_WORDS, k=3)},
            "lines": [{"sku": f"A-{source.randrange(10**6)}", "count": source.randrange(9)} for _ in range(4)],
            "paid": source.random() < 0.5,
            "note": " ".join(source.choices(_WORDS, k=source.randint(5, 60))),
        }
        if len(orders) % 50 == 7:
            order["note"] = f"sent {source.choice(known)} to them"
        orders.append(order)
        size += len(json.dumps(order))
    return {"orders": orders}


def texts(data: Any, change: Callable[[str], str]) -> Any:
    """Return a copy of a JSON value with every text changed, keys too.

    Args:
        data: The value.
        change: Changes a text.
    """
    if isinstance(data, str):
        return change(data)
    if isinstance(data, dict):
        return {change(key): texts(value, change) for key, value in data.items()}
    return [texts(item, change) for item in data] if isinstance(data, list) else data


def redactors(known: list[str]) -> Iterator[tuple[str, Redactor]]:
    """Yield what is compared, by name; peers that are not installed are left out.

    Args:
        known: The secrets.
    """
    from automate_core._redaction.encodings import base64_cores, encodings
    from automate_core._redaction.values import LiveValues
    from automate_core.redaction import REDACTED, redact, remember

    live = LiveValues(limit=100_000)
    for value in known:
        remember(value)
        live.add(value)
    forms = sorted(
        {form for value in known for form in (*encodings(value), *(core for core, _, _ in base64_cores(value)))},
        key=len,
        reverse=True,
    )
    yield OURS, redact
    yield MATCHER, lambda data: texts(data, lambda text: live.replace(text, REDACTED))

    def naive(data: Any) -> Any:
        text = json.dumps(data, ensure_ascii=False)  # one text is its best case
        for form in forms:
            text = text.replace(form, REDACTED)
        return json.loads(text)

    yield NAIVE, naive
    yield from peers(forms, REDACTED)


def peers(forms: list[str], replacement: str) -> Iterator[tuple[str, Redactor]]:
    """Yield the automata of others, with the forms that ours finds.

    Args:
        forms: What is searched for.
        replacement: What stands in its place.
    """
    for name, module, make in (
        (PYAHOCORASICK, "ahocorasick", _pyahocorasick), (AHOCORASICK_RS, "ahocorasick_rs", _ahocorasick_rs)
    ):  # fmt: skip
        if find_spec(module) is not None:
            yield name, partial(_apart, make(forms), replacement)


def _apart(find: Callable[[str], Iterable[tuple[int, int]]], replacement: str, data: Any) -> Any:
    return texts(data, lambda text: _joined(text, find(text), replacement))


def _joined(text: str, spans: Iterable[tuple[int, int]], replacement: str) -> str:
    pieces, done = [], 0
    for start, end in spans:
        pieces += [text[done:start], replacement]
        done = end
    return "".join([*pieces, text[done:]]) if pieces else text


def _pyahocorasick(forms: list[str]) -> Callable[[str], Iterable[tuple[int, int]]]:
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for form in forms:
        automaton.add_word(form, len(form))
    automaton.make_automaton()
    return lambda text: ((last - length + 1, last + 1) for last, length in automaton.iter_long(text))


def _ahocorasick_rs(forms: list[str]) -> Callable[[str], Iterable[tuple[int, int]]]:
    import ahocorasick_rs

    automaton = ahocorasick_rs.AhoCorasick(forms, matchkind=ahocorasick_rs.MatchKind.LeftmostLongest)
    return lambda text: ((start, end) for _, start, end in automaton.find_matches_as_indexes(text))


def measure(rounds: int) -> dict[str, Any]:
    """Measure everything.

    Args:
        rounds: How often.
    """
    from automate_core import redaction
    from measuring import machine, say
    from redaction_page import versions
    from rules import Call, measure_calls

    gc.disable()
    series: dict[str, Any] = {}
    for count in SECRETS:
        known = secrets(count)
        made = dict(redactors(known))
        for kilobytes in KILOBYTES:
            data = payload(kilobytes, known)
            for name, change in made.items():
                shown = json.dumps(change(data))
                if any(value in shown for value in known):
                    raise RuntimeError(f"{name} leaves a secret in the payload of {kilobytes} KB")
            calls: dict[str, Call] = {name: (change, data) for name, change in made.items()}
            series[f"{kilobytes} KB, {count:,} secrets"] = measure_calls(calls, rounds)
            say(f"measured {kilobytes} KB with {count:,} secrets")
        redaction._live.clear()
    return {"machine": machine(), "versions": versions(), "rounds": rounds, "series": series}


def main() -> int:
    """Measure and report.

    Returns:
        The exit status.
    """
    options = parse()
    environment.enter(options.venv, environment.REDACTION)
    import redaction_page
    from measuring import ROOT, save, say

    result = json.loads(options.read.read_text()) if options.read else measure(options.rounds)
    if options.json:
        save(options.json, result)
    say(redaction_page.report(result))
    if options.write_docs:
        say(f"wrote {redaction_page.write(result).relative_to(ROOT)}")
    return int(options.gate and not all(target.is_met for target in redaction_page.targets(result)))


if __name__ == "__main__":
    raise SystemExit(main())
