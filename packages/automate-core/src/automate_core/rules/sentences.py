"""The sentences of an explanation: what a value is, and what it needs to be."""

from __future__ import annotations

import json
from typing import Any

__all__ = [
    "absent",
    "branch",
    "chain",
    "comparison",
    "computed",
    "constant",
    "existence",
    "failed",
    "first_known",
    "junction",
    "negation",
    "phrased",
    "quote",
    "requirement",
    "searched",
    "test",
    "transformed",
    "variable",
    "variable_is",
    "variable_missing",
]

_encode = json.JSONEncoder(ensure_ascii=False).encode
_MAX_QUOTED = 80
_MAX_REASON = 400

_PHRASES = {
    "==": "",
    "===": "exactly ",
    "!=": "anything but ",
    "!==": "anything but exactly ",
    ">": "more than ",
    ">=": "at least ",
    "<": "less than ",
    "<=": "at most ",
}
_MIRRORED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}


def quote(value: Any) -> str:
    """Write a JSON value as sentences quote it."""
    kind = type(value)
    if value is None or kind is bool:
        return "null" if value is None else "true" if value else "false"
    if kind is list:
        text = f"[{', '.join([quote(item) for item in value])}]"
    else:
        text = repr(value) if kind is int or kind is float else _encode(value)
    return text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 1] + "…"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_REASON else text[: _MAX_REASON - 1] + "…"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def constant(value: Any) -> str:
    """Name a constant of the rule."""
    return f"the constant {quote(value)}"


def computed(operator: str, value: Any) -> str:
    """Say what an operator gave."""
    return f"{operator} gives {quote(value)}"


def phrased(phrase: str, nodes: list[dict[str, Any]], value: Any) -> str:
    """Say what an operator gave that has a phrase of its own.

    Args:
        phrase: The phrase, with operands in braces.
        nodes: The explained nodes of the operands.
        value: The value.
    """
    return _cut(f"{phrase.format(*[_name(node) for node in nodes])} is {quote(value)}")


def test(phrases: tuple[str, ...], nodes: list[dict[str, Any]], holds: bool) -> str:
    """Say what the first operand is, and what it does or needs to do.

    Args:
        phrases: What it does, and what it needs to do, with operands in braces.
        nodes: The explained nodes of the operands.
        holds: Whether the test holds.
    """
    doing, needed = phrases
    rest = f"which {doing}" if holds else f"needs to {needed}"
    return _cut(f"{_subject(nodes[0])}, {rest.format(*[_object(node) for node in nodes])}")


def _name(node: dict[str, Any]) -> str:
    """Name an operand: a constant by its value, a word without quotes; everything else by what its reason is about."""
    value = node["value"]
    if node["operator"] in ("constant", "list"):
        return value if isinstance(value, str) and value.isalpha() else quote(value)
    name, link, _ = str(node["reason"]).partition(" is ")
    return name if link else quote(value)


def variable(path: tuple[str, ...] | None, scope: tuple[str, ...] = ()) -> str:
    """Name a variable.

    Args:
        path: Its path; None where it is computed.
        scope: The path of the list whose items are the context.
    """
    if path is None:
        return "the variable"
    if not path:
        return f"the item of {'.'.join(scope)}" if scope else "the context"
    return _cut(".".join(path))


def variable_is(name: str, value: Any) -> str:
    """Say what a variable is."""
    return f"{name} is {quote(value)}"


def variable_missing(name: str, default: Any = None, has_default: bool = False) -> str:
    """Say that a variable is not there."""
    return f"{name} is missing, its default is {quote(default)}" if has_default else f"{name} is missing"


def absent(keys: Any) -> str:
    """Say which variables are not there."""
    return f"missing are {quote(keys)}" if keys else "nothing is missing"


def comparison(operator: str, given: list[Any], nodes: list[dict[str, Any]], holds: bool) -> str:
    """Say what a value is and what it needs to be.

    Args:
        operator: The comparison.
        given: The operands in the rule.
        nodes: Their explained nodes.
        holds: Whether the comparison holds.
    """
    link = "which is" if holds else "needs to be"
    if operator == "in":
        return _membership(nodes, holds, link)
    if len(nodes) == 3:
        lower, upper = ("at least", "at most") if operator == "<=" else ("more than", "less than")
        return f"{_subject(nodes[1])}, {link} {lower} {quote(nodes[0]['value'])} and {upper} {quote(nodes[2]['value'])}"
    first, second = nodes
    if first["operator"] == "constant" and second["operator"] != "constant":
        first, second, operator = second, first, _MIRRORED.get(operator, operator)
    return f"{_subject(first)}, {link} {_PHRASES[operator]}{_object(second)}"


def _membership(nodes: list[dict[str, Any]], holds: bool, link: str) -> str:
    needle, haystack = nodes
    if needle["operator"] == "constant" and haystack["operator"] != "constant":
        verb = "which contains" if holds else "needs to contain"
        return f"{_subject(haystack)}, {verb} {quote(needle['value'])}"
    relation = "one of" if isinstance(haystack["value"], list) else "part of"
    return f"{_subject(needle)}, {link} {relation} {_object(haystack)}"


def _subject(node: dict[str, Any]) -> str:
    return str(node["reason"]) if node["operator"] != "list" else f"the list is {quote(node['value'])}"


def _object(node: dict[str, Any]) -> str:
    quoted = quote(node["value"])
    return f"{quoted} ({node['reason'].partition(' is ')[0]})" if node["operator"] == "var" else quoted


def requirement(operator: str, quoted: str) -> tuple[str, str]:
    """Say what a value needs to be.

    Args:
        operator: The comparison, any but ``in``.
        quoted: What it is compared with.

    Returns:
        What follows the sentence of the value where the comparison holds, and where it does not.
    """
    phrase = _PHRASES[operator]
    return f", which is {phrase}{quoted}", f", needs to be {phrase}{quoted}"


def chain(operator: str, count: int) -> str:
    """Say that a comparison holds from each value to the next.

    Args:
        operator: The comparison.
        count: The number of values.
    """
    return f"each of {count} values is {_PHRASES[operator] or 'equal to '}the next"


def first_known(reached: list[dict[str, Any]], total: int, found: bool) -> str:
    """Say which value is the first that is not null.

    Args:
        reached: The explained nodes of the values that were looked at.
        total: The number of values.
        found: Whether the last of them is not null.
    """
    if not found:
        return f"all of {_count(total, 'value')} are null" if total else "there are no values"
    return _cut(f"value {len(reached)} of {total} is the first that is not null: {reached[-1]['reason']}")


def existence(name: str, there: bool) -> str:
    """Say whether anything is at a path."""
    return f"{name} is there" if there else f"{name} is missing"


def failed(what: str | None) -> str:
    """Say that an operand failed; None for what is not named."""
    return "it fails" if what is None else f"it fails with {quote(what)}"


def negation(negate: bool, node: dict[str, Any] | None) -> str:
    """Say whether what must not hold does not."""
    if node is None:
        return "there is nothing to test"
    if not negate:
        return str(node["reason"])
    return _cut(f"{'must not hold, but does' if node['result'] else 'does not hold, as it must not'}: {node['reason']}")


def junction(any_of: bool, reached: list[dict[str, Any]], total: int) -> str:
    """Say which condition decided.

    Args:
        any_of: Whether one condition is enough.
        reached: The explained nodes of the conditions that were evaluated.
        total: The number of conditions.
    """
    if not reached:
        return "there are no conditions"
    last = reached[-1]
    if last["result"] is not any_of:
        conditions = _count(total, "condition")
        return f"none of {conditions} holds" if any_of else f"all of {conditions} hold"
    verb = "holds" if any_of else "does not hold"
    return _cut(f"condition {len(reached)} of {total} {verb}: {last['reason']}")


def branch(nodes: list[dict[str, Any]], chosen: int | None) -> str:
    """Say which branch was taken.

    Args:
        nodes: The operands of the ``if``.
        chosen: The position of the one that gave the value.
    """
    if chosen is None:
        return "no condition holds and there is no other value"
    if chosen % 2 == 0:
        return _cut(f"no condition holds: {nodes[chosen]['reason']}" if chosen else str(nodes[0]["reason"]))
    return _cut(f"condition {chosen // 2 + 1} holds ({nodes[chosen - 1]['reason']}): {nodes[chosen]['reason']}")


def transformed(operator: str, items: int, value: Any) -> str:
    """Say what went through a list, and what came out.

    Args:
        operator: ``map``, ``filter`` or ``reduce``.
        items: The number of items.
        value: What to show of the result; of ``filter``, the number of items that it keeps.
    """
    if operator == "filter":
        return f"keeps {value} of {_count(items, 'item')}"
    return _cut(f"{operator} over {_count(items, 'item')} gives {quote(value)}")


def searched(operator: str, items: int, decisive: int | None, detail: dict[str, Any] | None) -> str:
    """Say which item decided.

    Args:
        operator: ``all``, ``some`` or ``none``.
        items: The number of items.
        decisive: The position of the item that decided; None where none did.
        detail: Its explained node, where there is one.
    """
    if not items:
        return "the list has no items"
    if decisive is None:
        return f"all of {_count(items, 'item')} hold" if operator == "all" else f"none of {_count(items, 'item')} holds"
    verb = "does not hold" if operator == "all" else "holds"
    why = f": {detail['reason']}" if detail is not None else ""
    return _cut(f"item {decisive} of {_count(items, 'item')} {verb}{why}")
