"""Rules over the same data, read once, to compare each with the others."""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import suppress
from typing import Any

from automate_core.errors import RuleError
from automate_core.rules.engine import DEFAULT, Engine
from automate_core.rules.lint.canonical import canonical_text
from automate_core.rules.operators import CLASSIC

__all__ = ["MOST_COMPARED", "RuleSet", "is_classic"]

MOST_COMPARED = 20
"""With how many others a rule is compared at the most by what it implies: that takes time for each pair of rules."""


class RuleSet:
    """Rules over the same data.

    Args:
        rules: The rules by name. One that is not well formed is left out: what is wrong with it is told where that one
            is linted.
        engine: The engine that runs them. Of a dialect in which the operators mean something else, none is read.
        implied: Whether to tell too of which rules one matches whenever the other does.
    """

    __slots__ = ("_alike", "_implied", "_names", "_specs")

    def __init__(self, rules: Mapping[str, Any], *, engine: Engine = DEFAULT, implied: bool = True) -> None:
        self._specs: dict[str, Any] = {}
        self._alike: dict[str, list[str]] = {}
        self._implied = implied
        for name, rule in rules.items() if is_classic(engine) else ():
            with suppress(RuleError):
                spec = self._specs[name] = engine.compile_rule(rule).spec
                self._alike.setdefault(canonical_text(spec), []).append(name)
        self._names: Set[str] = self._specs.keys()

    def among(self, names: Set[str]) -> RuleSet:
        """Return some of the rules, without reading them again.

        Args:
            names: Their names.
        """
        some = RuleSet({}, implied=self._implied)
        some._specs, some._alike, some._names = self._specs, self._alike, self._names & names
        return some

    def same_as(self, rule: Any) -> list[str]:
        """Return the names of the rules that mean the same as far as their form tells, as many as are worth telling.

        Args:
            rule: A checked rule.
        """
        return [name for name in self._alike.get(canonical_text(rule), ()) if name in self._names][:MOST_COMPARED]

    def implying(self) -> dict[str, Any]:
        """Return the rules to compare one with by what it implies: none where they are too many."""
        if not self._implied or len(self._names) > MOST_COMPARED:
            return {}
        return {name: self._specs[name] for name in sorted(self._names)}


def is_classic(engine: Engine) -> bool:
    """Tell whether the operators of JSONLogic mean to an engine what they mean to lint.

    Args:
        engine: The engine.
    """
    return all(engine.operators.get(name) is operator for name, operator in CLASSIC.items())
