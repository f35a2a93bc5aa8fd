"""From the syntax tree of a template to functions over plain data. What is not in the table of nodes is refused."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jinja2 import nodes

from automate_core.errors import TemplateError
from automate_core.workflow._template_filters import find_filter, find_test
from automate_core.workflow._template_work import (
    Undefined,
    Work,
    identity,
    is_number,
    lookup,
    refuse_undefined,
    type_name,
)

Path = tuple[str | int, ...]
Evaluate = Callable[[dict[str, Any], Work], Any]

_MAX_NODES = 2000
_MAX_NESTING = 60
_TOO_BIG = 10**300

_REFUSED: list[tuple[type[nodes.Node], str]] = [
    (nodes.Call, "calls"),
    (nodes.BinExpr, "arithmetic"),
    (nodes.UnaryExpr, "arithmetic"),
    (nodes.Concat, "'~' (write the parts side by side instead)"),
    (nodes.Slice, "slices"),
    (nodes.Dict, "objects"),
    (nodes.Tuple, "tuples (write a list instead)"),
    (nodes.Stmt, "statements, only {{ … }}"),
]


class Compiler:
    """Compiles the expressions of one template.

    Attributes:
        references: The paths that the template looks up, as far as they are written out.
    """

    def __init__(self) -> None:
        self.references: set[Path] = set()
        self._nodes = 0
        self._nesting = 0
        self._inside_path = False

    def compile(self, node: nodes.Node) -> Evaluate:
        """Compile one expression.

        Args:
            node: Its root.

        Raises:
            TemplateError: If it uses what templates do not have, or is too long or too deep.
        """
        compile_node = _COMPILERS.get(type(node))
        if compile_node is None:
            what = next((what for kind, what in _REFUSED if isinstance(node, kind)), type(node).__name__)
            raise TemplateError(f"Templates have no {what}.")
        self._nodes += 1
        self._nesting += 1
        if self._nodes > _MAX_NODES or self._nesting > _MAX_NESTING:
            raise TemplateError("The template is too complex: split it.")
        compiled = compile_node(self, node)
        self._nesting -= 1
        return compiled

    @contextmanager
    def refer(self, node: nodes.Node) -> Iterator[None]:
        """Note the path that an expression is, unless it is the beginning of a longer one.

        Args:
            node: The expression.
        """
        path = _reference(node)
        if path and not self._inside_path:
            self.references.add(path)
        before, self._inside_path = self._inside_path, self._inside_path or bool(path)
        yield
        self._inside_path = before


def _const(compiler: Compiler, node: nodes.Const) -> Evaluate:
    return _constant(node.value)


def _constant(value: Any) -> Evaluate:
    if isinstance(value, float) and not math.isfinite(value):
        raise TemplateError("A number of the template is infinite.")
    if isinstance(value, int) and abs(value) >= _TOO_BIG:
        raise TemplateError("An integer of the template is too large.")
    if isinstance(value, str) and ("\x00" in value or any("\ud800" <= char <= "\udfff" for char in value)):
        raise TemplateError("A text of the template holds NUL or a lone surrogate.")
    return lambda context, work: value


def _neg(compiler: Compiler, node: nodes.Neg) -> Evaluate:
    if not isinstance(node.node, nodes.Const) or not is_number(node.node.value):
        raise TemplateError("Templates have no arithmetic.")
    return _constant(-node.node.value)


def _name(compiler: Compiler, node: nodes.Name) -> Evaluate:
    name = node.name
    with compiler.refer(node):
        pass
    return lambda context, work: lookup(context, name, name)


def _path(compiler: Compiler, node: nodes.Getattr | nodes.Getitem) -> Evaluate:
    with compiler.refer(node):
        base = compiler.compile(node.node)
    written = _write(node)
    if isinstance(node, nodes.Getattr):
        name = node.attr
        return _follow(node, lambda context, work: lookup(base(context, work), name, written))
    key = compiler.compile(node.arg)

    def evaluate(context: dict[str, Any], work: Work) -> Any:
        work.charge(1)
        return lookup(base(context, work), key(context, work), written)

    return _follow(node, evaluate)


def _follow(node: nodes.Node, evaluate: Evaluate) -> Evaluate:
    """Return what follows a path of names through objects at once; all else is left to the evaluation step by step."""
    names, price = _reference(node), 0
    if not names or not all(isinstance(name, str) for name in names):
        return evaluate
    while isinstance(node, (nodes.Getattr, nodes.Getitem)):
        price += isinstance(node, nodes.Getitem)
        node = node.node

    def follow(context: dict[str, Any], work: Work) -> Any:
        value: Any = context
        for name in names:
            if type(value) is not dict or name not in value:
                return evaluate(context, work)
            value = value[name]
        if price:
            work.charge(price)
        return value

    return follow


def _reference(node: nodes.Node) -> Path:
    """Return the path that an expression is; empty where it is none or has a computed part."""
    if isinstance(node, nodes.Name):
        return (node.name,)
    if isinstance(node, nodes.Getattr):
        part: Any = node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        part = node.arg.value
    else:
        return ()
    base = _reference(node.node)
    return (*base, part) if base and isinstance(part, (str, int)) else ()


def _write(node: nodes.Node) -> str:
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{_write(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem):
        return f"{_write(node.node)}[{repr(node.arg.value) if isinstance(node.arg, nodes.Const) else '…'}]"
    return "(…)"


def _filter(compiler: Compiler, node: nodes.Filter) -> Evaluate:
    if node.node is None or node.dyn_args is not None or node.dyn_kwargs is not None:
        raise TemplateError("Templates have no blocks and no '*' arguments.")
    keywords: list[Any] = list(node.kwargs)  # declared as Pair, made as Keyword
    run = find_filter(node.name, len(node.args), [keyword.key for keyword in keywords])
    value = compiler.compile(node.node)
    args = [compiler.compile(arg) for arg in node.args]
    kwargs = [(keyword.key, compiler.compile(keyword.value)) for keyword in keywords]
    accept = _as_it_is if node.name in {"d", "default"} else _defined

    def evaluate_alone(context: dict[str, Any], work: Work) -> Any:
        work.charge(1)
        return run(work, value(context, work))

    def evaluate(context: dict[str, Any], work: Work) -> Any:
        work.charge(1)
        given = {key: accept(arg(context, work)) for key, arg in kwargs}
        return run(work, value(context, work), *[accept(arg(context, work)) for arg in args], **given)

    return evaluate if args or kwargs else evaluate_alone


def _test(compiler: Compiler, node: nodes.Test) -> Evaluate:
    if node.args or node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
        raise TemplateError(f"The test {node.name!r} takes no arguments.")
    holds = find_test(node.name)
    value = compiler.compile(node.node)
    asks_defined = node.name in {"defined", "undefined"}

    def evaluate(context: dict[str, Any], work: Work) -> bool:
        found = value(context, work)
        return holds(found if asks_defined else _defined(found))

    return evaluate


def _as_it_is(value: Any) -> Any:
    return value


def _defined(value: Any) -> Any:
    if isinstance(value, Undefined):
        refuse_undefined(value)
    return value


# -- logic ------------------------------------------------------------------------------------------------------------


def _and(compiler: Compiler, node: nodes.And) -> Evaluate:
    left, right = compiler.compile(node.left), compiler.compile(node.right)
    return lambda context, work: _defined(left(context, work)) and right(context, work)


def _or(compiler: Compiler, node: nodes.Or) -> Evaluate:
    left, right = compiler.compile(node.left), compiler.compile(node.right)
    return lambda context, work: _defined(left(context, work)) or right(context, work)


def _not(compiler: Compiler, node: nodes.Not) -> Evaluate:
    value = compiler.compile(node.node)
    return lambda context, work: not _defined(value(context, work))


def _choose(compiler: Compiler, node: nodes.CondExpr) -> Evaluate:
    if node.expr2 is None:
        raise TemplateError("An 'if' in a template needs its 'else'.")
    test, yes, no = compiler.compile(node.test), compiler.compile(node.expr1), compiler.compile(node.expr2)
    return lambda context, work: (yes if _defined(test(context, work)) else no)(context, work)


def _list(compiler: Compiler, node: nodes.List) -> Evaluate:
    items = [compiler.compile(item) for item in node.items]
    return lambda context, work: [_defined(item(context, work)) for item in items]


# -- comparison -------------------------------------------------------------------------------------------------------


def _equal(work: Work, left: Any, right: Any) -> bool:
    work.weigh(left)
    work.weigh(right)
    return bool(identity(left) == identity(right))


def _in(work: Work, left: Any, right: Any) -> bool:
    if isinstance(right, str) and isinstance(left, str):
        work.charge_text(len(right))
        return left in right
    if isinstance(right, dict) and isinstance(left, str):
        return left in right
    if not isinstance(right, list):
        raise TemplateError(f"'in' cannot look for {type_name(left)} in {type_name(right)}.")
    work.weigh(left)
    work.weigh(right)
    return identity(left) in map(identity, right)


def _order(compare: Callable[[Any, Any], Any]) -> Callable[[Work, Any, Any], bool]:
    def check(work: Work, left: Any, right: Any) -> bool:
        both_text = isinstance(left, str) and isinstance(right, str)
        if not both_text and not (is_number(left) and is_number(right)):
            raise TemplateError(f"{type_name(left)} and {type_name(right)} have no order.")
        work.charge_text(len(left) if both_text else 0)
        return bool(compare(left, right))

    return check


_COMPARISONS: dict[str, Callable[[Work, Any, Any], bool]] = {
    "eq": _equal,
    "ne": lambda work, left, right: not _equal(work, left, right),
    "lt": _order(operator.lt),
    "lteq": _order(operator.le),
    "gt": _order(operator.gt),
    "gteq": _order(operator.ge),
    "in": _in,
    "notin": lambda work, left, right: not _in(work, left, right),
}


def _compare(compiler: Compiler, node: nodes.Compare) -> Evaluate:
    first = compiler.compile(node.expr)
    rest = [(_COMPARISONS[operand.op], compiler.compile(operand.expr)) for operand in node.ops]

    def evaluate(context: dict[str, Any], work: Work) -> bool:
        left = _defined(first(context, work))
        for compare, operand in rest:
            right = _defined(operand(context, work))
            if not compare(work, left, right):
                return False
            left = right
        return True

    return evaluate


_COMPILERS: dict[type[nodes.Node], Callable[[Compiler, Any], Evaluate]] = {
    nodes.Const: _const,
    nodes.Neg: _neg,
    nodes.Name: _name,
    nodes.Getattr: _path,
    nodes.Getitem: _path,
    nodes.Filter: _filter,
    nodes.Test: _test,
    nodes.And: _and,
    nodes.Or: _or,
    nodes.Not: _not,
    nodes.CondExpr: _choose,
    nodes.List: _list,
    nodes.Compare: _compare,
}
