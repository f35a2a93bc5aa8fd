"""Whether a rule may be compiled at all: known operators, arity, shape, depth and size.

The check walks the rule with a stack of its own, so that neither depth nor a cycle can exhaust Python's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple

from automate_core.errors import RuleError, RuleLimitExceeded, RuleSyntaxError, UnknownOperationError, nearby
from automate_core.rules.limits import MAX_DEPTH, MAX_INTEGER_BITS, MAX_NODES, MAX_TEXT_BYTES, Where, pointer
from automate_core.rules.operators import Operator

__all__ = ["Checked", "check", "freeze", "operands"]

_SHOWN_NAME = 64

_Frame = tuple[Any, int, Where, Any]
"""A value, the operators and lists around it, its place, and the frame of what holds it."""


class Checked(NamedTuple):
    """What the check found out about a rule.

    Args:
        nodes: Operators, lists and constants.
        budgeted: Whether an operator multiplies work or produces texts and lists.
    """

    nodes: int
    budgeted: bool


def operands(rule: dict[str, Any]) -> tuple[str, list[Any], bool]:
    """Take an operation apart.

    Args:
        rule: A checked object with one key.

    Returns:
        The name of the operator, its operands, and whether they are written as a list.
    """
    ((name, written),) = rule.items()
    return (name, written, True) if type(written) is list else (name, [written], False)


def check(rule: Any, operators: Mapping[str, Operator]) -> Checked:
    """Refuse what must not be compiled.

    Args:
        rule: Any value.
        operators: The operators that exist.

    Returns:
        The size of the rule.

    Raises:
        RuleSyntaxError: If it is not well formed.
        UnknownOperationError: If it uses an operator that does not exist.
        RuleLimitExceeded: If it is too deep or too large.
    """
    stack: list[_Frame] = [(rule, 1, None, None)]
    nodes = 1
    budgeted = False
    while stack:
        frame = stack.pop()
        value, depth, where, _ = frame
        kind = type(value)
        if kind is dict or kind is list or kind is tuple or isinstance(value, dict | list | tuple):
            if not value:
                continue
            if depth > MAX_DEPTH:
                raise _too_deep(frame)
            name, items, listed = "", value, True
            if isinstance(value, dict):
                operator, items, listed = _operation(value, where, operators)
                name = operator.name
                budgeted = budgeted or operator.budgeted
            nodes += len(items)
            if nodes > MAX_NODES:
                raise _refusal(RuleLimitExceeded, f"has more than {MAX_NODES:,} nodes: split it", where)
            below = depth + 1
            for index in range(len(items) - 1, -1, -1):
                stack.append((items[index], below, (where, name, index if listed else None), frame))
        elif kind is not bool and value is not None:
            _check_constant(value, where)
    return Checked(nodes, budgeted)


def _operation(value: dict[Any, Any], where: Where, operators: Mapping[str, Operator]) -> tuple[Operator, Any, bool]:
    if len(value) != 1:
        keys = (repr(name[:_SHOWN_NAME]) if isinstance(name, str) else type(name).__name__ for name in value)
        names = ", ".join(islice(keys, 4))
        raise _refusal(
            RuleSyntaxError, f"holds an object with {len(value)} keys ({names}): an operation has exactly one", where
        )
    ((name, written),) = value.items()
    if not isinstance(name, str):
        raise _refusal(RuleSyntaxError, f"has an operator that is not text but {type(name).__name__}", where)
    operator = operators.get(name)
    if operator is None:
        shown = name[:_SHOWN_NAME]
        raise _refusal(
            UnknownOperationError, f"uses the unknown operator {shown!r}", where, hint=nearby(shown, operators)
        )
    listed = isinstance(written, list | tuple)
    items = written if listed else (written,)
    _check_arity(operator, len(items), where)
    return operator, items, listed


def _check_arity(operator: Operator, given: int, where: Where) -> None:
    minimum, maximum = operator.minimum, operator.maximum
    if given >= minimum and (maximum is None or given <= maximum):
        return
    if maximum is None:
        wanted = f"at least {minimum}"
    else:
        wanted = f"{minimum}" if minimum == maximum else f"{minimum} to {maximum}"
    raise _refusal(RuleSyntaxError, f"gives {operator.name!r} {given} operands instead of {wanted}", where)


def _check_constant(value: Any, where: Where) -> None:
    if isinstance(value, str):
        if len(value) * 4 > MAX_TEXT_BYTES and len(value.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
            raise _refusal(RuleLimitExceeded, f"has a text of more than {MAX_TEXT_BYTES // 1024} KB", where)
    elif isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise _refusal(RuleLimitExceeded, f"has an integer of more than {MAX_INTEGER_BITS:,} bits", where)
    elif not isinstance(value, float) or not math.isfinite(value):
        what = value if isinstance(value, float) else f"a {type(value).__name__}"
        raise _refusal(RuleSyntaxError, f"holds {what}, which is not JSON", where)


def _too_deep(frame: _Frame) -> RuleError:
    value, _, where, holder = frame
    seen = {id(value)}
    while holder is not None:
        if id(holder[0]) in seen:
            return _refusal(RuleSyntaxError, "refers to itself", where)
        seen.add(id(holder[0]))
        holder = holder[3]
    return _refusal(RuleLimitExceeded, f"is nested more than {MAX_DEPTH} levels deep: split it", where)


def _refusal(error: type[RuleError], what: str, where: Where, hint: str = "") -> RuleError:
    at = pointer(where)
    return error(f"The rule {what} at {at or 'its root'!r}.{hint}", context={"pointer": at})


def freeze(rule: Any) -> Any:
    """Copy a checked rule, so that changing the original later changes nothing.

    Args:
        rule: A rule that passed :func:`check`.

    Returns:
        The same rule, made of plain Python types only.
    """
    kind = type(rule)
    if kind is str or kind is int or kind is float or kind is bool or rule is None:
        return rule
    if isinstance(rule, dict):
        return {_plain_text(name): freeze(written) for name, written in rule.items()}
    if isinstance(rule, list | tuple):
        return [freeze(item) for item in rule]
    if isinstance(rule, str):
        return _plain_text(rule)
    return int(rule) if isinstance(rule, int) else float(rule)


def _plain_text(text: str) -> str:
    return text if type(text) is str else str.__str__(text)
