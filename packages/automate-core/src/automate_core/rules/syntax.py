"""Whether a rule may be compiled at all: known operators, arity, shape, depth and size.

The check walks the rule with a stack of its own, so that neither depth nor a cycle can exhaust Python's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice, pairwise
from typing import Any

from automate_core.errors import RuleError, RuleLimitExceeded, RuleSyntaxError, UnknownOperationError, nearby
from automate_core.rules.comparison_leaves import Comparison
from automate_core.rules.extensions import EXTENSIONS
from automate_core.rules.limits import MAX_DEPTH, MAX_INTEGER_BITS, MAX_NODES, MAX_TEXT_BYTES, Where, pointer
from automate_core.rules.operators import Form, Operator

__all__ = ["check", "copy_spec", "operands", "read_comparison"]

_SCALARS = frozenset({str, int, float, bool, type(None)})
_CONTAINERS = (dict, list, tuple)
_LISTS = (list, tuple)
_SHOWN_NAME = 64
_SHORT_TEXT = MAX_TEXT_BYTES // 4
_SHORT_INTEGER = 2**60
_COMPARISON = Form.COMPARISON

_Frame = tuple[Any, int, Where, Any, Any, Any]
"""A list or an object, the operators and lists around it, its place, the frame of what holds it, and where its copy
goes: a list or dict, and the position in it."""


def operands(rule: dict[str, Any]) -> tuple[str, list[Any], bool]:
    """Take an operation apart.

    Args:
        rule: A checked object with one key.

    Returns:
        The name of the operator, its operands, and whether they are written as a list.
    """
    ((name, written),) = rule.items()
    return (name, written, True) if type(written) is list else (name, [written], False)


def check(rule: Any, operators: Mapping[str, Operator], depth: int = 0) -> tuple[Any, int, bool]:
    """Refuse what must not be compiled, and copy the rest.

    Args:
        rule: Any value.
        operators: The operators that exist.
        depth: The operators and lists around it.

    Returns:
        A copy, made of plain Python types only, so that changing the original later changes nothing; the number of its
        operators, lists and constants; whether an operator multiplies work or produces texts and lists.

    Raises:
        RuleSyntaxError: If it is not well formed.
        UnknownOperationError: If it uses an operator that does not exist.
        RuleLimitExceeded: If it is too deep or too large.
    """
    usual = _usual_part(rule, operators, MAX_DEPTH - depth)
    return _walk(rule, operators, depth) if usual is None else (*usual, False)


def _walk(rule: Any, operators: Mapping[str, Operator], around: int) -> tuple[Any, int, bool]:
    root: list[Any] = [None]
    stack: list[_Frame] = []
    _place(rule, around + 1, None, None, root, 0, stack)
    nodes = 1
    budgeted = False
    while stack:
        frame = stack.pop()
        value, depth, where, _, target, key = frame
        if depth > MAX_DEPTH:
            raise _too_deep(frame)
        copy: list[Any] = []
        if isinstance(value, dict):
            operator, items = _operation(value, where, operators)
            name = operator.name
            budgeted = budgeted or operator.budgeted or _may_read_lists(operator, items)
            if operator.quoted:
                data, quoted = _quote(value[operator.name], depth + 1, (where, name, None), nodes)
                nodes += quoted
                target[key] = {name: data}
                continue
            if items is None:
                nodes += 1
                _place_single(name, frame, stack)
                continue
            target[key] = {name: copy}
        else:
            name, items = "", value
            target[key] = copy
        nodes += len(items)
        _limit_nodes(nodes, where)
        for item in items:
            kind = type(item)
            if (kind is str and len(item) <= _SHORT_TEXT) or (kind is int and -_SHORT_INTEGER < item < _SHORT_INTEGER):
                copy.append(item)
            elif kind is str:
                # Comparing it with a list may take long.
                budgeted = True
                copy.append(_constant(item, (where, name, len(copy))))
            elif (usual := _usual_part(item, operators, MAX_DEPTH - depth)) is not None:
                copy.append(usual[0])
                nodes += usual[1] - 1
            else:
                copy.append(None)
                _place(item, depth + 1, (where, name, len(copy) - 1), frame, copy, len(copy) - 1, stack)
        _limit_nodes(nodes, where)
    return root[0], nodes, budgeted


def _limit_nodes(nodes: int, where: Where) -> None:
    if nodes > MAX_NODES:
        raise _refusal(RuleLimitExceeded, f"has more than {MAX_NODES:,} nodes: split it", where)


def _quote(value: Any, depth: int, where: Where, around: int) -> tuple[Any, int]:
    """Copy data in which nothing is an operation; give the copy and the number of its parts."""
    count = 0

    def copy(value: Any, depth: int, where: Where) -> Any:
        nonlocal count
        count += 1
        _limit_nodes(count + around, where)
        if not isinstance(value, _CONTAINERS):
            return _constant(value, where)
        if depth > MAX_DEPTH:
            raise _refusal(RuleLimitExceeded, f"is nested more than {MAX_DEPTH} levels deep: split it", where)
        if not isinstance(value, dict):
            return [copy(item, depth + 1, (where, "", at)) for at, item in enumerate(value)]
        for name in value:
            if not isinstance(name, str):
                raise _refusal(RuleSyntaxError, f"has a key that is not text but {type(name).__name__}", where)
        return {_constant(name, where): copy(item, depth + 1, (where, name, None)) for name, item in value.items()}

    return copy(value, depth, where), count


def _may_read_lists(operator: Operator, items: Any) -> bool:
    """Tell whether a comparison may read long lists: beside a scalar constant, only one that looks for it in a list."""
    if operator.form is not _COMPARISON or items is None or type(items[-1]) in _SCALARS:
        return False
    if operator.name == "in":
        return isinstance(items[1], dict)
    return any(isinstance(first, _CONTAINERS) and isinstance(second, _CONTAINERS) for first, second in pairwise(items))


def read_comparison(name: str, given: list[Any]) -> tuple[str, Comparison] | None:
    """Read the comparison of a variable with a short constant, as usually written.

    Args:
        name: The comparison.
        given: Its operands, not checked.

    Returns:
        The path of the variable as it is written, and the comparison; None for any other.
    """
    if len(given) != 2:
        return None
    read, constant = given
    path = read.get("var") if type(read) is dict and len(read) == 1 else None
    if type(path) is not str or not path or len(path) > _SHORT_TEXT or not _is_short(constant):
        return None
    if "." not in path:
        return path, (name, (path,), constant)
    parts = (*path.split("."),)
    return None if len(parts) > MAX_DEPTH else (path, (name, parts, constant))


def _is_short(constant: Any) -> bool:
    if type(constant) is str:
        return len(constant) <= _SHORT_TEXT
    if type(constant) is int:
        return -_SHORT_INTEGER < constant < _SHORT_INTEGER
    return constant is None or type(constant) is bool or (type(constant) is float and math.isfinite(constant))


def _usual_part(value: Any, operators: Mapping[str, Operator], room: int) -> tuple[dict[str, Any], int] | None:
    """Copy what most rules are made of: a variable, or a comparison of one with a short scalar, as usually written.

    Args:
        value: A part of a rule.
        operators: The operators that exist.
        room: How many levels there may be below it.

    Returns:
        The copy and its number of nodes; None for anything else.
    """
    if type(value) is not dict or len(value) != 1 or room < 2 or "var" not in operators:
        return None
    ((name, given),) = value.items()
    if name == "var":
        return ({"var": given}, 2) if type(given) is str and len(given) <= _SHORT_TEXT else None
    if type(given) is not list or type(name) is not str:
        return None
    operator = operators.get(name)
    if operator is None or operator.form is not _COMPARISON or operator.minimum > 2:
        return None
    found = read_comparison(name, given)
    if found is None:
        return None
    path, comparison = found
    return {name: [{"var": path}, comparison[2]]}, 4


def _place_single(name: str, frame: _Frame, stack: list[_Frame]) -> None:
    """Copy an operation that has one operand and no list around it."""
    value, depth, where, _, target, key = frame
    ((_, only),) = value.items()
    target[key] = operation = {name: only}
    if type(only) is not str or len(only) > _SHORT_TEXT:
        _place(only, depth + 1, (where, name, None), frame, operation, name, stack)


def _place(item: Any, depth: int, where: Where, holder: Any, target: Any, key: Any, stack: list[_Frame]) -> None:
    """Copy a constant to where it belongs, or put a list or an object on the stack."""
    if isinstance(item, _CONTAINERS):
        if item:
            stack.append((item, depth, where, holder, target, key))
        else:
            target[key] = {} if isinstance(item, dict) else []
    else:
        target[key] = _constant(item, where)


def _operation(value: dict[Any, Any], where: Where, operators: Mapping[str, Operator]) -> tuple[Operator, Any]:
    """Check an object; give its operator and its operands, None for a single operand without a list."""
    if len(value) != 1:
        raise _several_keys(value, where)
    ((name, written),) = value.items()
    operator = operators.get(name) if isinstance(name, str) else None
    if operator is None:
        raise _unknown(name, where, operators)
    items = written if type(written) is list or isinstance(written, _LISTS) else None
    if items is None and operator.listed:
        raise _refusal(RuleSyntaxError, f"gives {operator.name!r} no list of operands", where)
    given = 1 if items is None else len(items)
    if given < operator.minimum or (operator.maximum is not None and given > operator.maximum):
        raise _arity(operator, given, where)
    return operator, items


def _several_keys(value: dict[Any, Any], where: Where) -> RuleError:
    keys = (repr(name[:_SHOWN_NAME]) if isinstance(name, str) else type(name).__name__ for name in value)
    names = ", ".join(islice(keys, 4))
    return _refusal(
        RuleSyntaxError, f"holds an object with {len(value)} keys ({names}): an operation has exactly one", where
    )


def _unknown(name: Any, where: Where, operators: Mapping[str, Operator]) -> RuleError:
    if not isinstance(name, str):
        return _refusal(RuleSyntaxError, f"has an operator that is not text but {type(name).__name__}", where)
    shown = name[:_SHOWN_NAME]
    hint = _switched_off(name) or nearby(shown, operators)
    return _refusal(UnknownOperationError, f"uses the unknown operator {shown!r}", where, hint=hint)


def _switched_off(name: str) -> str:
    """Say which extension has an operator that this engine lacks; nothing where none has it."""
    group = next((group for group, names in EXTENSIONS.items() if name in names), None)
    return f" The extension {group!r} has it, which is not turned on: add it to RULES.extensions." if group else ""


def _arity(operator: Operator, given: int, where: Where) -> RuleError:
    minimum, maximum = operator.minimum, operator.maximum
    if maximum is None:
        wanted = f"at least {minimum}"
    else:
        wanted = f"{minimum}" if minimum == maximum else f"{minimum} to {maximum}"
    return _refusal(RuleSyntaxError, f"gives {operator.name!r} {given} operands instead of {wanted}", where)


def _constant(value: Any, where: Where) -> Any:
    if value is None or type(value) is bool:
        return value
    if isinstance(value, str):
        if len(value) > _SHORT_TEXT and len(value.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
            raise _refusal(RuleLimitExceeded, f"has a text of more than {MAX_TEXT_BYTES // 1024} KB", where)
        return str.__str__(value)
    if isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise _refusal(RuleLimitExceeded, f"has an integer of more than {MAX_INTEGER_BITS:,} bits", where)
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    what = float(value) if isinstance(value, float) else f"a {type(value).__name__}"
    raise _refusal(RuleSyntaxError, f"holds {what}, which is not JSON", where)


def _too_deep(frame: _Frame) -> RuleError:
    value, _, where, holder, _, _ = frame
    seen = {id(value)}
    while holder is not None:
        if id(holder[0]) in seen:
            return _refusal(RuleSyntaxError, "refers to itself", where)
        seen.add(id(holder[0]))
        holder = holder[3]
    return _refusal(RuleLimitExceeded, f"is nested more than {MAX_DEPTH} levels deep: split it", where)


def _refusal(error: type[RuleError], what: str, where: Where, hint: str = "") -> RuleError:
    at = pointer(where)
    return error(f"The rule {what} at {repr(at) if at else 'its root'}.{hint}", context={"pointer": at})


def copy_spec(spec: Any) -> Any:
    """Copy a checked rule.

    Args:
        spec: A rule that :func:`check` gave.

    Returns:
        The same rule.
    """
    if type(spec) is dict:
        return {name: copy_spec(written) for name, written in spec.items()}
    return [copy_spec(item) for item in spec] if type(spec) is list else spec
