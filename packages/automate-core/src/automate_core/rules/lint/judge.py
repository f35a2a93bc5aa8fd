"""What a condition gives whatever the data, and what follows for the data where it holds.

Everything here errs on one side: what is called always true is so for all data that fits the schema, and where nothing
is known, nothing is said.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

from automate_core.rules.compiler import constant_path
from automate_core.rules.lint import canonical
from automate_core.rules.lint.folding import fold
from automate_core.rules.lint.known import Known, as_conjunction, is_constant, variable
from automate_core.rules.lint.places import ANYWHERE, Place
from automate_core.rules.lint.values import ANYTHING, BOOLEANS, NOTHING, Read, Values, constant, join, truths
from automate_core.rules.operators import CLASSIC
from automate_core.rules.paths import MISSING, split
from automate_core.rules.syntax import operands

__all__ = ["Judge"]

_MAX_WORK = 20_000
_MAX_PAIRS = 256
_MIRRORED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}
_COMPARISONS = frozenset({"==", "===", "!=", "!==", ">", ">=", "<", "<="})
_LISTS = Values(([],), lists=Read())


class Judge:
    """Judges the conditions of rules. It does a limited amount of work, and knows nothing more after that."""

    def __init__(self) -> None:
        self._left = _MAX_WORK
        # What is kept goes with the objects that it is about, so that no other object gets their ids.
        self._keys: dict[int, tuple[Any, str]] = {}
        self._values: dict[tuple[int, int], tuple[Any, Known, Values]] = {}

    # -- truth --------------------------------------------------------------------------------------------------------

    def truth(self, rule: Any, known: Known) -> bool | None:
        """Return whether a condition always holds, or never.

        Args:
            rule: A checked rule.
            known: What is known about the data.

        Returns:
            None where it depends on the data, or cannot be told.
        """
        if known.facts and _is_condition(rule) and (fact := known.facts.get(self._key(rule))) is not None:
            return fact
        values = self.values(rule, known)
        holds, fails = not values.where_true(True).is_empty, not values.where_true(False).is_empty
        return holds if holds is not fails else None

    def values(self, rule: Any, known: Known) -> Values:
        """Return what a rule may give.

        Args:
            rule: A checked rule.
            known: What is known about the data.
        """
        if is_constant(rule):
            return constant(rule)
        if type(rule) is list:
            return Values(lists=Read())
        kept = self._values.get((id(rule), id(known)))
        if kept is None:
            self._left -= 1
            if self._left < 0:
                return ANYTHING
            kept = self._values[id(rule), id(known)] = (rule, known, self._computed(rule, known))
        return kept[2]

    def _computed(self, rule: Any, known: Known) -> Values:
        name, given, _ = operands(rule)
        if name in ("and", "or"):
            return self._junction(name, given, known)
        if name in ("if", "?:"):
            return self._branches(given, known)
        if name in _BOOLEAN and (fact := known.facts.get(self._key(rule)) if known.facts else None) is not None:
            return truths(fact, not fact)
        if name in ("!", "!!"):
            truth = self.truth(given[0], known) if given else False
            return BOOLEANS if truth is None else constant(truth is (name == "!!"))
        if name in _COMPARISONS or name == "in":
            return self._comparison(name, given, known)
        if name == "var":
            return self._variable(rule, given, known)
        return self._other(name, given, known)

    def _key(self, rule: Any) -> str:
        found = self._keys.get(id(rule))
        if found is None:
            found = self._keys[id(rule)] = (rule, canonical.canonical_text(rule))
        return found[1]

    def _junction(self, name: str, given: list[Any], known: Known) -> Values:
        goes_on = name == "and"
        sets: list[Values] = [] if given else [constant(None)]
        for at, part in enumerate(given):
            values = self.values(part, known)
            if at == len(given) - 1:
                sets.append(values)
                break
            sets.append(values.where_true(not goes_on))
            after = self.assume(part, goes_on, known)
            if after is None:
                break
            known = after
        return join(sets)

    def _branches(self, given: list[Any], known: Known) -> Values:
        sets: list[Values] = []
        for at in range(0, len(given) - 1, 2):
            taken, passed = self.assume(given[at], True, known), self.assume(given[at], False, known)
            if taken is not None:
                sets.append(self.values(given[at + 1], taken))
            if passed is None:
                return join(sets)
            known = passed
        sets.append(self.values(given[-1], known) if len(given) % 2 else constant(None))
        return join(sets)

    def _variable(self, rule: Any, given: list[Any], known: Known) -> Values:
        found = variable(rule)
        if found is not None:
            path, default = found
            values = known.at(path)
            instead = constant(default)
        elif (path_alone := constant_path({"var": given[:1]})) is not None:
            values, instead = known.at(path_alone), self.values(given[1], known)
        else:
            return ANYTHING
        if MISSING not in values.exact:
            return values
        return join([values.where(lambda value: value is not MISSING), instead])

    def _comparison(self, name: str, given: list[Any], known: Known) -> Values:
        both = as_conjunction(name, given)
        if both is not None:
            return truths(self._can(both, True, known), self._can(both, False, known))
        holds, fails = (self._compared(name, given, truth, known) for truth in (True, False))
        return truths(holds, fails)

    def _can(self, both: list[Any], truth: bool, known: Known) -> bool:
        return self._assume_all(both, known) is not None if truth else self.truth({"and": both}, known) is not True

    def _compared(self, name: str, given: list[Any], truth: bool, known: Known) -> bool:
        """Return whether a comparison of two values may have this truth."""
        first, second = self.values(given[0], known), self.values(given[1], known)
        narrowed = _narrow(name, first, second, truth, None)
        if narrowed is not None:
            return not narrowed.is_empty
        mirrored = _narrow_right(name, first, second, truth, None)
        if mirrored is not None:
            return not mirrored.is_empty
        if first.is_exact and second.is_exact and len(first.exact) * len(second.exact) <= _MAX_PAIRS:
            compare: Any = CLASSIC[name].function
            return any(
                (isinstance(left, list | dict) and isinstance(right, list | dict))
                or bool(compare(None, left, right)) is truth
                for left, right in product(first.exact, second.exact)
            )
        return name != "in" or not truth or bool(second.kinds & {"array", "string"})

    def _other(self, name: str, given: list[Any], known: Known) -> Values:
        if name in _SEARCHES:
            return self._search(name, given, known)
        if name in ("filter", "map"):
            return _LISTS if "array" in self.values(given[0], known).kinds else constant([])
        if name in ("missing", "missing_some"):
            return self._absent(name, given, known)
        if name == "log":
            return self.values(given[0], known) if given else constant(None)
        if name == "reduce" or name not in CLASSIC:
            return ANYTHING
        return fold(name, [self.values(part, known) for part in given[: CLASSIC[name].used]])

    def _search(self, name: str, given: list[Any], known: Known) -> Values:
        source = self.values(given[0], known)
        filled = [value for value in source.exact if isinstance(value, list) and value]
        if not filled and source.lists is None:
            return constant(name == "none")
        can_be_empty = len(filled) < len(source.exact) or bool(source.kinds - {"array"})
        body = self.truth(given[1], Known(self.items(given[0], known)))
        holds, fails = body is not False, body is not True or can_be_empty
        return truths(fails, holds) if name == "none" else truths(holds, fails)

    def items(self, source: Any, known: Known) -> Place:
        """Return the place of the items that an array operator goes through.

        Args:
            source: Its first operand.
            known: What is known about the data.
        """
        if type(source) is dict and "filter" in source:
            return self.items(source["filter"][0], known)
        path = constant_path(source)
        return ANYWHERE if path is None else known.beneath(path).items()

    def _absent(self, name: str, given: list[Any], known: Known) -> Values:
        keys = given[0] if name == "missing" and given and type(given[0]) is list else given
        if name == "missing_some" or not all(type(key) in (str, int) for key in keys):
            return _LISTS
        sets = [known.at(split(key)) for key in keys]
        is_there = [not values.where(_is_absent).exact for values in sets]
        is_away = [values.is_exact and all(map(_is_absent, values.exact)) and bool(values.exact) for values in sets]
        return constant([]) if all(is_there) else Values(lists=Read()) if any(is_away) else _LISTS

    # -- what follows -------------------------------------------------------------------------------------------------

    def assume(self, rule: Any, truth: bool, known: Known) -> Known | None:
        """Return what is known about the data where a condition holds, or does not.

        Args:
            rule: A checked rule.
            truth: Whether it holds.
            known: What is known anyway.

        Returns:
            None where that cannot be.
        """
        self._left -= 1
        if self._left < 0 or is_constant(rule) or type(rule) is list:
            return known if self._left < 0 or self.truth(rule, known) is not (not truth) else None
        name, given, _ = operands(rule)
        if known.facts and _is_condition(rule) and (fact := known.facts.get(self._key(rule))) is not None:
            return known if fact is truth else None
        after: Known | None
        if name in ("!", "!!") and given:
            after = self.assume(given[0], truth is (name == "!!"), known)
        elif name in ("and", "or") and given:
            after = self._assume_junction(given, name == "and", truth, known)
        elif (both := as_conjunction(name, given)) is not None:
            after = self._assume_junction(both, True, truth, known)
        elif self.truth(rule, known) is (not truth):
            return None
        else:
            after = self._narrowed(name, rule, given, truth, known)
        if after is None or name not in _CONDITIONS:
            return after
        return replace(after, facts={**after.facts, self._key(rule): truth})

    def _assume_all(self, rules: list[Any], known: Known, truth: bool = True) -> Known | None:
        after: Known | None = known
        for rule in rules:
            after = None if after is None else self.assume(rule, truth, after)
        return after

    def _assume_junction(self, given: list[Any], is_and: bool, truth: bool, known: Known) -> Known | None:
        if is_and is truth:
            return self._assume_all(given, known, truth)
        cases = [case for part in given if (case := self.assume(part, truth, known)) is not None]
        joined = cases[0] if cases else None
        for case in cases[1:]:
            joined = case.join(joined) if joined is not None else None
        return joined

    def _narrowed(self, name: str, rule: Any, given: list[Any], truth: bool, known: Known) -> Known | None:
        if name == "var":
            return self._narrow_path(rule, known, lambda values, default: values.where_true(truth, default))
        if name in _SEARCHES:
            if (name == "none") is truth:
                return known
            return self._narrow_path(given[0], known, lambda values, _: Values(lists=values.lists))
        if name not in _COMPARISONS and name != "in":
            return known
        first, second = self.values(given[0], known), self.values(given[1], known)
        after = self._narrow_path(
            given[0], known, lambda values, default: _narrow(name, values, second, truth, default)
        )
        if after is None:
            return None
        return self._narrow_path(
            given[1], after, lambda values, default: _narrow_right(name, first, values, truth, default)
        )

    def _narrow_path(self, rule: Any, known: Known, narrow: Any) -> Known | None:
        found = variable(rule)
        if found is None or type(found[1]) is list:
            return known
        values = known.at(found[0])
        narrowed = narrow(values, found[1])
        if narrowed is None or narrowed == values:
            return known
        return None if narrowed.is_empty else replace(known, narrowed={**known.narrowed, found[0]: narrowed})


def _only(values: Values) -> tuple[Any] | None:
    """Return the one value of a set that has one."""
    return (values.exact[0],) if values.is_exact and len(values.exact) == 1 else None


def _narrow(name: str, values: Values, other: Values, truth: bool, missing: Any) -> Values | None:
    """Return those values on the left of a comparison for which it has a truth; None where that cannot be told."""
    only = _only(other)
    # Lists and objects equal only themselves: whether two of them are one cannot be told.
    if only is None or only[0] is MISSING or isinstance(only[0], dict):
        return None
    if name != "in" and isinstance(only[0], list):
        return None
    if name != "in":
        return values.where_compared(name, only[0], truth, missing)
    if isinstance(only[0], list):
        return values.where_in(only[0], truth, missing)
    if not only[0] or not isinstance(only[0], str):
        return NOTHING if truth else values
    contains: Any = CLASSIC["in"].function
    return values.where(lambda value: bool(contains(None, missing if value is MISSING else value, only[0])) is truth)


def _narrow_right(name: str, other: Values, values: Values, truth: bool, missing: Any) -> Values | None:
    """Return those values on the right of a comparison for which it has a truth; None where that cannot be told."""
    only = _only(other)
    if only is None or only[0] is MISSING or isinstance(only[0], dict | list):
        return None
    if name == "in":
        return values.where_containing(only[0], truth, missing)
    return values.where_compared(_MIRRORED.get(name, name), only[0], truth, missing)


def _is_absent(value: Any) -> bool:
    return value is None or value is MISSING or value == ""


_SEARCHES = frozenset({"all", "none", "some"})
_BOOLEAN = _COMPARISONS | _SEARCHES | {"in", "!", "!!"}
_CONDITIONS = _BOOLEAN | {"and", "or"}
"""Operations whose truth is kept as a fact. The value of ``and`` and ``or`` may be another than true or false."""


def _is_condition(rule: Any) -> bool:
    return type(rule) is dict and not _CONDITIONS.isdisjoint(rule)
