"""Answers of the original, kept for the tests that run without Node."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from differential.differences import DECISIONS, Difference, differences
from differential.generator import OFTEN, cases
from differential.javascript import PACKAGE, VERSION, ask

__all__ = ["RECORDED", "record"]

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "packages" / "automate-core" / "tests" / "rules" / "data" / "recorded.json"
_CASES = 1_500
_AIMED = 3_000
_OF_EACH = 10


def record(seed: int) -> str:
    """Record cases on which the two agree, and a few of each decision.

    Args:
        seed: The seed.

    Returns:
        The file, from the root of the repository.
    """
    ordinary = list(cases(seed, _CASES))
    found = differences(ordinary)
    different = {difference.number for difference in found}
    agreed = [case for number, case in enumerate(ordinary) if number not in different]
    answers = [answer.value for answer in ask((case, ()) for case in agreed)]
    aimed = differences(list(cases(seed, _AIMED, OFTEN)))
    _write(seed, [[*case, answer] for case, answer in zip(agreed, answers, strict=True)], (*found, *aimed))
    return str(RECORDED.relative_to(ROOT))


def _write(seed: int, equal: Sequence[Any], found: Sequence[Difference]) -> None:
    lines = [f'{{"source": "{PACKAGE} {VERSION}, seed {seed}",', '"equal": [', *_listed(equal), "],", '"decisions": {']
    for place, reason in enumerate(DECISIONS):
        examples = [_example(difference) for difference in found if difference.reasons == (reason,)]
        shortest = sorted(examples, key=lambda example: len(json.dumps(example)))[:_OF_EACH]
        lines += [f'"{reason}": [', *_listed(shortest), "]" + ("," if place < len(DECISIONS) - 1 else "")]
    RECORDED.write_text("\n".join([*lines, "}}", ""]))


def _listed(cases: Sequence[Any]) -> Iterator[str]:
    for place, case in enumerate(cases):
        yield json.dumps(case) + ("," if place < len(cases) - 1 else "")


def _example(difference: Difference) -> list[Any]:
    original = difference.original
    told = {"error": original.error} if original.error else {"value": original.value, "truth": original.truth}
    return [*difference.case, told, difference.mine.value]
