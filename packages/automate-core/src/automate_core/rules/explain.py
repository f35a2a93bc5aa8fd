"""Why a rule matches or does not: a walk over the rule with the exact functions, apart from the compiled closures.

Values are redacted before they enter the tree. What is computed from, or compared with, a redacted value is redacted
too: a comparison that holds would give the value away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from automate_core.redaction import is_secret_key
from automate_core.rules import sentences
from automate_core.rules.coercion import list_items, truthy, verdict
from automate_core.rules.compiler import Compiler, constant_path
from automate_core.rules.display import REDACTED, shown
from automate_core.rules.limits import Budget, escape
from automate_core.rules.lookups import missing, missing_some
from automate_core.rules.operators import Form, Operator
from automate_core.rules.paths import MISSING, lookup
from automate_core.rules.syntax import operands

__all__ = ["Explainer", "Node"]

Node = dict[str, Any]

_MAX_ITEM_NESTING = 8
_SEARCHES = {Form.ALL: False, Form.SOME: True, Form.NONE: True}
_HIDDEN_REASON = "the value is redacted"


class _Scope(NamedTuple):
    """What variables read: the data, where it was found, and whether it is redacted as a whole."""

    context: Any
    path: tuple[str, ...] = ()
    hidden: bool = False
    nesting: int = 0


class _Seen(NamedTuple):
    """What a part of the rule gave: its value, its node, and whether the value is redacted."""

    value: Any
    node: Node
    hidden: bool = False


def _node(operator: str, path: str, value: Any, truth: bool | None, children: list[Node], reason: str) -> Node:
    return {
        "operator": operator,
        "path": path,
        "value": value,
        "result": truth,
        "children": children,
        "skipped": truth is None,
        "reason": reason,
    }


class Explainer:
    """Explains checked rules. It keeps no state, so one serves every thread.

    Args:
        operators: The operators that exist.
        compiler: Compiles what is not walked: the bodies of array operators for items that are not shown.
    """

    __slots__ = ("_compiler", "_forms", "_operators")

    def __init__(self, operators: Mapping[str, Operator], compiler: Compiler) -> None:
        self._operators = operators
        self._compiler = compiler
        self._forms: dict[Form, Callable[[_Operation, _Scope], _Seen]] = {
            Form.EAGER: self._eager,
            Form.COMPARISON: self._eager,
            Form.NEGATION: self._negation,
            Form.AND: self._first,
            Form.OR: self._first,
            Form.IF: self._if,
            Form.VAR: self._var,
            Form.MISSING: self._missing,
            Form.MISSING_SOME: self._missing,
            Form.LOG: self._log,
            Form.MAP: self._transform,
            Form.FILTER: self._transform,
            Form.REDUCE: self._transform,
            Form.ALL: self._search,
            Form.SOME: self._search,
            Form.NONE: self._search,
        }

    def explain(self, rule: Any, context: Any) -> Node:
        """Explain a rule.

        Args:
            rule: A checked rule, made of plain types.
            context: The data.

        Returns:
            The tree.
        """
        seen = self._visit(rule, "", _Scope(context))
        return seen.node | {"result": verdict(seen.value)}

    def _visit(self, rule: Any, path: str, scope: _Scope) -> _Seen:
        if type(rule) is dict and rule:
            name, given, listed = operands(rule)
            operator = self._operators[name]
            return self._forms[operator.form](
                _Operation(rule, operator, given, listed, path, f"{path}/{escape(name)}"), scope
            )
        if type(rule) is list and rule:
            parts = [self._visit(item, f"{path}/{at}", scope) for at, item in enumerate(rule)]
            values = [part.value for part in parts]
            return _computed("list", path, values, parts, f"a list of {len(values)}")
        clean, hidden = shown(rule)
        return _Seen(rule, _node("constant", path, clean, truthy(rule), [], sentences.constant(clean)), hidden)

    def _operands(self, operation: _Operation, scope: _Scope) -> list[_Seen]:
        used = operation.operator.used
        given = operation.given if used is None else operation.given[:used]
        return [self._visit(item, operation.place(at), scope) for at, item in enumerate(given)]

    def _skipped(self, rule: Any, path: str) -> Node:
        name = next(iter(rule)) if type(rule) is dict and rule else ("list" if type(rule) is list else "constant")
        return _node(name, path, None, None, [], "not reached")

    def _eager(self, operation: _Operation, scope: _Scope) -> _Seen:
        parts = self._operands(operation, scope)
        value = operation.operator.exact(operation.path)(None, *[part.value for part in parts])
        if any(part.hidden for part in parts):
            for part in parts:
                _hide(part.node)
        name = operation.operator.name
        nodes = [part.node for part in parts]
        if operation.operator.form is Form.COMPARISON:
            reason = sentences.comparison(name, operation.given, nodes, value)
        else:
            clean, _ = shown(value)
            reason = sentences.computed(name, REDACTED if any(part.hidden for part in parts) else clean)
        return _computed(name, operation.path, value, parts, reason)

    def _negation(self, operation: _Operation, scope: _Scope) -> _Seen:
        parts = self._operands(operation, scope)
        negate = operation.operator.name == "!"
        value = truthy(parts[0].value if parts else None) is not negate
        reason = sentences.negation(negate, parts[0].node if parts else None)
        return _computed(operation.operator.name, operation.path, value, parts, reason)

    def _first(self, operation: _Operation, scope: _Scope) -> _Seen:
        stop = operation.operator.form is Form.OR
        parts: list[_Seen] = []
        for at, item in enumerate(operation.given):
            parts.append(self._visit(item, operation.place(at), scope))
            if truthy(parts[-1].value) is stop:
                break
        reached = len(parts)
        skipped = [self._skipped(item, operation.place(at)) for at, item in enumerate(operation.given) if at >= reached]
        value = parts[-1].value if parts else None
        reason = sentences.junction(stop, [part.node for part in parts], len(operation.given))
        return _passed_on(operation, value, parts[-1:], [part.node for part in parts] + skipped, reason)

    def _if(self, operation: _Operation, scope: _Scope) -> _Seen:
        given = operation.given
        nodes = [self._skipped(item, operation.place(at)) for at, item in enumerate(given)]
        chosen = len(given) - 1 if len(given) % 2 else None
        for at in range(0, len(given) - 1, 2):
            condition = self._visit(given[at], operation.place(at), scope)
            nodes[at] = condition.node
            if truthy(condition.value):
                chosen = at + 1
                break
        if chosen is None:
            return _passed_on(operation, None, [], nodes, sentences.branch(nodes, None))
        result = self._visit(given[chosen], operation.place(chosen), scope)
        nodes[chosen] = result.node
        return _passed_on(operation, result.value, [result], nodes, sentences.branch(nodes, chosen))

    def _var(self, operation: _Operation, scope: _Scope) -> _Seen:
        given = operation.given
        parts = [self._visit(given[0], operation.place(0), scope)] if given else []
        path = parts[0].value if parts else None
        found = lookup(scope.context, path)
        fixed = constant_path({"var": given[:1]})
        name = sentences.variable(fixed, scope.path)
        nodes = [part.node for part in parts]
        if found is not MISSING:
            nodes += [self._skipped(item, operation.place(1)) for item in given[1:2]]
            clean, hidden = shown(found, scope.path + (fixed if fixed is not None else _computed_path(path)))
            hidden = hidden or scope.hidden or any(part.hidden for part in parts)
            clean = REDACTED if hidden and not isinstance(clean, dict | list) else clean
            clean = REDACTED if scope.hidden else clean
            reason = sentences.variable_is(name, clean)
            return _Seen(found, _node("var", operation.path, clean, truthy(found), nodes, reason), hidden)
        if len(given) < 2:
            reason = sentences.variable_missing(name)
            return _Seen(None, _node("var", operation.path, None, False, nodes, reason))
        default = self._visit(given[1], operation.place(1), scope)
        reason = sentences.variable_missing(name, default.node["value"], has_default=True)
        return _passed_on(operation, default.value, [default], [*nodes, default.node], reason)

    def _missing(self, operation: _Operation, scope: _Scope) -> _Seen:
        parts = self._operands(operation, scope)
        values = [part.value for part in parts]
        if operation.operator.form is Form.MISSING:
            value = missing(scope.context, values)
        else:
            value = missing_some(scope.context, values[0], values[1])
        clean = REDACTED if any(part.hidden for part in parts) else shown(value)[0]
        return _computed(operation.operator.name, operation.path, value, parts, sentences.absent(clean))

    def _log(self, operation: _Operation, scope: _Scope) -> _Seen:
        parts = self._operands(operation, scope)
        value = parts[0].value if parts else None
        reason = parts[0].node["reason"] if parts else sentences.constant(None)
        return _passed_on(operation, value, parts, [part.node for part in parts], reason)

    def _transform(self, operation: _Operation, scope: _Scope) -> _Seen:
        """Explain what goes through a whole list: the body is not shown, what comes out is."""
        name, path = operation.operator.name, operation.path
        source = self._visit(operation.given[0], operation.place(0), scope)
        parts = [
            source,
            *(self._visit(item, operation.place(at + 2), scope) for at, item in enumerate(operation.given[2:])),
        ]
        value = self._compiler.value(operation.rule, path)(scope.context, Budget())
        hidden = scope.hidden or any(part.hidden for part in parts) or _names_secret(operation.given[1])
        items = list_items(source.value)
        reason = sentences.transformed(name, len(items), len(value) if name == "filter" else None)
        clean = REDACTED
        if not hidden:
            clean, hidden = shown(value, _scope_path(operation.given[0], scope))
        node = _node(name, path, clean, truthy(value), [part.node for part in parts], reason)
        return _Seen(value, node, hidden)

    def _search(self, operation: _Operation, scope: _Scope) -> _Seen:
        form, name = operation.operator.form, operation.operator.name
        wanted = _SEARCHES[form]
        source = self._visit(operation.given[0], operation.place(0), scope)
        items = list_items(source.value)
        test = self._compiler.test(operation.given[1], operation.place(1))
        budget = Budget()
        decisive = next((at for at, item in enumerate(items) if test(item, budget) is wanted), None)
        value = (decisive is not None) is (form is Form.SOME) and (form is not Form.ALL or bool(items))
        nodes = [source.node]
        shown_item = decisive if decisive is not None else 0
        detail: Node | None = None
        if items and scope.nesting < _MAX_ITEM_NESTING:
            inner = _Scope(
                items[shown_item],
                _scope_path(operation.given[0], scope),
                scope.hidden or source.hidden,
                scope.nesting + 1,
            )
            detail = self._visit(operation.given[1], operation.place(1), inner).node | {"item": shown_item}
            nodes.append(detail)
        else:
            nodes.append(self._skipped(operation.given[1], operation.place(1)))
        reason = sentences.searched(name, len(items), decisive, detail)
        return _Seen(value, _node(name, operation.path, value, value, nodes, reason))


class _Operation(NamedTuple):
    """An operation of a rule, taken apart."""

    rule: Any
    operator: Operator
    given: list[Any]
    listed: bool
    path: str
    inside: str

    def place(self, at: int) -> str:
        """Return the JSON pointer to an operand."""
        return f"{self.inside}/{at}" if self.listed else self.inside


def _scope_path(source: Any, scope: _Scope) -> tuple[str, ...]:
    return scope.path + (constant_path(source) or ())


def _names_secret(body: Any) -> bool:
    """Tell whether what is computed for each item may be a secret: it reads one by name, or by a computed name."""
    if type(body) is str:
        return any(is_secret_key(part) for part in body.split("."))
    if type(body) is list:
        return any(_names_secret(item) for item in body)
    if type(body) is not dict or not body:
        return False
    name, given, _ = operands(body)
    computed = name == "var" and bool(given) and type(given[0]) is dict
    return computed or any(_names_secret(item) for item in given)


def _computed_path(path: Any) -> tuple[str, ...]:
    return tuple(path.split(".")) if isinstance(path, str) else ()


def _computed(name: str, path: str, value: Any, parts: list[_Seen], reason: str) -> _Seen:
    """Make the node of a value that was computed from its operands."""
    hidden = any(part.hidden for part in parts) and not isinstance(value, bool)
    clean, found = (REDACTED, True) if hidden else shown(value)
    return _Seen(value, _node(name, path, clean, truthy(value), [part.node for part in parts], reason), hidden or found)


def _passed_on(operation: _Operation, value: Any, origin: list[_Seen], children: list[Node], reason: str) -> _Seen:
    """Make the node of a value that is one of its operands."""
    clean, hidden = (origin[0].node["value"], origin[0].hidden) if origin else (None, False)
    return _Seen(value, _node(operation.operator.name, operation.path, clean, truthy(value), children, reason), hidden)


def _hide(node: Node) -> None:
    if not node["skipped"]:
        node["reason"] = _HIDDEN_REASON
        if not isinstance(node["value"], bool):
            node["value"] = REDACTED
        for child in node["children"]:
            _hide(child)
