"""Trying one case in a process of its own, which may take no more memory than is allowed."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from automate_core.errors import RuleError
from automate_core.rules import compile_rule, evaluate, explain

from hostile.cases import CASES

__all__ = ["MOST_MEGABYTES", "MOST_SECONDS", "Trial", "attempt", "attempt_here"]

MOST_SECONDS = 1.0
MOST_MEGABYTES = 100
_YARDSTICK_SECONDS = 0.04
_MOST_SLOWNESS = 4.0
_LONGEST = 60
_KILOBYTE = 1 << 10
_ROOT = Path(__file__).resolve().parents[2]
_STATUS = Path("/proc/self/status")


class Trial(NamedTuple):
    """What came of a case.

    Args:
        end: In what each way ended: ``a value`` or the name of the error.
        seconds: CPU time of the slowest way.
        megabytes: Memory at its peak, beyond what the rule and the data take.
        problem: What is wrong beside time and memory; empty for nothing.
        slowness: By how much this machine was slower than usual, both just before and just after; 1 to 4. The
            clock of the CPU goes on while others have the caches and the other half of the core.
    """

    end: str
    seconds: float
    megabytes: float
    problem: str = ""
    slowness: float = 1.0

    @property
    def is_in_time(self) -> bool:
        """Whether it took no more of the CPU than is good on this machine."""
        return self.seconds <= MOST_SECONDS * self.slowness

    @property
    def is_good(self) -> bool:
        """Whether the promise is kept."""
        return not self.problem and self.is_in_time and self.megabytes <= MOST_MEGABYTES


def attempt(name: str) -> Trial:
    """Try a case in a process of its own, and once more where it took too long: a busy machine slows CPU time too.

    Args:
        name: Its name.
    """
    trial = _attempt_once(name)
    return trial if trial.is_in_time or trial.problem else _attempt_once(name)


def _attempt_once(name: str) -> Trial:
    command = [sys.executable, "-m", "tests.hostile", "--alone", name]
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        return Trial("nothing", _LONGEST, 0, "it does not end")
    if done.returncode:
        return Trial("nothing", 0, 0, f"the process ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    return Trial(*json.loads(done.stdout))


def attempt_here(name: str) -> Trial:
    """Try a case in this process, which it limits; the allowance is twice what is good, so that it can be exceeded.

    Args:
        name: Its name.
    """
    rule, data = CASES[name]()
    ways: tuple[Callable[[], Any], ...] = (
        lambda: compile_rule(rule),
        lambda: evaluate(rule, data),
        lambda: explain(rule, data),
        lambda: compile_rule(rule).explain(data),
        lambda: compile_rule(rule).value(data),
    )
    evaluate({"==": [1, 1]}, {})  # whatever is made at first use
    explain({"==": [1, 1]}, {})
    before = _forget_peak()
    allowed = _status("VmSize") * _KILOBYTE + (2 * MOST_MEGABYTES << 20)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    ends, slowest, problem, slowness = [], 0.0, "", _slowness()
    for way in ways:
        began = time.process_time()
        try:
            way()
            end = "a value"
        except RuleError as error:
            end = type(error).__name__
        except BaseException as error:  # whatever it is, the table has to show it
            end = problem = type(error).__name__
        slowest = max(slowest, time.process_time() - began)
        ends.append(end)
    megabytes = (_status("VmHWM") - before) / _KILOBYTE
    slowness = min(slowness, _slowness(), _MOST_SLOWNESS)
    return Trial(", then ".join(dict.fromkeys(ends[1:])), slowest, megabytes, problem, slowness)


def _slowness() -> float:
    """Return what a fixed piece of work took of the CPU, over what it usually takes; 1 at least."""
    began = time.process_time()
    numbers: dict[int, int] = {}
    for number in range(400_000):
        numbers[number % 97] = numbers.get(number % 89, 0) + number
    return max(1.0, (time.process_time() - began) / _YARDSTICK_SECONDS)


def _forget_peak() -> int:
    """Begin a new peak of this process's memory, and return where it begins, in KB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmHWM")


def _status(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])
