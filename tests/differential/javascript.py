"""json-logic-js under Node, as it was published: a development tool, installed into the cache at first use."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from differential.generator import Case

__all__ = ["PACKAGE", "VERSION", "Answer", "Unavailable", "ask", "prepare"]

PACKAGE, VERSION = "json-logic-js", "2.0.5"
_CONTENT = "73a6dc521e8990c2eed330dcfdb35605d7e1065a6e19d26673cb7ad4cd09d881"
_EXACT_DIGITS = 15
_HERE = Path(__file__).resolve().parent
_FOLDER = _HERE.parents[1] / ".cache" / f"{PACKAGE}-{VERSION}"
_FILE = _FOLDER / "node_modules" / PACKAGE / "logic.js"


class Unavailable(Exception):
    """Node, or the package, cannot be had here."""


class Answer(NamedTuple):
    """What an engine says: the value as JSON, whether it is truthy, and what was raised instead."""

    value: Any = None
    truth: bool = False
    error: str = ""


def prepare() -> Path:
    """Install the package where it is missing, and return its file.

    Raises:
        Unavailable: If that is impossible.
    """
    if not shutil.which("node"):
        raise Unavailable("there is no Node: install the packages nodejs and npm")
    if not _FILE.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable(f"there is no npm, and {PACKAGE} {VERSION} is not in the cache")
        _FOLDER.mkdir(parents=True, exist_ok=True)
        options = ("--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix", str(_FOLDER))
        done = subprocess.run([npm, "install", *options, f"{PACKAGE}@{VERSION}"], capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"{PACKAGE} {VERSION} cannot be installed: {(done.stderr or done.stdout).strip()[-500:]}")
    if hashlib.sha256(_FILE.read_bytes()).hexdigest() != _CONTENT:
        raise Unavailable(f"{_FILE} is not what was published as {PACKAGE} {VERSION}")
    return _FILE


def _number(digits: str) -> int | float:
    """Read an integer as JavaScript has it."""
    return float(digits) if len(digits) > _EXACT_DIGITS else int(digits)


def ask(requests: Iterable[tuple[Case, Sequence[str]]]) -> list[Answer]:
    """Ask the original.

    Args:
        requests: Cases, each with the decisions of ours that are built into the original for it.

    Returns:
        The answers, in order.

    Raises:
        Unavailable: If it cannot be had here.
    """
    lines = [json.dumps([rule, data, sorted(decisions)]) for (rule, data), decisions in requests]
    command = ["node", str(_HERE / "answering.js"), str(prepare())]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"Node ended with {done.returncode}: {done.stderr[-1000:]}")
    answers = [Answer(**json.loads(line, parse_int=_number)) for line in done.stdout.splitlines()]
    if len(answers) != len(lines):
        raise RuntimeError(f"{len(lines)} requests have {len(answers)} answers")
    return answers
