"""From a checked rule to closures.

A closure takes the context and the budget of the evaluation (None where the rule needs none) and gives a value.
Compiling fuses: a leaf ``variable, comparison, constant`` is one closure (:mod:`~automate_core.rules.leaves`), so is an
``and`` or an ``or`` whatever it holds. Nothing is looked up by name while a rule runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from automate_core.errors import ConfigurationError
from automate_core.rules import arrays, comparison_leaves, conditions, leaves
from automate_core.rules.calls import binary, placed, variadic
from automate_core.rules.coercion import MAX_EXACT, truthy
from automate_core.rules.comparison_leaves import Comparison
from automate_core.rules.conditions import Condition
from automate_core.rules.display import log_value
from automate_core.rules.leaves import Closure
from automate_core.rules.limits import MAX_DEPTH, Budget, Where
from automate_core.rules.lookups import missing, missing_some
from automate_core.rules.operators import Form, OperandError, Operator
from automate_core.rules.paths import MISSING, lookup, split

__all__ = ["Compiler", "constant_path"]

_ARRAY_FORMS = {
    Form.MAP: arrays.map_items,
    Form.FILTER: arrays.filter_items,
    Form.ALL: arrays.all_items,
    Form.SOME: arrays.some_item,
    Form.NONE: arrays.no_item,
}
_TESTED_BODIES = frozenset({Form.FILTER, Form.ALL, Form.SOME, Form.NONE})


_Part = tuple[Closure, bool]
"""A closure, and whether it gives true or false whatever the data."""


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
    if type(path) is str and path and "." not in path:
        return (path,)
    if type(path) is list:
        if len(path) > 1:
            return None
        path = path[0] if path else None
    if type(path) is str:
        # What is longer is looked up as if it were computed: that pays for every part.
        return None if path.count(".") >= MAX_DEPTH else tuple(path.split(".")) if path else ()
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
        self._forms: dict[Form, Callable[[Operator, list[Any], bool, Where], _Part]] = {
            Form.EAGER: self._eager,
            Form.COMPARISON: self._comparison,
            Form.TEST: self._eager,
            Form.OWN: self._own,
            Form.NEGATION: self._negation,
            Form.AND: self._junction,
            Form.OR: self._junction,
            Form.IF: self._if,
            Form.VAR: self._var,
            Form.MISSING: self._missing,
            Form.MISSING_SOME: self._missing_some,
            Form.LOG: self._log,
            Form.REDUCE: self._reduce,
            **dict.fromkeys(_ARRAY_FORMS, self._array),
        }

    def compile(self, rule: Any, where: Where = None) -> _Part:
        """Compile a rule to what gives its value.

        Args:
            rule: A checked rule.
            where: Its place.

        Returns:
            The closure, and whether it gives true or false whatever the data.
        """
        if type(rule) is dict and rule:
            ((name, written),) = rule.items()
            operator = self._operators[name]
            listed = type(written) is list
            return self._forms[operator.form](operator, written if listed else [written], listed, where)
        if type(rule) is list:
            return self._list(rule, where), False
        return _constant(rule), type(rule) is bool

    def value(self, rule: Any, where: Where = None) -> Closure:
        """Compile a rule to what gives its value; the arguments are those of :meth:`compile`."""
        return self.compile(rule, where)[0]

    def test(self, rule: Any, where: Where = None) -> Closure:
        """Compile a rule to what tells whether its value is truthy; the arguments are those of :meth:`compile`."""
        path = constant_path(rule)
        if path is not None:
            return leaves.truth_leaf(path)
        if type(rule) is dict and rule:
            ((name, written),) = rule.items()
            form = self._operators[name].form
            if type(written) is list and written and (form is Form.AND or form is Form.OR):
                tests = [self._compared(item) or self.test(item, (where, name, at)) for at, item in enumerate(written)]
                return conditions.join(tests, form is Form.OR)
        part, boolean = self.compile(rule, where)
        return part if boolean else _truth(part)

    def parts(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> list[Closure]:
        """Compile the operands that an operation looks at.

        Args:
            operator: The operator.
            given: Its operands.
            listed: Whether they are written as a list.
            where: The place of the operation.
        """
        name = operator.name
        used = given if operator.used is None else given[: operator.used]
        return [self.compile(item, (where, name, at if listed else None))[0] for at, item in enumerate(used)]

    def _list(self, items: list[Any], where: Where) -> Closure:
        count = len(items)
        parts = [self.compile(item, (where, "", at))[0] for at, item in enumerate(items)]

        def build(context: Any, budget: Budget | None = None) -> Any:
            if budget is not None:
                around, budget.where = budget.where, where
                budget.produce(count)
                budget.where = around
            return [part(context, budget) for part in parts]

        return build

    def _eager(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
        function = operator.exact(where, given, listed)
        parts = self.parts(operator, given, listed, where)
        if len(parts) != 2:
            return variadic(function, parts, where), operator.boolean
        leaf = None
        if not operator.fails:
            leaf = leaves.arithmetic_leaf(operator.name, constant_path(given[0]), parts[0], given[1])
        return leaf or binary(function, parts, where), operator.boolean

    def _own(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
        shape = operator.shape
        if shape is None:
            raise ConfigurationError(f"The operator {operator.name!r} has no shape of its own.")
        try:
            part: _Part = shape.compile(self, operator, given, listed, where)
        except OperandError as error:
            raise operator.refused(error, where, listed) from error
        return part

    def _comparison(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
        name = operator.name
        if name == "in":
            path = constant_path(given[0])
            if path is not None and type(given[1]) is list and _is_constant(given[1]):
                return leaves.membership_leaf(path, given[1]), True
        elif len(given) == 2 or operator.used == 2:
            first, second = given[0], given[1]
            leaf = None
            if type(first) is dict:
                leaf = self._leaf(name, first, second, where)
            elif type(second) is dict:
                leaf = self._leaf(comparison_leaves.MIRRORED[name], second, first, where)
            if leaf is not None:
                return leaf, True
        parts = self.parts(operator, given, listed, where)
        function = operator.exact(where, given, listed)
        return binary(function, parts, where) if len(parts) == 2 else variadic(function, parts, where), True

    def _leaf(self, name: str, operation: Any, constant: Any, where: Where) -> Closure | None:
        """Compile a comparison with a constant to one closure."""
        kind = type(constant)
        if kind is dict or kind is list:
            return None
        path = constant_path(operation)
        if path:
            return comparison_leaves.comparison_leaf(name, path, constant)
        if kind is not int and kind is not float:
            return None
        return (
            comparison_leaves.item_leaf(name, constant)
            if path is not None
            else comparison_leaves.number_leaf(name, self.compile(operation, where)[0], constant)
        )

    def _negation(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
        negate = operator.name == "!"
        if not given:
            return _constant(negate), True
        path = constant_path(given[0])
        if path is not None:
            return leaves.truth_leaf(path, negate), True
        test = self.test(given[0], (where, operator.name, 0 if listed else None))
        return _not(test) if negate else test, True

    def _junction(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
        if not given:
            return _constant(None), False
        name = operator.name
        found: list[Condition] = []
        decided = True
        for at, item in enumerate(given):
            condition: Condition | None = self._compared(item)
            if condition is None:
                condition, boolean = self.compile(item, (where, name, at if listed else None))
                decided = decided and boolean
            found.append(condition)
        return conditions.join(found, operator.form is Form.OR, decided), decided

    def _compared(self, rule: Any) -> Comparison | None:
        """Take the comparison of a variable with a constant apart; None for anything else."""
        if type(rule) is not dict or not rule:
            return None
        ((name, given),) = rule.items()
        if type(given) is not list or len(given) != 2 or name not in comparison_leaves.COMPARE:
            return None
        path, kind = constant_path(given[0]), type(given[1])
        if not path or kind is dict or kind is list or self._operators[name].form is not Form.COMPARISON:
            return None
        return name, path, given[1]

    def _if(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
        places: list[Where] = [(where, operator.name, at if listed else None) for at in range(len(given))]
        has_last = len(given) % 2 == 1
        last, boolean = self.compile(given[-1], places[-1]) if has_last else (_constant(None), False)
        branches = []
        for at in range(0, len(given) - 1, 2):
            result, result_boolean = self.compile(given[at + 1], places[at + 1])
            boolean = boolean and result_boolean
            branches.append((self.test(given[at], places[at]), result))
        return conditions.choose(branches, last), boolean

    def _var(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
        path = constant_path({"var": given[:1]})
        if path is not None and len(given) < 2:
            return leaves.read(path), False
        parts = self.parts(operator, given, listed, where)
        default = parts[1] if len(parts) == 2 else _constant(None)
        if path is not None:
            return leaves.read_or(path, default), False
        path_of, find = parts[0], placed(lookup, where)

        def computed(context: Any, budget: Budget | None = None) -> Any:
            found = find(context, path_of(context, budget), budget)
            return default(context, budget) if found is MISSING else found

        return computed, False

    def _missing(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
        parts = self.parts(operator, given, listed, where)
        absent = placed(missing, where)

        def find(context: Any, budget: Budget | None = None) -> Any:
            return absent(context, [part(context, budget) for part in parts], budget)

        return find, False

    def _missing_some(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
        needed, keys = self.parts(operator, given, listed, where)
        absent = placed(missing_some, where)

        def find(context: Any, budget: Budget | None = None) -> Any:
            return absent(context, needed(context, budget), keys(context, budget), budget)

        return find, False

    def _log(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
        part, boolean = _constant(None), False
        path: tuple[str, ...] = ()
        if given:
            part, boolean = self.compile(given[0], (where, operator.name, 0 if listed else None))
            path = constant_path(given[0]) or ()

        def log(context: Any, budget: Budget | None = None) -> Any:
            value = part(context, budget)
            log_value(value, path)
            return value

        return log, boolean

    def _array(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
        source = self.value(given[0], (where, operator.name, 0))
        compile_body = self.test if operator.form in _TESTED_BODIES else self.value
        body = compile_body(given[1], (where, operator.name, 1))
        cost = arrays.weight(given[1])
        name, number = _item_and_number(given[1])
        if operator.form is Form.FILTER and name in comparison_leaves.COMPARE:
            return arrays.filter_numbers(source, body, comparison_leaves.COMPARE[name], number, cost, where), False
        if operator.form is Form.MAP and name in arrays.COMPUTE and 0 < number <= MAX_EXACT:
            most = MAX_EXACT // number if name == "*" else MAX_EXACT - number
            return arrays.map_numbers(source, body, arrays.COMPUTE[name], number, most, cost, where), False
        return _ARRAY_FORMS[operator.form](source, body, cost, where), operator.boolean

    def _reduce(self, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
        source = self.value(given[0], (where, operator.name, 0))
        initial = self.value(given[2], (where, operator.name, 2)) if len(given) > 2 else _constant(None)
        cost = arrays.weight(given[1])
        summand = _summand(given[1])
        if summand is not None:
            return arrays.sum_items(source, leaves.read(summand) if summand else None, initial, cost, where), False
        body = self.value(given[1], (where, operator.name, 1))
        return arrays.reduce_items(source, body, initial, self._keeps_scope(given[1]), cost, where), False

    def _keeps_scope(self, rule: Any) -> bool:
        """Tell whether a rule may hand on the context itself, rather than something in it."""
        if type(rule) is list:
            return any(self._keeps_scope(item) for item in rule)
        if type(rule) is not dict or not rule:
            return False
        ((name, written),) = rule.items()
        given = written if type(written) is list else [written]
        if self._operators[name].form is Form.VAR and not constant_path({"var": given[:1]}):
            return True
        return any(self._keeps_scope(item) for item in given)


def _item_and_number(body: Any) -> tuple[str, Any]:
    """Tell which operator the body of an array operator applies to the item and a whole number; none for any other."""
    if type(body) is dict and body:
        ((name, given),) = body.items()
        if type(given) is list and len(given) == 2 and type(given[1]) is int and constant_path(given[0]) == ():
            return name, given[1]
    return "", None


def _summand(body: Any) -> tuple[str, ...] | None:
    """Tell what of each item a ``reduce`` adds up, if adding up is all that it does."""
    given = body.get("+") if type(body) is dict else None
    if type(given) is not list or len(given) != 2:
        return None
    paths = [constant_path(item) for item in given]
    if ("accumulator",) not in paths:
        return None
    other = paths[1] if paths[0] == ("accumulator",) else paths[0]
    return other[1:] if other and other[0] == "current" else None


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
