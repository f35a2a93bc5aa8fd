"""The spine of a rule, checked, copied and compiled in one walk.

Most rules are comparisons of variables with constants, joined by ``and`` and ``or``. They are read once here; to check
them first, and to compile the copy, takes twice as long. Whatever else hangs on the spine is checked and compiled as
everywhere; whatever is wrong with a rule is left to what says so in the words of :mod:`~automate_core.rules.syntax`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automate_core.errors import RuleError
from automate_core.rules.comparisons import PAIRS
from automate_core.rules.compiler import Compiler
from automate_core.rules.conditions import Condition, join
from automate_core.rules.limits import MAX_DEPTH, MAX_NODES, Where
from automate_core.rules.operators import CLASSIC, Operator
from automate_core.rules.syntax import check, read_comparison

__all__ = ["Spine", "Stretch"]

_COMPARISONS = frozenset(PAIRS)
_NAMES = frozenset({*PAIRS, "and", "or", "var"})

Stretch = tuple[Any, int, bool, Condition, bool]
"""A copy of a part of a rule, the number of its nodes, whether it needs a budget, what is compiled of it, and whether
that gives true or false whatever the data."""


class Spine:
    """Compiles rules from the top down. It keeps no state, so one serves every thread.

    Args:
        operators: The operators that exist.
        compiler: Compiles what hangs on the spine.
    """

    __slots__ = ("_compiler", "_operators")

    def __init__(self, operators: Mapping[str, Operator], compiler: Compiler) -> None:
        self._operators = operators
        self._compiler = compiler

    @staticmethod
    def serves(operators: Mapping[str, Operator]) -> bool:
        """Tell whether what it knows of operators is true of these: another dialect has its own."""
        return all(operators.get(name) is CLASSIC[name] for name in _NAMES)

    def part(self, rule: Any, where: Where = None, room: int = MAX_DEPTH, most: int = MAX_NODES) -> Stretch | None:
        """Check, copy and compile a part of a rule.

        Args:
            rule: Any value.
            where: Its place.
            room: How many levels there may be in it.
            most: How many nodes it may have.

        Returns:
            What it is made of; None where it is not well formed or too large.
        """
        if type(rule) is dict and len(rule) == 1 and room > 1 and most >= 4:
            ((name, given),) = rule.items()
            if type(given) is list and type(name) is str:
                if name in _COMPARISONS:
                    found = read_comparison(name, given)
                    if found is not None:
                        path, comparison = found
                        return {name: [{"var": path}, comparison[2]]}, 4, False, comparison, True
                elif given and (name == "and" or name == "or"):
                    return self._junction(name, given, where, room - 1, most)
        return self._other(rule, where, room, most)

    def _junction(self, name: str, given: list[Any], where: Where, room: int, most: int) -> Stretch | None:
        copy: list[Any] = []
        conditions: list[Condition] = []
        nodes, budgeted, decided = 1, False, True
        for at, item in enumerate(given):
            part = self.part(item, (where, name, at), room, most - nodes)
            if part is None:
                return None
            copy.append(part[0])
            nodes += part[1]
            budgeted = budgeted or part[2]
            conditions.append(part[3])
            decided = decided and part[4]
        return {name: copy}, nodes, budgeted, join(conditions, name == "or", decided), decided

    def _other(self, rule: Any, where: Where, room: int, most: int) -> Stretch | None:
        try:
            copy, nodes, budgeted = check(rule, self._operators, MAX_DEPTH - room)
            if nodes > most:
                return None
            closure, boolean = self._compiler.compile(copy, where)
        except RuleError:
            return None
        return copy, nodes, budgeted, closure, boolean
