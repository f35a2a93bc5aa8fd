"""The parts that make up most of every rule, explained: a constant, a variable, a comparison of the two.

Each is one closure that knows its texts but for the value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automate_core.rules import sentences
from automate_core.rules.coercion import truthy
from automate_core.rules.comparison_leaves import MIRRORED, exact_comparison
from automate_core.rules.compiler import constant_path
from automate_core.rules.display import MAX_ITEMS, REDACTED
from automate_core.rules.ledger import Ledger, Node, Part, Scope, Seen, look, names_secret, note
from automate_core.rules.paths import MISSING, walk

__all__ = ["comparison", "constant", "constants", "variable"]


def _fixed(value: Any) -> tuple[str, list[str], list[int]] | None:
    """Prepare a constant: its sentence, and what is to be looked at for secrets; None if it is not shown as it is."""
    texts: list[str] = []
    numbers: list[int] = []
    if not note(value, texts, numbers):
        return None
    reason = sentences.constant(value)
    texts.append(reason)
    return reason, texts, numbers


def constant(value: Any, path: str) -> Part | None:
    """Explain a constant.

    Args:
        value: The constant.
        path: Its place.

    Returns:
        What explains it; None where it is not shown as it is.
    """
    fixed = _fixed(value)
    if fixed is None:
        return None
    reason, texts, numbers = fixed
    truth = truthy(value)

    def explain(_context: Any, _hidden: bool, ledger: Ledger) -> Seen:
        ledger.texts += texts
        ledger.numbers += numbers
        node: Node = {
            "operator": "constant",
            "path": path,
            "value": value,
            "result": truth,
            "children": [],
            "skipped": False,
            "reason": reason,
        }
        return value, node, False

    return explain


def constants(values: list[Any], path: str) -> Part | None:
    """Explain a list of constants; the arguments are those of :func:`constant`, and so is None."""
    if len(values) > MAX_ITEMS:
        return None
    texts: list[str] = []
    numbers: list[int] = []
    items = []
    for at, value in enumerate(values):
        if not note(value, texts, numbers):
            return None
        items.append((f"{path}/{at}", value, truthy(value), sentences.constant(value)))
    reason = f"a list of {len(values)}"
    texts += [reason, *[item[3] for item in items]]

    def explain(_context: Any, _hidden: bool, ledger: Ledger) -> Seen:
        ledger.texts += texts
        ledger.numbers += numbers
        children = [
            {
                "operator": "constant",
                "path": item_path,
                "value": value,
                "result": truth,
                "children": [],
                "skipped": False,
                "reason": item_reason,
            }
            for item_path, value, truth, item_reason in items
        ]
        node: Node = {
            "operator": "list",
            "path": path,
            "value": values.copy(),
            "result": True,
            "children": children,
            "skipped": False,
            "reason": reason,
        }
        return values.copy(), node, False

    return explain


def variable(rule: Any, path: str, scope: Scope, secret_names: tuple[str, ...]) -> Part | None:
    """Explain a variable.

    Args:
        rule: The variable.
        path: Its place.
        scope: Its place among the array operators.
        secret_names: The names of secrets that the settings add.

    Returns:
        What explains it; None for one with a default, with a computed path, or with one that is not shown as it is.
    """
    parts = constant_path(rule)
    written, written_path = rule["var"], f"{path}/var"
    if type(written) is list:
        if not written:
            return None
        written, written_path = written[0], f"{written_path}/0"
    fixed = _fixed(written)
    if parts is None or fixed is None:
        return None
    written_reason, texts, numbers = fixed
    keys = scope.path + parts
    if not names_secret(keys, secret_names):
        keys = ()
    name = sentences.variable(parts, scope.path)
    written_truth, quote = truthy(written), sentences.quote

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        found = walk(context, parts)
        clean, redacted = found, False
        if found is MISSING:
            found = clean = None
            reason = f"{name} is missing"
        else:
            if hidden or keys or not note(found, ledger.texts, ledger.numbers):
                clean, redacted = look(ledger, found, keys)
                if hidden or (redacted and not isinstance(clean, dict | list)):
                    clean, redacted = REDACTED, True
                    ledger.texts.append(REDACTED)
            reason = f"{name} is {quote(clean)}"
        ledger.texts.append(reason)
        ledger.texts += texts
        ledger.numbers += numbers
        node: Node = {
            "operator": "var",
            "path": path,
            "value": clean,
            "result": truthy(found),
            "children": [
                {
                    "operator": "constant",
                    "path": written_path,
                    "value": written,
                    "result": written_truth,
                    "children": [],
                    "skipped": False,
                    "reason": written_reason,
                }
            ],
            "skipped": False,
            "reason": reason,
        }
        return found, node, redacted

    return explain


def comparison(
    operator: str,
    given: list[Any],
    path: str,
    scope: Scope,
    secret_names: tuple[str, ...],
    otherwise: Callable[[], Part],
) -> Part | None:
    """Explain the comparison of a variable with a constant, by far the most frequent part of rules.

    Args:
        operator: The comparison.
        given: Its two operands.
        path: Its place.
        scope: Its place among the array operators.
        secret_names: The names of secrets that the settings add.
        otherwise: Makes what explains a value that is not shown as it is.

    Returns:
        What explains it; None where it is any other comparison, reads a secret, or has a constant that is not shown as
        it is.
    """
    read, wanted = given
    read_path, wanted_path = f"{path}/{operator}/0", f"{path}/{operator}/1"
    mirrored, meaning = type(read) is not dict, operator
    if mirrored:
        wanted, read = given
        read_path, wanted_path = wanted_path, read_path
        meaning = MIRRORED[operator]
    parts = constant_path(read)
    if not parts or names_secret(scope.path + parts, secret_names):
        return None
    key, key_path = read["var"], f"{read_path}/var"
    if type(key) is list:
        key, key_path = key[0], f"{key_path}/0"
    quote = sentences.quote
    quoted, quoted_key = quote(wanted), quote(key)
    numbers: list[int] = []
    is_shown = quoted[1:-1] == wanted if type(wanted) is str else note(wanted, [], numbers)
    if not is_shown or quoted_key[1:-1] != key:
        return None
    wanted_reason, key_reason = f"the constant {quoted}", f"the constant {quoted_key}"
    compare = exact_comparison(meaning, wanted)
    holds, fails = sentences.requirement(meaning, quoted)
    wanted_truth = truthy(wanted)

    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        value = walk(context, parts)
        if value is MISSING:
            value = None
            reason = f"{key} is missing"
        elif hidden or not note(value, ledger.texts, ledger.numbers):
            return otherwise()(context, hidden, ledger)
        else:
            reason = f"{key} is {quote(value)}"
        result = compare(value, wanted)
        # It begins with the sentence of the variable, and shows all of the key and of the constant.
        sentence = reason + (holds if result else fails)
        ledger.texts.append(sentence)
        ledger.numbers += numbers
        children: list[Node] = [
            {
                "operator": "var",
                "path": read_path,
                "value": value,
                "result": bool(value),
                "children": [
                    {
                        "operator": "constant",
                        "path": key_path,
                        "value": key,
                        "result": True,
                        "children": [],
                        "skipped": False,
                        "reason": key_reason,
                    }
                ],
                "skipped": False,
                "reason": reason,
            },
            {
                "operator": "constant",
                "path": wanted_path,
                "value": wanted,
                "result": wanted_truth,
                "children": [],
                "skipped": False,
                "reason": wanted_reason,
            },
        ]
        if mirrored:
            children.reverse()
        node: Node = {
            "operator": operator,
            "path": path,
            "value": result,
            "result": result,
            "children": children,
            "skipped": False,
            "reason": sentence,
        }
        return result, node, False

    return explain
