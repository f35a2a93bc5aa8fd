"""What an explanation writes down, node by node, and whether any of it has to be redacted.

Redaction is decided at the end, in one look at everything that was written (:class:`Ledger`). Until then values are
taken for what they nearly always are: no secrets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from automate_core.redaction import is_secret_key, redact, redact_text
from automate_core.rules.coercion import truthy
from automate_core.rules.display import MAX_ITEMS, MAX_TEXT, REDACTED, examine
from automate_core.rules.failures import ScopedBudget
from automate_core.rules.limits import MAX_PRODUCED, MAX_VISITS, Budget

__all__ = [
    "Ledger",
    "Look",
    "Node",
    "Part",
    "Scope",
    "Seen",
    "computed",
    "examine_value",
    "hide",
    "is_redacted",
    "look",
    "names_secret",
    "node_of",
    "note",
    "skipped",
]

Node = dict[str, Any]

Seen = tuple[Any, Node, bool]
"""What a part of the rule gave: its value, its node, and whether the value is redacted."""

_SEPARATOR = "\0"

_LARGE = 10**18
_HIDDEN_REASON = "the value is redacted"


class Scope(NamedTuple):
    """Where a part stands among the array operators.

    Args:
        path: Where the items were found that variables read.
        nesting: The array operators around it.
    """

    path: tuple[str, ...] = ()
    nesting: int = 0


class Ledger:
    """What one explanation has written.

    The redactor leaves a text as it is only if it leaves each of its pieces as it is, provided that none of the pieces
    can take the beginning of the next one for its own end: that is what the separator is for. So one look at all texts
    tells that none of them has to be redacted; where it tells otherwise, the explanation is made again, value by value.

    Places in the rule and names of operators are not written down: they hold nothing that anybody chose.
    """

    __slots__ = ("_budget", "_examined", "numbers", "scopes", "texts", "unsettled")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.numbers: list[int] = []
        self._budget: Budget | None = None
        self._examined: dict[tuple[int, tuple[str, ...]], tuple[Any, tuple[Any, bool, bool]]] = {}
        self.scopes: list[Any] = []
        """The scopes around the current one, the outermost first."""
        self.unsettled = False
        """Whether there is a value that the redactor may change again where it stands in the tree."""

    def budget(self, where: str) -> Budget:
        """Return the budget of the explanation, in the same scopes.

        Args:
            where: The place of the operator that is going to spend.
        """
        budget = self._budget
        if budget is None:
            # What an array operator goes through is evaluated, and what it goes through that for may be again.
            budget = self._budget = ScopedBudget(self.scopes, 2 * MAX_VISITS, 2 * MAX_PRODUCED)
        budget.where = where
        return budget

    def examined(self, value: Any, path: tuple[str, ...]) -> tuple[Any, bool, bool]:
        """Return what :func:`~automate_core.rules.display.examine` says, once for a value that is read many times."""
        found = self._examined.get((id(value), path))
        if found is None:
            found = self._examined[id(value), path] = value, examine(value, path)
        return found[1]

    def is_clean(self) -> bool:
        """Tell whether nothing that was written has to be redacted."""
        text = _SEPARATOR.join(self.texts)
        if redact_text(text) != text:
            return False
        return not self.numbers or bool(redact(self.numbers) == self.numbers)


Part = Callable[[Any, bool, Ledger], Seen]
"""Explains one part of a rule; takes what variables read, whether all of that is redacted, and the ledger."""

Look = Callable[..., tuple[Any, bool]]
"""Takes the ledger, a value, and the keys under which it was found if one of them may name a secret. Gives what to show
of the value, and whether it was redacted."""


def names_secret(path: tuple[str, ...], secret_names: tuple[str, ...]) -> bool:
    """Tell whether one of the keys of a path names a secret.

    Args:
        path: The keys.
        secret_names: The names of secrets that the settings add.
    """
    for part in path:  # noqa: SIM110 - a generator costs more than the question
        if is_secret_key(part, secret_names):
            return True
    return False


def note(value: Any, texts: list[str], numbers: list[int]) -> bool:
    """Write a scalar down that is shown as it is, unless it is a secret.

    Args:
        value: Any value.
        texts: Where to write a text.
        numbers: Where to write a number.

    Returns:
        Whether it is such a scalar.
    """
    kind = type(value)
    if kind is str:
        if len(value) > MAX_TEXT:
            return False
        texts.append(value)
    elif kind is int:
        if not -_LARGE < value < _LARGE:
            return False
        numbers.append(value)
    else:
        return value is None or kind is bool or (kind is float and value - value == 0)
    return True


def look(ledger: Ledger, value: Any, path: tuple[str, ...] = ()) -> tuple[Any, bool]:
    """Tell what to show of a value that is probably no secret."""
    if not path:
        texts, numbers = ledger.texts, ledger.numbers
        if note(value, texts, numbers):
            return value, False
        is_list = type(value) is list and len(value) <= MAX_ITEMS
        if is_list and False not in [note(item, texts, numbers) for item in value]:
            return value.copy(), False
    return examine_value(ledger, value, path)


def examine_value(ledger: Ledger, value: Any, path: tuple[str, ...] = ()) -> tuple[Any, bool]:
    """Tell what to show of a value, whatever it is."""
    clean, hidden, settled = ledger.examined(value, path)
    if type(clean) is str:
        ledger.texts.append(clean)
    elif not settled:
        ledger.unsettled = True
    return clean, hidden


def node_of(
    ledger: Ledger, operator: str, path: str, value: Any, truth: bool | None, children: list[Node], reason: str
) -> Node:
    """Make a node, and write its sentence down; one without a truth was not reached."""
    ledger.texts.append(reason)
    return {
        "operator": operator,
        "path": path,
        "value": value,
        "result": truth,
        "children": children,
        "skipped": truth is None,
        "reason": reason,
    }


def skipped(ledger: Ledger, rule: Any, path: str) -> Node:
    """Make the node of what was not reached."""
    name = next(iter(rule)) if type(rule) is dict and rule else ("list" if type(rule) is list else "constant")
    return node_of(ledger, name, path, None, None, [], "not reached")


def computed(ledger: Ledger, name: str, path: str, value: Any, seen: list[Seen], reason: str, look: Look) -> Seen:
    """Make the node of a value that was computed from its operands."""
    clean: Any
    if isinstance(value, bool):
        clean, hidden = value, False
    elif is_redacted(seen):
        clean, hidden = REDACTED, True
        ledger.texts.append(REDACTED)
    else:
        clean, hidden = look(ledger, value)
    return value, node_of(ledger, name, path, clean, truthy(value), [part[1] for part in seen], reason), hidden


def is_redacted(seen: list[Seen]) -> bool:
    """Tell whether one of some values is redacted."""
    return True in [part[2] for part in seen]


def hide(ledger: Ledger, node: Node) -> None:
    """Hide in a node, and in those below, what tells about its value."""
    if not node["skipped"]:
        node["reason"] = _HIDDEN_REASON
        ledger.texts += (_HIDDEN_REASON, REDACTED)
        if not isinstance(node["value"], bool):
            node["value"] = REDACTED
        for child in node["children"]:
            hide(ledger, child)
