"""How the operators of the dialect are compiled, where the classic forms do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automate_core.errors import RuleEvaluationError
from automate_core.rules import arrays, conditions, leaves
from automate_core.rules.coercion import list_items, plain, to_text
from automate_core.rules.community.functions import COMPARISONS
from automate_core.rules.compiler import Compiler
from automate_core.rules.failures import INVALID_ARGUMENTS, Failure, entered
from automate_core.rules.leaves import Closure
from automate_core.rules.limits import Where
from automate_core.rules.operators import OperandError, Operator
from automate_core.rules.paths import MISSING, walk

__all__ = [
    "Path",
    "array",
    "caught",
    "chain",
    "checked_items",
    "coalesce",
    "exists",
    "junction",
    "path_of",
    "placed",
    "preserve",
    "reduction",
    "rescue",
    "value_at",
    "value_of",
]

_Part = tuple[Closure, bool]

_BODIES = {
    "map": arrays.map_items,
    "filter": arrays.filter_items,
    "all": arrays.all_items,
    "some": arrays.some_item,
    "none": arrays.no_item,
}
_LONGEST_KEY = 4_096
_MOST_KEYS = 64
_LENIENT = frozenset({"map", "filter", "reduce"})


def placed(compare: Callable[..., bool], where: Where) -> Callable[..., bool]:
    """Let a comparison say where it fails."""

    def function(first: Any, second: Any, budget: Any) -> bool:
        around, budget.where = budget.where, where
        try:
            holds = compare(first, second, budget)
        except Failure as failure:
            raise failure.place(where) from None
        budget.where = around
        return holds

    return function


def chain(compiler: Compiler, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
    """Compare each value with the next, as far as it holds."""
    compare = placed(COMPARISONS[operator.name], where)
    first, *rest = compiler.parts(operator, given, listed, where)

    def holds(context: Any, budget: Any = None) -> Any:
        left = first(context, budget)
        for part in rest:
            right = part(context, budget)
            if not compare(left, right, budget):
                return False
            left = right
        return True

    return holds, True


def junction(compiler: Compiler, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
    """Give the value that decides; without any, false."""
    parts = compiler.parts(operator, given, listed, where)
    if not parts:
        return lambda context, budget=None: False, True
    return conditions.first_value(parts, operator.name == "or"), False


def coalesce(compiler: Compiler, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
    """Give the first value that is not null."""
    parts = compiler.parts(operator, given, listed, where)

    def first(context: Any, budget: Any = None) -> Any:
        for part in parts:
            value = part(context, budget)
            if value is not None:
                return value
        return None

    return first, False


def preserve(_compiler: Compiler, _operator: Operator, given: list[Any], listed: bool, _where: Where) -> _Part:
    """Give what is written, as data."""
    value = given if listed else given[0]
    return lambda context, budget=None: value, False


# -- paths ------------------------------------------------------------------------------------------------------------


class Path:
    """What ``val`` and ``exists`` are given: scopes to climb, and keys; None for keys that are computed."""

    __slots__ = ("climb", "keys", "offset")

    def __init__(self, given: list[Any], listed: bool) -> None:
        first = given[0] if given else None
        climbs = listed and type(first) is list and len(first) == 1 and type(first[0]) is int
        self.climb = abs(first[0]) if climbs else 0  # type: ignore[index] # a list, as was just checked
        self.offset = 1 if climbs else 0
        self.keys: tuple[str, ...] | None = None
        rest = given[self.offset :]
        if not listed and first is None:
            self.keys = ()
        elif not any(type(item) in (dict, list) for item in rest):
            self.keys = tuple(to_text(item) for item in rest)


def path_of(values: list[Any]) -> tuple[str, ...]:
    """Read keys that were computed; one that is a list stands for all of them."""
    if len(values) == 1:
        only = plain(values[0])
        values = list_items(only) if isinstance(only, list) else [] if only is None else [only]
    return tuple(to_text(value, None, _LONGEST_KEY) for value in values[:_MOST_KEYS])


def value_at(scopes: list[Any], context: Any, climb: int, keys: tuple[str, ...]) -> Any:
    """Follow a path from the current scope, or from one around it."""
    if climb:
        context = scopes[-climb] if climb <= len(scopes) else MISSING
    return context if context is MISSING else walk(context, keys)


def _found(compiler: Compiler, operator: Operator, given: list[Any], listed: bool, where: Where) -> Closure:
    path = Path(given, listed)
    climb, keys = path.climb, path.keys
    if keys is not None:
        return lambda context, budget=None: value_at(budget.scopes if climb else [], context, climb, keys)
    parts = compiler.parts(operator, given, listed, where)[path.offset :]

    def find(context: Any, budget: Any = None) -> Any:
        around, values = budget.where, [part(context, budget) for part in parts]
        budget.where = where
        computed = path_of(values)
        budget.visit(len(parts) + len(computed) // 16)
        budget.where = around
        return value_at(budget.scopes, context, climb, computed)

    return find


def value_of(compiler: Compiler, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
    """Read the value at a path of keys; null where there is none."""
    path = Path(given, listed)
    if path.keys is not None and not path.climb:
        return leaves.read(path.keys), False
    found = _found(compiler, operator, given, listed, where)

    def read(context: Any, budget: Any = None) -> Any:
        value = found(context, budget)
        return None if value is MISSING else value

    return read, False


def exists(compiler: Compiler, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
    """Tell whether there is anything at a path of keys, be it null."""
    found = _found(compiler, operator, given, listed, where)
    return lambda context, budget=None: found(context, budget) is not MISSING, True


# -- lists ------------------------------------------------------------------------------------------------------------


def checked_items(name: str, value: Any, where: Where) -> list[Any]:
    """Return the list that an array operator goes through, or fail; null is an empty one where something is made."""
    items = plain(value)
    if isinstance(items, list):
        return items
    if items is None and name in _LENIENT:
        return []
    raise Failure(INVALID_ARGUMENTS, INVALID_ARGUMENTS).place(where)


def _climbs(rule: Any) -> bool:
    """Tell whether a rule may read a scope around the current one."""
    if type(rule) is list:
        return any(_climbs(item) for item in rule)
    if type(rule) is not dict:
        return False
    return any(
        (name in ("val", "exists") and type(written) is list and Path(written, True).climb > 0) or _climbs(written)
        for name, written in rule.items()
    )


def _source(compiler: Compiler, operator: Operator, given: list[Any], where: Where) -> Closure:
    name = operator.name
    for position in (0, 1) if name in _LENIENT else (0,):
        if given[position] is None:
            raise OperandError(position, "null is no list and no rule for its items")
    source = compiler.value(given[0], (where, name, 0))
    return lambda context, budget=None: checked_items(name, source(context, budget), where)


def _items(context: Any, budget: Any = None) -> Any:
    return context


def _inside(run: Closure) -> Closure:
    """Keep the scope around the items while they are visited."""

    def inside(context: Any, items: Any, budget: Any) -> Any:
        with entered(budget.scopes, context):
            return run(items, budget)

    return inside


def _counted(body: Closure) -> Closure:
    """Keep the position of the item that is visited in the scope around it."""

    def count(item: Any, budget: Any = None) -> Any:
        scopes = budget.scopes
        scopes[-1] = {"index": scopes[-1]["index"] + 1}
        return body(item, budget)

    return count


def array(compiler: Compiler, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
    """Go through a list; what is none fails."""
    name = operator.name
    source = _source(compiler, operator, given, where)
    body = (compiler.value if name == "map" else compiler.test)(given[1], (where, name, 1))
    make, cost, boolean = _BODIES[name], arrays.weight(given[1]), operator.boolean
    if not _climbs(given[1]):
        return make(source, body, cost, where), boolean
    inside = _inside(make(_items, _counted(body), cost, where))
    return lambda context, budget=None: inside(context, source(context, budget), budget), boolean


def reduction(compiler: Compiler, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
    """Bring a list down to one value; without an initial value, that is the first item."""
    source = _source(compiler, operator, given, where)
    body = compiler.value(given[1], (where, operator.name, 1))
    initial = compiler.value(given[2], (where, operator.name, 2)) if len(given) > 2 else None
    climbs = _climbs(given[1])
    fold = arrays.reduce_items(
        lambda pair, budget=None: pair[0],
        _counted(body) if climbs else body,
        lambda pair, budget=None: pair[1],
        True,
        arrays.weight(given[1]),
        where,
    )
    inside = _inside(fold)

    def reduce(context: Any, budget: Any = None) -> Any:
        items = source(context, budget)
        if initial is not None:
            pair = items, initial(context, budget)
        elif items:
            around, budget.where = budget.where, where
            budget.read_items(len(items))
            budget.where = around
            pair = items[1:], items[0]
        else:
            return None
        return inside(context, pair, budget) if climbs else fold(pair, budget)

    return reduce, False


# -- errors -----------------------------------------------------------------------------------------------------------


def caught(error: Failure | RuleEvaluationError) -> dict[str, Any]:
    """Return what the rule after a failure sees as its context."""
    return error.value if isinstance(error, Failure) else {"type": str(error.code)}


def rescue(compiler: Compiler, operator: Operator, given: list[Any], listed: bool, where: Where) -> _Part:
    """Give the first value that is computed without a failure; after one, the failure is the context."""
    *tried, last = compiler.parts(operator, given, listed, where)

    def attempt(context: Any, budget: Any = None) -> Any:
        scopes, around = budget.scopes, budget.where
        depth = len(scopes)
        try:
            for part in tried:
                try:
                    return part(context, budget)
                except (Failure, RuleEvaluationError) as error:
                    del scopes[depth + 2 :]
                    if len(scopes) == depth:
                        scopes += (context, {})
                    budget.where = where
                    budget.visit(1)
                    budget.where = around
                    context = caught(error)
            return last(context, budget)
        finally:
            del scopes[depth:]

    return attempt, False
