"""From a checked rule to closures.

A closure takes the context and the budget of the evaluation (None where the rule needs none) and gives a value.
Compiling fuses: a leaf ``variable, comparison, constant`` is one closure (:mod:`~automate_core.rules.leaves`), so is an
``and`` or an ``or`` whatever it holds. Nothing is looked up by name while a rule runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from automate_core.rules import arrays, leaves
from automate_core.rules.coercion import truthy
from automate_core.rules.display import log_value
from automate_core.rules.leaves import Closure
from automate_core.rules.limits import MAX_DEPTH, Budget, Where
from automate_core.rules.lookups import missing, missing_some
from automate_core.rules.operators import PAIRS, Form, Operator
from automate_core.rules.paths import MISSING, lookup, split
from automate_core.rules.syntax import operands

__all__ = ["Compiler", "constant_path"]

_MIRRORED = {
    "==": "==",
    "===": "===",
    "!=": "!=",
    "!==": "!==",
    ">": "<",
    ">=": "<=",
    "<": ">",
    "<=": ">=",
}
_ARRAY_FORMS = {
    Form.MAP: arrays.map_items,
    Form.FILTER: arrays.filter_items,
    Form.ALL: arrays.all_items,
    Form.SOME: arrays.some_item,
    Form.NONE: arrays.no_item,
}
_TESTED_BODIES = frozenset({Form.FILTER, Form.ALL, Form.SOME, Form.NONE})


def constant_path(rule: Any) -> tuple[str, ...] | None:
    """Tell which path a rule reads, if reading a fixed path without a default is all that it does.

    Args:
        rule: A checked rule.

    Returns:
        The parts of the path, none for the whole context; None for any other rule, and for a very long path.
    """
    if type(rule) is not dict or "var" not in rule:
        return None
    path = rule["var"]
    if type(path) is list:
        if len(path) > 1:
            return None
        path = path[0] if path else None
    if type(path) is str:
        # What is longer is looked up as if it were computed: that pays for every part.
        return None if path.count(".") >= MAX_DEPTH else split(path)
    return None if type(path) in (dict, list) else split(path)


def _is_constant(rule: Any) -> bool:
    """Tell whether a rule is a scalar, or a list of nothing but constants."""
    if type(rule) is list:
        return all(_is_constant(item) for item in rule)
    return type(rule) is not dict or not rule


class Compiler:
    """Turns checked rules into closures. It keeps no state, so one serves every thread.

    Args:
        operators: The operators that exist.
    """

    __slots__ = ("_forms", "_operators")

    def __init__(self, operators: Mapping[str, Operator]) -> None:
        self._operators = operators
        self._forms: dict[Form, Callable[[Operator, list[Any], bool, Where], Closure]] = {
            Form.EAGER: self._eager,
            Form.COMPARISON: self._comparison,
            Form.NEGATION: self._negation,
            Form.AND: self._and,
            Form.OR: self._or,
            Form.IF: self._if,
            Form.VAR: self._var,
            Form.MISSING: self._missing,
            Form.MISSING_SOME: self._missing_some,
            Form.LOG: self._log,
            Form.REDUCE: self._reduce,
            **dict.fromkeys(_ARRAY_FORMS, self._array),
        }

    def value(self, rule: Any, where: Where = None) -> Closure:
        """Compile a rule to what gives its value.

        Args:
            rule: A checked rule, made of plain types.
            where: Its place.

        Returns:
            The closure.
        """
        if type(rule) is dict and rule:
            name, given, listed = operands(rule)
            operator = self._operators[name]
            return self._forms[operator.form](operator, given, listed, where)
        return self._list(rule, where) if type(rule) is list else _constant(rule)

    def test(self, rule: Any, where: Where = None) -> Closure:
        """Compile a rule to what tells whether its value is truthy.

        Args:
            rule: A checked rule, made of plain types.
            where: Its place.

        Returns:
            The closure; it gives a bool.
        """
        if self.is_boolean(rule):
            return self.value(rule, where)
        path = constant_path(rule)
        if path is not None:
            return leaves.truth_leaf(path)
        if type(rule) is dict and rule:
            name, given, listed = operands(rule)
            form = self._operators[name].form
            if given and form in (Form.AND, Form.OR):
                tests = [self.test(item, _inside(where, name, listed, at)) for at, item in enumerate(given)]
                return _all_hold(tests) if form is Form.AND else _one_holds(tests)
        return _truth(self.value(rule, where))

    def is_boolean(self, rule: Any) -> bool:
        """Tell whether a rule gives true or false, whatever the data.

        Args:
            rule: A checked rule, made of plain types.

        Returns:
            Whether it does.
        """
        if type(rule) is not dict or not rule:
            return type(rule) is bool
        name, given, _ = operands(rule)
        operator = self._operators[name]
        if operator.form is Form.AND or operator.form is Form.OR:
            return bool(given) and all(self.is_boolean(item) for item in given)
        if operator.form is Form.IF:
            results = [*given[1::2], *(given[-1:] if len(given) % 2 else [])]
            return len(given) % 2 == 1 and all(self.is_boolean(item) for item in results)
        return operator.boolean

    def _values(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> list[Closure]:
        name = operator.name
        used = given if operator.used is None else given[: operator.used]
        return [self.value(item, _inside(where, name, listed, at)) for at, item in enumerate(used)]

    def _list(self, items: list[Any], where: Where) -> Closure:
        count = len(items)
        parts = [self.value(item, (where, "", at)) for at, item in enumerate(items)]

        def build(context: Any, budget: Budget | None = None) -> Any:
            if budget is not None:
                budget.produce(count)
            return [part(context, budget) for part in parts]

        return build

    def _eager(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
        function = operator.exact(where)
        parts = self._values(operator, given, listed, where)
        if len(parts) == 2:
            leaf = leaves.arithmetic_leaf(operator.name, parts[0], given[1]) if operator.trusted else None
            return leaf or _binary(function, *parts)
        return _variadic(function, parts)

    def _comparison(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
        name = operator.name
        if name == "in":
            path = constant_path(given[0])
            if path is not None and type(given[1]) is list and _is_constant(given[1]):
                return leaves.membership_leaf(path, given[1])
        elif len(given) == 2 or operator.used == 2:
            leaf = _comparison_leaf(name, given[0], given[1]) or _comparison_leaf(_MIRRORED[name], given[1], given[0])
            if leaf is not None:
                return leaf
        parts = self._values(operator, given, listed, where)
        function = operator.exact(where)
        return _binary(function, *parts) if len(parts) == 2 else _variadic(function, parts)

    def _negation(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
        negate = operator.name == "!"
        if not given:
            return _constant(negate)
        path = constant_path(given[0])
        if path is not None:
            return leaves.truth_leaf(path, negate)
        test = self.test(given[0], _inside(where, operator.name, listed, 0))
        return _not(test) if negate else test

    def _and(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
        if not given:
            return _constant(None)
        parts = self._values(operator, given, listed, where)
        if all(self.is_boolean(item) for item in given):
            return _all_hold(parts)
        return _first(parts, stop=False)

    def _or(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
        if not given:
            return _constant(None)
        parts = self._values(operator, given, listed, where)
        if all(self.is_boolean(item) for item in given):
            return _one_holds(parts)
        return _first(parts, stop=True)

    def _if(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
        places = [_inside(where, operator.name, listed, at) for at in range(len(given))]
        last = self.value(given[-1], places[-1]) if len(given) % 2 else _constant(None)
        branches = [
            (self.test(given[at], places[at]), self.value(given[at + 1], places[at + 1]))
            for at in range(0, len(given) - 1, 2)
        ]
        return _choose(branches, last)

    def _var(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
        path = constant_path({"var": given[:1]})
        parts = self._values(operator, given, listed, where)
        default = parts[1] if len(parts) == 2 else _constant(None)
        if path is not None:
            return leaves.read(path) if len(parts) < 2 else leaves.read_or(path, default)
        path_of = parts[0]

        def computed(context: Any, budget: Budget | None = None) -> Any:
            found = lookup(context, path_of(context, budget), budget)
            return default(context, budget) if found is MISSING else found

        return computed

    def _missing(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
        parts = self._values(operator, given, listed, where)

        def find(context: Any, budget: Budget | None = None) -> Any:
            return missing(context, [part(context, budget) for part in parts], budget)

        return find

    def _missing_some(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
        needed, keys = self._values(operator, given, listed, where)

        def find(context: Any, budget: Budget | None = None) -> Any:
            return missing_some(context, needed(context, budget), keys(context, budget), budget)

        return find

    def _log(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
        part = self.value(given[0], _inside(where, operator.name, listed, 0)) if given else _constant(None)
        path = (constant_path(given[0]) if given else None) or ()

        def log(context: Any, budget: Budget | None = None) -> Any:
            value = part(context, budget)
            log_value(value, path)
            return value

        return log

    def _array(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
        source = self.value(given[0], _inside(where, operator.name, listed, 0))
        compile_body = self.test if operator.form in _TESTED_BODIES else self.value
        body = compile_body(given[1], _inside(where, operator.name, listed, 1))
        return _ARRAY_FORMS[operator.form](source, body, arrays.weight(given[1]), where)

    def _reduce(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
        places = [_inside(where, operator.name, listed, at) for at in range(len(given))]
        source = self.value(given[0], places[0])
        initial = self.value(given[2], places[2]) if len(given) > 2 else _constant(None)
        body = self.value(given[1], places[1])
        keeps_scope = self._keeps_scope(given[1])
        return arrays.reduce_items(source, body, initial, keeps_scope, arrays.weight(given[1]), where)

    def _keeps_scope(self, rule: Any) -> bool:
        """Tell whether a rule may hand on the context itself, rather than something in it."""
        if type(rule) is list:
            return any(self._keeps_scope(item) for item in rule)
        if type(rule) is not dict or not rule:
            return False
        name, given, _ = operands(rule)
        operator = self._operators[name]
        if operator.form is Form.VAR and not constant_path({"var": given[:1]}):
            return True
        return any(self._keeps_scope(item) for item in given)


def _inside(where: Where, name: str, listed: bool, at: int) -> Where:
    return (where, name, at if listed else None)


def _comparison_leaf(name: str, first: Any, second: Any) -> Closure | None:
    if type(second) is dict or type(second) is list:
        return None
    path = constant_path(first)
    return leaves.comparison_leaf(name, path, second, PAIRS[name]) if path else None


def _constant(value: Any) -> Closure:
    if type(value) is dict:
        return lambda context, budget=None: {}
    return lambda context, budget=None: value


def _truth(part: Closure) -> Closure:
    def holds(context: Any, budget: Budget | None = None) -> Any:
        return truthy(part(context, budget))

    return holds


def _not(test: Closure) -> Closure:
    def fails(context: Any, budget: Budget | None = None) -> Any:
        return not test(context, budget)

    return fails


def _all_hold(tests: list[Closure]) -> Closure:
    if len(tests) == 1:
        return tests[0]
    first, second, *others = tests
    if not others:
        return lambda context, budget=None: first(context, budget) and second(context, budget)
    if len(others) == 1:
        third = others[0]
        return lambda context, budget=None: (
            first(context, budget) and second(context, budget) and third(context, budget)
        )
    every = tuple(tests)

    def hold(context: Any, budget: Budget | None = None) -> Any:
        for test in every:  # noqa: SIM110 - a generator would double the cost
            if not test(context, budget):
                return False
        return True

    return hold


def _one_holds(tests: list[Closure]) -> Closure:
    if len(tests) == 1:
        return tests[0]
    first, second, *others = tests
    if not others:
        return lambda context, budget=None: first(context, budget) or second(context, budget)
    if len(others) == 1:
        third = others[0]
        return lambda context, budget=None: first(context, budget) or second(context, budget) or third(context, budget)
    every = tuple(tests)

    def hold(context: Any, budget: Budget | None = None) -> Any:
        for test in every:  # noqa: SIM110 - a generator would double the cost
            if test(context, budget):
                return True
        return False

    return hold


def _first(parts: list[Closure], stop: bool) -> Closure:
    """Give the first value whose truth is ``stop``, or the last value."""
    *head, last = parts

    def choose(context: Any, budget: Budget | None = None) -> Any:
        for part in head:
            value = part(context, budget)
            if truthy(value) is stop:
                return value
        return last(context, budget)

    return choose


def _choose(branches: list[tuple[Closure, Closure]], last: Closure) -> Closure:
    if len(branches) == 1:
        ((condition, result),) = branches

        def either(context: Any, budget: Budget | None = None) -> Any:
            return result(context, budget) if condition(context, budget) else last(context, budget)

        return either

    def choose(context: Any, budget: Budget | None = None) -> Any:
        for condition, result in branches:
            if condition(context, budget):
                return result(context, budget)
        return last(context, budget)

    return choose


def _binary(function: Callable[..., Any], first: Closure, second: Closure) -> Closure:
    def compute(context: Any, budget: Budget | None = None) -> Any:
        return function(budget, first(context, budget), second(context, budget))

    return compute


def _variadic(function: Callable[..., Any], parts: list[Closure]) -> Closure:
    def compute(context: Any, budget: Budget | None = None) -> Any:
        return function(budget, *[part(context, budget) for part in parts])

    return compute
