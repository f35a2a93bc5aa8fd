"""Constants of rules that are secrets or stand beside one: as an explanation hides its value, no finding shows them."""

from __future__ import annotations

from typing import Any

from automate_core._redaction.keys import extra_keys
from automate_core.redaction import redact
from automate_core.rules.display import REDACTED
from automate_core.rules.ledger import names_secret
from automate_core.rules.paths import split
from automate_core.rules.syntax import operands

__all__ = ["conceal", "reads_secret"]

_JUNCTIONS = frozenset({"and", "or", "if", "?:"})
_NAMING = frozenset({"missing", "missing_some"})
"""Operators whose constants are names of variables."""


def conceal(rule: Any, is_secret: bool = False) -> Any:
    """Return a rule without the constants that are secrets or tell about one; null, true and false tell nothing.

    Args:
        rule: A checked rule, or a constant.
        is_secret: Whether what is around it reads a secret.
    """
    if type(rule) is list:
        return [conceal(item, is_secret) for item in rule]
    if type(rule) is not dict or not rule:
        return REDACTED if is_secret and rule is not None and type(rule) is not bool else redact(rule)
    name, given, listed = operands(rule)
    if name in _NAMING:
        return redact(rule)
    beside = is_secret or reads_secret(rule)
    if name == "var":
        parts = [*redact(given[:1]), *(conceal(part, beside) for part in given[1:])]
    else:
        # The conditions of an "and" are compared with something of their own.
        parts = [conceal(part, is_secret if name in _JUNCTIONS and type(part) is dict else beside) for part in given]
    return {name: parts if listed else parts[0]}


def reads_secret(rule: Any) -> bool:
    """Tell whether a rule reads a variable whose name is that of a secret, or is computed.

    Args:
        rule: A checked rule.
    """
    if type(rule) is list:
        return any(map(reads_secret, rule))
    if type(rule) is not dict or not rule:
        return False
    name, given, _ = operands(rule)
    if name == "var" and given:
        path = given[0]
        return isinstance(path, dict | list) or names_secret(split(path), extra_keys()) or reads_secret(given[1:])
    return any(map(reads_secret, given))
