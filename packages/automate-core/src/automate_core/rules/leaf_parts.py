"""The parts that make up most of every rule, explained: a constant, a variable, a comparison of the two.

Each is one closure that knows its texts but for the value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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


def _node(operator: str, path: str, value: Any, truth: bool, children: list[Node], reason: str) -> Node:
    """Make a node whose sentence has been written down."""
    return {
        "operator": operator,
        "path": path,
        "value": value,
        "result": truth,
        "children": children,
        "skipped": False,
        "reason": reason,
    }


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
        return value, _node("constant", path, value, truth, [], reason), False

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
        children = [_node("constant", place, value, truth, [], why) for place, value, truth, why in items]
        return values.copy(), _node("list", path, values.copy(), True, children, reason), False

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
    written, written_path = _written(rule, path)
    fixed = None if rule["var"] == [] else _fixed(written)
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
        children = [_node("constant", written_path, written, written_truth, [], written_reason)]
        return found, _node("var", path, clean, truthy(found), children, reason), redacted

    return explain


def _written(rule: Any, path: str) -> tuple[Any, str]:
    """Return the path of a variable as it is written, and where."""
    written = rule["var"]
    if type(written) is not list:
        return written, f"{path}/var"
    return (written[0] if written else None), f"{path}/var/0"


class _Comparison(NamedTuple):
    """A variable and a constant that are compared, and all that can be said before the value is known."""

    parts: tuple[str, ...]
    key: Any
    key_path: str
    read_path: str
    wanted: Any
    wanted_path: str
    numbers: list[int]
    meaning: str
    mirrored: bool


def _read_comparison(operator: str, given: list[Any], path: str) -> _Comparison | None:
    """Take a comparison apart; None where it is any other, or shows its texts in another form than they have."""
    read, wanted = given
    read_path, wanted_path = f"{path}/{operator}/0", f"{path}/{operator}/1"
    mirrored, meaning = type(read) is not dict, operator
    if mirrored:
        wanted, read = given
        read_path, wanted_path = wanted_path, read_path
        meaning = MIRRORED[operator]
    parts = constant_path(read)
    if not parts:
        return None
    key, key_path = _written(read, read_path)
    numbers: list[int] = []
    quote = sentences.quote
    is_shown = quote(wanted)[1:-1] == wanted if type(wanted) is str else note(wanted, [], numbers)
    if not is_shown or quote(key)[1:-1] != key:
        return None
    return _Comparison(parts, key, key_path, read_path, wanted, wanted_path, numbers, meaning, mirrored)


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
    compared = _read_comparison(operator, given, path)
    if compared is None or names_secret(scope.path + compared.parts, secret_names):
        return None
    parts, key, key_path, read_path, wanted, wanted_path, numbers, meaning, mirrored = compared
    quote = sentences.quote
    wanted_reason, key_reason = sentences.constant(wanted), sentences.constant(key)
    compare = exact_comparison(meaning, wanted)
    holds, fails = sentences.requirement(meaning, quote(wanted))
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
        children = [
            _node(
                "var", read_path, value, bool(value), [_node("constant", key_path, key, True, [], key_reason)], reason
            ),
            _node("constant", wanted_path, wanted, wanted_truth, [], wanted_reason),
        ]
        if mirrored:
            children.reverse()
        return result, _node(operator, path, result, result, children, sentence), False

    return explain
