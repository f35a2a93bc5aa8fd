"""Compare with json-logic-js and json-logic-qubit: ``python -m tests.differential --seed 7 --rules 20000``."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from differential import qubit, recording
from differential.differences import DECISIONS, Difference, differences
from differential.generator import OFTEN, Case, cases
from differential.javascript import PACKAGE, VERSION, Unavailable
from differential.shrinking import shrink

LEAST_EQUAL = 0.999
LONGEST_SHOWN = 10


def say(text: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Compare, and return 1 where something differs that nobody decided."""
    parser = argparse.ArgumentParser(prog="differential", description="Random rules beside the original.")
    parser.add_argument("--seed", type=int, help="play one seed again (default: a new one)")
    parser.add_argument("--rules", type=int, default=20_000, help="how many rules (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="keep the answers for the tests that run without Node")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if given.seed is None else given.seed
    say(f"seed {seed}: nox -s differential -- --seed {seed} --rules {given.rules}")
    try:
        failed = compare(seed, given.rules)
        if given.record:
            say(f"recorded in {recording.record(seed)}")
    except Unavailable as reason:
        say(f"SKIPPED: {PACKAGE} {VERSION}: {reason}")
        failed = os.environ.get("CI") == "true"
    return int(compare_with_qubit(seed, given.rules) or failed)


def compare(seed: int, count: int) -> bool:
    """Compare with json-logic-js: ordinary rules, and a twentieth as many that aim at what is known to differ."""
    ordinary = list(cases(seed, count))
    found = differences(ordinary)
    equal = 1 - sum(difference.is_of_value for difference in found) / count
    raised = sum(bool(difference.mine.error) for difference in found)
    say(f"\n{PACKAGE} {VERSION}, {count:,} rules: {equal:.3%} equal, {raised} raise")
    tell(found)
    aimed = differences(list(cases(seed, max(1, count // 20), OFTEN)))
    say(f"\n{max(1, count // 20):,} rules that aim at the differences:")
    tell(aimed)
    unexplained = [difference for difference in (*found, *aimed) if not difference.reasons]
    for difference in unexplained[:LONGEST_SHOWN]:
        show(difference)
    return bool(unexplained) or raised > 0 or equal < LEAST_EQUAL


def tell(found: Sequence[Difference]) -> None:
    """Print the reviewed table with the count and the smallest example of each decision."""
    counts = Counter(reason for difference in found for reason in difference.reasons)
    for reason, why in DECISIONS.items():
        say(f"  {counts[reason]:5}  {reason}: {why}")
        examples = [difference.case.rule for difference in found if difference.reasons == (reason,)]
        if examples:
            say(f"         e.g. {json.dumps(min(examples, key=lambda rule: len(json.dumps(rule))))[:200]}")
    say(f"  {sum(not difference.reasons for difference in found):5}  without a reason")


def show(difference: Difference) -> None:
    """Print a difference that nothing explains, as small as it can be made."""

    def stays(candidates: Sequence[Case]) -> list[bool]:
        still = {other.number for other in differences(candidates) if not other.reasons}
        return [number in still for number in range(len(candidates))]

    small = shrink(difference.case, stays)
    ((_, case, original, mine, _),) = differences([small])
    say(f"\nrule {difference.number}, made small:")
    for name, what in (("rule", case.rule), ("data", case.data), ("original", original), ("ours", mine)):
        say(f"  {name:8}  {json.dumps(what)}")


def compare_with_qubit(seed: int, count: int) -> bool:
    """Compare with json-logic-qubit: operators on constants, where every difference has one of the reviewed reasons."""
    counts, unexplained = qubit.compare(seed, count)
    say(f"\njson-logic-qubit, {count:,} operations: {counts[''] / count:.1%} equal")
    for reason, why in qubit.REASONS.items():
        say(f"  {counts[reason]:5}  {reason}: {why}")
    say(f"  {len(unexplained):5}  without a reason")
    for line in unexplained[:LONGEST_SHOWN]:
        say(f"         {line}")
    return bool(unexplained)


if __name__ == "__main__":
    raise SystemExit(main())
