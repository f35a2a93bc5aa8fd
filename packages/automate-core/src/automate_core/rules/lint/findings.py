"""What lint finds, and how it names the parts of a rule."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from automate_core.rules.compiler import constant_path
from automate_core.rules.display import REDACTED
from automate_core.rules.lint.concealment import conceal
from automate_core.rules.syntax import operands

__all__ = ["Finding", "Severity", "enumerated", "phrase"]

_INFIX = frozenset({"==", "===", "!=", "!==", ">", ">=", "<", "<=", "in"})
_LONGEST = 80


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """The rule does not do what it says: a name that does not exist, a condition that can never hold."""
    WARNING = "warning"
    """The rule can be written better, or means more than it seems to."""
    NOTE = "note"
    """What is worth knowing, and may well be meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a rule.

    Args:
        code: What it is, for machines, such as ``"unknown-variable"``.
        severity: How bad it is.
        pointer: JSON pointer into the rule; empty for the whole.
        message: What is wrong, and what to do about it.
    """

    code: str
    severity: Severity
    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.message} ({self.code})"

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON."""
        return {name: str(value) for name, value in asdict(self).items()}


def phrase(rule: Any, is_secret: bool = False) -> str:
    """Write a part of a rule as sentences name it, without constants that are compared with secrets.

    Args:
        rule: A checked rule.
        is_secret: Whether the items that it reads are secrets.
    """
    text = _written(conceal(rule, is_secret))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _written(rule: Any) -> str:
    if rule == REDACTED:
        return REDACTED
    path = constant_path(rule)
    if path is not None:
        return ".".join(path) or "the value itself"
    if type(rule) is dict and rule:
        name, given, _ = operands(rule)
        if name in _INFIX and len(given) == 2:
            return f"{_written(given[0])} {name} {_written(given[1])}"
        if name in ("!", "!!") and len(given) == 1:
            return f"{name} {_written(given[0])}"
    return json.dumps(rule, ensure_ascii=False)


def enumerated(words: Iterable[str], last: str = "or") -> str:
    """Join words by commas.

    Args:
        words: The words.
        last: What stands before the last one.
    """
    every = list(words)
    return f"{', '.join(every[:-1])} {last} {every[-1]}" if len(every) > 1 else "".join(every)
