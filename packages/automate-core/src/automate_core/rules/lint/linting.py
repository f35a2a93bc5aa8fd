"""The walk over a rule that collects what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automate_core._schema_form import ensure_supported
from automate_core.rules.engine import DEFAULT, Engine
from automate_core.rules.limits import escape
from automate_core.rules.lint.concealment import reads_secret
from automate_core.rules.lint.findings import Finding, Severity, phrase
from automate_core.rules.lint.judge import Judge
from automate_core.rules.lint.known import Known, Path, as_conjunction, is_constant
from automate_core.rules.lint.leaves import Comparison, check_comparison, check_path
from automate_core.rules.lint.places import ANYWHERE, Place, place_of
from automate_core.rules.lint.ruleset import RuleSet, is_classic
from automate_core.rules.paths import split
from automate_core.rules.syntax import operands

__all__ = ["lint"]

_PAIRWISE = 40
_COMPARISONS = frozenset({"==", "===", "!=", "!==", ">", ">=", "<", "<=", "in"})
_SCOPED = frozenset({"all", "filter", "map", "none", "some"})


def lint(
    rule: Any, schema: Any = None, others: Mapping[str, Any] | RuleSet | None = None, *, engine: Engine = DEFAULT
) -> list[Finding]:
    """Find what is wrong with a rule, without any data.

    Args:
        rule: The rule, JSONLogic as JSON data.
        schema: JSON Schema of the data; None where nothing is known. What it does not understand of the schema makes
            it say less, never what is wrong.
        others: Other rules over the same data, by name; told are those that are the same, and those of which one
            matches whenever the other does, unless they are more than 20. One that is not well formed is left out. To
            lint each of many rules beside the others, make one :class:`~automate_core.rules.lint.RuleSet` of them.
        engine: The engine that runs the rule, where it has operators of its own. In a dialect in which the operators
            mean something else nothing is found, and only the errors below are raised.

    Returns:
        The findings, in the order of the rule; those about other rules at the end.

    Raises:
        RuleError: If the rule is not well formed, as :func:`~automate_core.rules.compile_rule`.
        ConfigurationError: If the schema is malformed or uses what is not understood.
    """
    checked = engine.compile_rule(rule).spec
    if schema is not None:
        ensure_supported(schema)
    if not is_classic(engine):
        return []
    known = Known(ANYWHERE if schema is None else place_of(schema))
    walk = _Walk()
    walk.visit(checked, "", known, known, is_condition=True)
    walk.conclude(checked, known)
    if others is not None:
        walk.compare(checked, others if isinstance(others, RuleSet) else RuleSet(others, engine=engine), known)
    return walk.findings


class _Walk:
    """What was found so far."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._judge = Judge()
        self._decided: set[str] = set()
        """Places of conditions whose truth a finding has told."""

    def _find(self, code: str, severity: Severity, pointer: str, message: str) -> None:
        self.findings.append(Finding(code, severity, pointer, message))

    def visit(self, rule: Any, pointer: str, known: Known, around: Known, *, is_condition: bool) -> None:
        """Look at one part of the rule.

        Args:
            rule: The part.
            pointer: Where it is.
            known: What the schema says about the data.
            around: What is known where the conditions beside it hold.
            is_condition: Whether only its truth matters.
        """
        if type(rule) is list:
            for at, item in enumerate(rule):
                self.visit(item, f"{pointer}/{at}", known, around, is_condition=False)
            return
        if type(rule) is not dict or not rule:
            return
        name, given, listed = operands(rule)
        inside = f"{pointer}/{escape(name)}"
        places = [f"{inside}/{at}" if listed else inside for at in range(len(given))]
        if name == "var":
            self._visit_variable(given, pointer, known)
        elif name in ("missing", "missing_some"):
            self._visit_missing(name, given, inside, known)
        elif name in ("and", "or"):
            self._visit_junction(name, given, places, known, around, is_condition=is_condition)
        elif name in _SCOPED or name == "reduce":
            self._visit_items(name, given, places, known, around, pointer)
        else:
            self._visit_operation(rule, pointer, places, known, around, is_condition=is_condition)

    def _visit_operation(
        self, rule: Any, pointer: str, places: list[str], known: Known, around: Known, *, is_condition: bool
    ) -> None:
        name, given, _ = operands(rule)
        if name in _COMPARISONS:
            self._visit_comparison(name, rule, given, pointer, known, around)
        for at, part in enumerate(given):
            self.visit(part, places[at], known, around, is_condition=_is_tested(name, at, len(given)))
        if is_condition and name in ("if", "?:"):
            self._tell_truth(rule, pointer, known)

    def _visit_variable(self, given: list[Any], pointer: str, known: Known) -> None:
        if given and type(given[0]) in (str, int):
            self.findings += check_path(split(given[0]), known.place, pointer)
        for at, part in enumerate(given):
            self.visit(part, f"{pointer}/var/{at}", known, known, is_condition=False)

    def _visit_missing(self, name: str, given: list[Any], inside: str, known: Known) -> None:
        keys, place = (given[1:2], f"{inside}/1") if name == "missing_some" else (given, inside)
        if keys and type(keys[0]) is list:
            place = place if name == "missing_some" else f"{inside}/0"
            keys = keys[0]
        for at, key in enumerate(keys):
            if type(key) is str:
                pointer = f"{place}/{at}" if len(keys) > 1 or place != inside else place
                self.findings += check_path(split(key), known.place, pointer)
            else:
                self.visit(key, f"{place}/{at}", known, known, is_condition=False)

    def _visit_comparison(
        self, name: str, rule: Any, given: list[Any], pointer: str, known: Known, around: Known
    ) -> None:
        for part in as_conjunction(name, given) or [rule]:
            found = Comparison.read(name, part[name], known.is_secret)
            truth = self._judge.truth(part, known)
            # Half of a "between" that always holds leaves it to the other half.
            if found is None or (truth and part is not rule):
                continue
            if truth is not None:
                self._decided.add(pointer)
            # That there is no such variable says it all.
            if not any(check_path(found.path, known.place, pointer)):
                self.findings += check_comparison(found, part, pointer, known, around, self._judge)
        if pointer not in self._decided:
            self._tell_truth(rule, pointer, known)

    def _visit_items(
        self, name: str, given: list[Any], places: list[str], known: Known, around: Known, pointer: str
    ) -> None:
        self.visit(given[0], places[0], known, around, is_condition=False)
        source = self._judge.values(given[0], known)
        kinds = source.kinds - {"null"}
        if kinds and "array" not in kinds and not is_constant(given[0]):
            said = phrase(given[0], known.is_secret)
            message = f"{said} is never a list, and {name!r} goes through lists alone. Name a list."
            self._find("type-mismatch", Severity.ERROR, places[0], message)
            self._decided.add(pointer)
        items = self._judge.items(given[0], known)
        if name == "reduce":
            items = _reduced(items)
        inner = Known(items, is_secret=known.is_secret or reads_secret(given[0]))
        self.visit(given[1], places[1], inner, inner, is_condition=name not in ("map", "reduce"))
        for part, place in zip(given[2:], places[2:], strict=True):
            self.visit(part, place, known, around, is_condition=False)
        if pointer not in self._decided and name in ("all", "none", "some"):
            self._tell_truth({name: given}, pointer, known)

    def _tell_truth(self, rule: Any, pointer: str, known: Known) -> None:
        """Tell that a condition is always true or false, unless what it is made of was told."""
        truth = self._judge.truth(rule, known)
        if truth is None or any(decided.startswith(f"{pointer}/") or decided == pointer for decided in self._decided):
            return
        self._decided.add(pointer)
        code, severity = ("always-true", Severity.WARNING) if truth else ("always-false", Severity.ERROR)
        word = "true" if truth else "false"
        said = phrase(rule, known.is_secret)
        self._find(code, severity, pointer, f"{said!r} is always {word}. Correct it, or leave it out.")

    # -- and, or ------------------------------------------------------------------------------------------------------

    def _visit_junction(
        self, name: str, given: list[Any], places: list[str], known: Known, around: Known, *, is_condition: bool
    ) -> None:
        goes_on = name == "and"
        for at, part in enumerate(given):
            tests = is_condition or at < len(given) - 1
            beside = [*given[:at], *given[at + 1 :]] if goes_on and len(given) <= _PAIRWISE else []
            inner = self._assume(beside, goes_on, around)
            self.visit(part, places[at], known, inner or around, is_condition=tests)
            if tests and is_constant(part):
                self._tell_constant(part, places[at], name, known.is_secret or reads_secret(given))
        undecided = [
            at
            for at, part in enumerate(given)
            if not is_constant(part)
            and self._judge.truth(part, known) is None
            and (is_condition or at < len(given) - 1)
        ]
        if not self._tell_conflict(name, given, places, undecided, known):
            self._tell_redundant(name, given, places, undecided, known)

    def _assume(self, rules: list[Any], truth: bool, known: Known) -> Known | None:
        after: Known | None = known
        for rule in rules:
            after = None if after is None else self._judge.assume(rule, truth, after)
        return after

    def _tell_constant(self, part: Any, place: str, name: str, is_secret: bool) -> None:
        truth = self._judge.truth(part, Known())
        self._decided.add(place)
        outcome = "changes nothing" if truth is (name == "and") else "decides everything"
        message = f"The constant {phrase(part, is_secret)} {outcome} in an {name!r}. Leave it out."
        self._find("always-true" if truth else "always-false", Severity.WARNING, place, message)

    def _tell_conflict(
        self, name: str, given: list[Any], places: list[str], undecided: list[int], known: Known
    ) -> bool:
        """Tell the first condition that those before it decide against the rest."""
        goes_on = name == "and"
        before: Known | None = known
        for count, at in enumerate(undecided):
            if before is None:
                return False
            if self._judge.truth(given[at], before) is (not goes_on):
                other = next(
                    (i for i in undecided[:count] if self._conflicts(given[i], given[at], goes_on, known)), None
                )
                this = phrase(given[at], known.is_secret)
                against = "the conditions before it" if other is None else f"'{phrase(given[other], known.is_secret)}'"
                code = "contradiction" if goes_on else "tautology"
                severity = Severity.ERROR if goes_on else Severity.WARNING
                self._decided.add(places[at])
                message = (
                    f"'{this}' excludes {against}, so this 'and' never holds. Correct one of them."
                    if goes_on
                    else f"'{this}' holds wherever {against} does not, so this 'or' always holds. "
                    "Correct one of them, or leave the condition out."
                )
                self._find(code, severity, places[at], message)
                return True
            before = self._judge.assume(given[at], goes_on, before)
        return False

    def _conflicts(self, first: Any, second: Any, goes_on: bool, known: Known) -> bool:
        after = self._judge.assume(first, goes_on, known)
        return after is not None and self._judge.truth(second, after) is (not goes_on)

    def _tell_redundant(
        self, name: str, given: list[Any], places: list[str], undecided: list[int], known: Known
    ) -> None:
        """Tell the conditions that follow from the others."""
        if len(undecided) > _PAIRWISE:
            return
        goes_on = name == "and"
        kept = list(undecided)
        for at in reversed(undecided):
            rest = [other for other in kept if other != at]
            after = self._assume([given[other] for other in rest], goes_on, known)
            if rest and after is not None and self._judge.truth(given[at], after) is goes_on:
                kept.remove(at)
                other = next((i for i in rest if self._follows(given[i], given[at], goes_on, known)), None)
                this = phrase(given[at], known.is_secret)
                why = "the other conditions" if other is None else f"'{phrase(given[other], known.is_secret)}'"
                message = (
                    f"'{this}' holds wherever {why} holds, so it changes nothing. Leave it out."
                    if goes_on
                    else f"'{this}' holds only where {why} holds, so it changes nothing. Leave it out."
                )
                self._find("redundant-condition", Severity.WARNING, places[at], message)

    def _follows(self, first: Any, second: Any, goes_on: bool, known: Known) -> bool:
        after = self._judge.assume(first, goes_on, known)
        return after is not None and self._judge.truth(second, after) is goes_on

    # -- the whole ----------------------------------------------------------------------------------------------------

    def conclude(self, rule: Any, known: Known) -> None:
        """Tell that the whole rule always matches, or never.

        Args:
            rule: The rule.
            known: What the schema says about the data.
        """
        truth = self._judge.truth(rule, known)
        if truth is None or "" in self._decided:
            return
        if truth:
            message = "The rule matches whatever the data. Correct it, or leave it out."
            self._find("always-true", Severity.WARNING, "", message)
        else:
            self._find("always-false", Severity.ERROR, "", "The rule never matches, whatever the data. Correct it.")

    def compare(self, rule: Any, others: RuleSet, known: Known) -> None:
        """Tell what the rule has to do with others over the same data.

        Args:
            rule: The rule.
            others: The other rules.
            known: What the schema says about the data.
        """
        if self._judge.truth(rule, known) is not None:
            return
        same = others.same_as(rule)
        for name in same:
            self._tell_duplicate(name)
        for name, other in others.implying().items():
            if name not in same and self._judge.truth(other, known) is None:
                self._compare_implied(rule, name, other, known)

    def _compare_implied(self, rule: Any, name: str, other: Any, known: Known) -> None:
        follows, leads = self._follows(rule, other, True, known), self._follows(other, rule, True, known)
        if follows and leads:
            self._tell_duplicate(name)
        elif follows:
            self._find("implies-rule", Severity.NOTE, "", f"Whenever this rule matches, that of {name!r} does too.")
        elif leads:
            self._find(
                "implied-by-rule", Severity.NOTE, "", f"Whenever the rule of {name!r} matches, this one does too."
            )

    def _tell_duplicate(self, name: str) -> None:
        message = f"{name!r} has a rule that matches the same data. Join the two, or tell them apart."
        self._find("duplicate-rule", Severity.WARNING, "", message)


def _is_tested(name: str, at: int, count: int) -> bool:
    """Return whether only the truth of an operand matters."""
    return name in ("!", "!!") or (name in ("if", "?:") and at % 2 == 0 and at < count - 1)


def _reduced(items: Place) -> Place:
    """Return what the body of ``reduce`` reads: the item is ``current``, and of ``accumulator`` nothing is known."""
    choices = [{"allOf": [dict(schema) for schema in schemas]} if schemas else True for schemas in items.alternatives]
    current: Any = {"anyOf": choices} if choices else True
    names: Path = ("current", "accumulator")
    schema = {"type": "object", "properties": {"current": current, "accumulator": True}, "required": list(names)}
    place = place_of(schema)
    return Place(place.alternatives, items.root)
