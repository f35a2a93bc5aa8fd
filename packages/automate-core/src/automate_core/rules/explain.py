"""Why a rule matches or does not: a walk over the rule with the exact functions, apart from the compiled closures.

The walk is prepared once for each rule (:mod:`~automate_core.rules.parts`): places, constants and the fixed parts of
sentences. Values are redacted before they enter the tree. What is computed from, or compared with, a redacted value is
redacted too: a comparison that holds would give the value away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automate_core._redaction.keys import extra_keys
from automate_core.payload import MAX_DEPTH
from automate_core.redaction import is_secret_key, redact
from automate_core.rules.coercion import verdict
from automate_core.rules.compiler import Compiler
from automate_core.rules.ledger import Ledger, Node, Part
from automate_core.rules.operators import Operator
from automate_core.rules.parts import PartMaker
from automate_core.rules.pruning import prune

__all__ = ["Explainer", "Node", "Prepared"]

_FIELDS = ("operator", "path", "value", "result", "children", "skipped", "reason", "item", "omitted")


class Explainer:
    """Prepares explanations of checked rules. It keeps no state, so one serves every thread.

    Args:
        operators: The operators that exist.
        compiler: Compiles what is not walked: the bodies of array operators for items that are not shown.
    """

    __slots__ = ("_compiler", "_operators")

    def __init__(self, operators: Mapping[str, Operator], compiler: Compiler) -> None:
        self._operators = operators
        self._compiler = compiler

    def prepare(self, rule: Any) -> Prepared:
        """Prepare the explanation of a rule.

        Args:
            rule: A checked rule, made of plain types.

        Returns:
            What explains it.
        """
        return Prepared(rule, PartMaker(self._operators, self._compiler, extra_keys()))


class Prepared:
    """Explains one rule, any number of times, by any number of threads.

    Args:
        rule: A checked rule, made of plain types.
        maker: Prepares the parts of the rule.
    """

    __slots__ = ("_careful_part", "_maker", "_part", "_rule", "_transparent")

    def __init__(self, rule: Any, maker: PartMaker) -> None:
        self._rule = rule
        self._maker = maker
        self._part = maker.prepare(rule)
        self._careful_part: Part | None = None
        names = maker.secret_names
        self._transparent = not maker.opaque and not (names and any(is_secret_key(name, names) for name in _FIELDS))

    @property
    def is_pure(self) -> bool:
        """Whether evaluating the rule does nothing but compute, with operators of our own."""
        return self._maker.pure

    @property
    def is_current(self) -> bool:
        """Whether the names of secrets are still those for which it was prepared."""
        return self._maker.secret_names == extra_keys()

    def explain(self, context: Any) -> Node:
        """Explain the rule.

        Args:
            context: The data.

        Returns:
            The tree, redacted.
        """
        ledger = Ledger()
        tree = _walk(self._part, context, ledger)
        if not ledger.is_clean():
            return self.explain_carefully(context)
        return tree if self._transparent and not ledger.unsettled else _redacted(tree)

    def explain_carefully(self, context: Any) -> Node:
        """Explain the rule, and look at every value by itself: there are secrets, or what looks like them.

        Args:
            context: The data.

        Returns:
            The tree that :meth:`explain` gives.
        """
        if self._careful_part is None:
            self._careful_part = self._maker.careful().prepare(self._rule)
        return _redacted(_walk(self._careful_part, context, Ledger()))


def _walk(part: Part, context: Any, ledger: Ledger) -> Node:
    value, tree, _ = part(context, False, ledger)
    tree["result"] = verdict(value)
    return tree


def _redacted(tree: Node) -> Node:
    # What the redactor finds deeper, it replaces whatever it is: the tree would be none.
    clean: Node = redact(prune(tree, MAX_DEPTH))
    return clean
