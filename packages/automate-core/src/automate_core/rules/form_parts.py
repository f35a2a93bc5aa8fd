"""Operations, explained: one closure for each, by the form of its operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from automate_core.errors import ConfigurationError
from automate_core.rules import sentences
from automate_core.rules.arrays import weight
from automate_core.rules.coercion import list_items, truthy
from automate_core.rules.compiler import constant_path
from automate_core.rules.display import REDACTED
from automate_core.rules.failures import entered
from automate_core.rules.ledger import (
    Ledger,
    Node,
    Part,
    Scope,
    Seen,
    computed,
    hide,
    is_redacted,
    names_secret,
    node_of,
    skipped,
)
from automate_core.rules.lookups import missing, missing_some
from automate_core.rules.operators import Form, Operator
from automate_core.rules.paths import MISSING, lookup, walk
from automate_core.rules.syntax import operands

if TYPE_CHECKING:
    from automate_core.rules.parts import PartMaker

__all__ = ["FORMS", "Operation", "explain_first", "explain_search", "explain_transform", "passed_on"]

_MAX_ITEM_NESTING = 8
_READERS: dict[str, int | None] = {"var": 1, "val": None}
_SEARCHES = {"all": False, "some": True, "none": True}


class Operation(NamedTuple):
    """An operation of a rule, taken apart."""

    rule: Any
    operator: Operator
    given: list[Any]
    listed: bool
    path: str
    inside: str
    scope: Scope

    def place(self, at: int) -> str:
        """Return the JSON pointer to an operand."""
        return f"{self.inside}/{at}" if self.listed else self.inside


def _eager(maker: PartMaker, operation: Operation) -> Part:
    parts = maker.operands(operation)
    name, path, given = operation.operator.name, operation.path, operation.given
    function, look = operation.operator.exact(path, given, operation.listed), maker.look
    says = operation.operator.says
    compares = operation.operator.form is Form.COMPARISON

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        seen = [part(context, hidden, ledger) for part in parts]
        value = function(ledger.budget(path), *[part[0] for part in seen])
        nodes = [part[1] for part in seen]
        secret = is_redacted(seen)
        if secret:
            for node in nodes:
                hide(ledger, node)
        if compares or len(says) == 2:
            reason = sentences.test(says, nodes, value) if says else sentences.comparison(name, given, nodes, value)
            return computed(ledger, name, path, value, seen, reason, look)
        clean, redacted = (REDACTED, True) if secret else look(ledger, value)
        reason = sentences.phrased(says[0], nodes, clean) if says else sentences.computed(name, clean)
        if isinstance(value, bool):
            clean, redacted = value, False
        return value, node_of(ledger, name, path, clean, truthy(value), nodes, reason), redacted

    return explain


def _own(maker: PartMaker, operation: Operation) -> Part:
    shape = operation.operator.shape
    if shape is None:
        raise ConfigurationError(f"The operator {operation.operator.name!r} has no shape of its own.")
    part: Part = shape.explain(maker, operation)
    return part


def _negation(maker: PartMaker, operation: Operation) -> Part:
    parts, name, path = maker.operands(operation), operation.operator.name, operation.path
    negate, look = name == "!", maker.look

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        seen = [part(context, hidden, ledger) for part in parts]
        value = truthy(seen[0][0] if seen else None) is not negate
        reason = sentences.negation(negate, seen[0][1] if seen else None)
        return computed(ledger, name, path, value, seen, reason, look)

    return explain


def explain_first(maker: PartMaker, operation: Operation) -> Part:
    """Explain ``and`` and ``or``: what decides, and what is not reached."""
    parts, given = maker.operands(operation), operation.given
    stop = operation.operator.name == "or"

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        nodes: list[Node] = []
        last: Seen | None = None
        for part in parts:
            last = part(context, hidden, ledger)
            nodes.append(last[1])
            if truthy(last[0]) is stop:
                break
        reason = sentences.junction(stop, nodes, len(given))
        for at in range(len(nodes), len(given)):
            nodes.append(skipped(ledger, given[at], operation.place(at)))
        return passed_on(ledger, operation, last, nodes, reason)

    return explain


def _if(maker: PartMaker, operation: Operation) -> Part:
    parts, given = maker.operands(operation), operation.given

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        reached: dict[int, Seen] = {}
        chosen = len(given) - 1 if len(given) % 2 else None
        for at in range(0, len(given) - 1, 2):
            reached[at] = parts[at](context, hidden, ledger)
            if truthy(reached[at][0]):
                chosen = at + 1
                break
        if chosen is not None:
            reached[chosen] = parts[chosen](context, hidden, ledger)
        nodes = [
            reached[at][1] if at in reached else skipped(ledger, item, operation.place(at))
            for at, item in enumerate(given)
        ]
        result = None if chosen is None else reached[chosen]
        return passed_on(ledger, operation, result, nodes, sentences.branch(nodes, chosen))

    return explain


def _var(maker: PartMaker, operation: Operation) -> Part:
    given, scope_path = operation.given, operation.scope.path
    fixed = constant_path({"var": given[:1]})
    name = sentences.variable(fixed, scope_path)
    keys = () if fixed is None else scope_path + fixed
    keys = keys if names_secret(keys, maker.secret_names) else ()
    parts = maker.operands(operation)

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        seen = [parts[0](context, hidden, ledger)] if parts else []
        nodes = [part[1] for part in seen]
        path = seen[0][0] if seen else None
        found = lookup(context, path, ledger.budget(operation.path)) if fixed is None else walk(context, fixed)
        if found is MISSING:
            if len(parts) < 2:
                reason = sentences.variable_missing(name)
                return None, node_of(ledger, "var", operation.path, None, False, nodes, reason), False
            default = parts[1](context, hidden, ledger)
            reason = sentences.variable_missing(name, default[1]["value"], has_default=True)
            return passed_on(ledger, operation, default, [*nodes, default[1]], reason)
        nodes += [skipped(ledger, item, operation.place(1)) for item in given[1:2]]
        clean, redacted = maker.look(ledger, found, scope_path + _computed_path(path) if fixed is None else keys)
        redacted = redacted or hidden or is_redacted(seen)
        if hidden or (redacted and not isinstance(clean, dict | list)):
            clean = REDACTED
            ledger.texts.append(clean)
        reason = sentences.variable_is(name, clean)
        return found, node_of(ledger, "var", operation.path, clean, truthy(found), nodes, reason), redacted

    return explain


def _missing(maker: PartMaker, operation: Operation) -> Part:
    parts, name, look = maker.operands(operation), operation.operator.name, maker.look
    some = operation.operator.form is Form.MISSING_SOME

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        seen = [part(context, hidden, ledger) for part in parts]
        values = [part[0] for part in seen]
        budget = ledger.budget(operation.path)
        value = missing_some(context, values[0], values[1], budget) if some else missing(context, values, budget)
        clean = REDACTED if is_redacted(seen) else look(ledger, value)[0]
        return computed(ledger, name, operation.path, value, seen, sentences.absent(clean), look)

    return explain


def _log(maker: PartMaker, operation: Operation) -> Part:
    maker.pure = False
    parts = maker.operands(operation)

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        seen = parts[0](context, hidden, ledger) if parts else None
        reason = seen[1]["reason"] if seen else sentences.constant(None)
        return passed_on(ledger, operation, seen, [seen[1]] if seen else [], reason)

    return explain


def explain_transform(
    maker: PartMaker, operation: Operation, items_of: Callable[[Any], list[Any]] = list_items
) -> Part:
    """Explain what goes through a whole list: the body is not shown, what comes out is."""
    name, path, given, look = operation.operator.name, operation.path, operation.given, maker.look
    operands = [(at, item) for at, item in enumerate(given) if at != 1]
    parts = [maker.prepare(item, operation.place(at), operation.scope) for at, item in operands]
    compute = maker.compiler.value(operation.rule, path)
    secret = _body_names_secret(given[1], maker.secret_names)
    items_path = operation.scope.path + (constant_path(given[0]) or ())
    items_path = items_path if names_secret(items_path, maker.secret_names) else ()

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        seen = [part(context, hidden, ledger) for part in parts]
        count = len(items_of(seen[0][0]))
        value = compute(context, ledger.budget(path))
        if hidden or secret or is_redacted(seen):
            clean, redacted = REDACTED, True
            ledger.texts.append(clean)
        else:
            clean, redacted = look(ledger, value, items_path)
        nodes = [part[1] for part in seen]
        reason = sentences.transformed(name, count, len(value) if name == "filter" else clean)
        return value, node_of(ledger, name, path, clean, truthy(value), nodes, reason), redacted

    return explain


def explain_search(maker: PartMaker, operation: Operation, items_of: Callable[[Any], list[Any]] = list_items) -> Part:
    """Explain what looks for an item: the item that decides is shown."""
    name, given, scope = operation.operator.name, operation.given, operation.scope
    wanted = _SEARCHES[name]
    source_of = maker.prepare(given[0], operation.place(0), scope)
    test = maker.compiler.test(given[1], operation.place(1))
    shows_item, cost = scope.nesting < _MAX_ITEM_NESTING, weight(given[1])
    if shows_item:
        inner = Scope(scope.path + (constant_path(given[0]) or ()), scope.nesting + 1)
        body = maker.prepare(given[1], operation.place(1), inner)
    else:
        maker.opaque = True  # for the operator of the body is shown, and it is not prepared

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        source = source_of(context, hidden, ledger)
        items = items_of(source[0])
        budget, scopes = ledger.budget(operation.path), ledger.scopes
        decisive, detail, visited = None, None, 0
        with entered(scopes, context):
            for at, item in enumerate(items):
                scopes[-1] = {"index": at}
                visited = at + 1
                if test(item, budget) is wanted:
                    decisive = at
                    break
            budget.visit(visited * cost)
            if items and shows_item:
                at = decisive or 0
                scopes[-1] = {"index": at}
                detail = body(items[at], hidden or source[2], ledger)[1]
                detail["item"] = at
        value = (decisive is not None) is (name == "some") and (name != "all" or bool(items))
        last = detail or skipped(ledger, given[1], operation.place(1))
        reason = sentences.searched(name, len(items), decisive, detail)
        node = node_of(ledger, name, operation.path, value, value, [source[1], last], reason)
        return value, node, False

    return explain


FORMS: Mapping[Form, Callable[[PartMaker, Operation], Part]] = {
    Form.EAGER: _eager,
    Form.COMPARISON: _eager,
    Form.TEST: _eager,
    Form.OWN: _own,
    Form.NEGATION: _negation,
    Form.AND: explain_first,
    Form.OR: explain_first,
    Form.IF: _if,
    Form.VAR: _var,
    Form.MISSING: _missing,
    Form.MISSING_SOME: _missing,
    Form.LOG: _log,
    Form.MAP: explain_transform,
    Form.FILTER: explain_transform,
    Form.REDUCE: explain_transform,
    Form.ALL: explain_search,
    Form.SOME: explain_search,
    Form.NONE: explain_search,
}
"""What prepares each form."""


def _body_names_secret(body: Any, secret_names: tuple[str, ...]) -> bool:
    """Tell whether what is computed for each item may be a secret: it reads one by name, or by a computed name."""
    if type(body) is str:
        return names_secret(tuple(body.split(".")), secret_names)
    if type(body) is list:
        return any(_body_names_secret(item, secret_names) for item in body)
    if type(body) is not dict or not body:
        return False
    if len(body) > 1:  # data that is preserved
        return any(_body_names_secret(list(item), secret_names) for item in body.items())
    name, given, _ = operands(body)
    computed = name in _READERS and any(type(item) is dict for item in given[: _READERS[name]])
    return computed or any(_body_names_secret(item, secret_names) for item in given)


def _computed_path(path: Any) -> tuple[str, ...]:
    return tuple(path.split(".")) if isinstance(path, str) else ()


def passed_on(ledger: Ledger, operation: Operation, origin: Seen | None, children: list[Node], reason: str) -> Seen:
    """Make the node of a value that is one of its operands.

    Args:
        ledger: What is written down.
        operation: The operation.
        origin: What was seen of that operand; None where the value is null.
        children: The nodes of the operands.
        reason: The sentence.
    """
    value, clean, hidden = (None, None, False) if origin is None else (origin[0], origin[1]["value"], origin[2])
    name = operation.operator.name
    return value, node_of(ledger, name, operation.path, clean, truthy(value), children, reason), hidden
