"""The parts of a rule, prepared for explanation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automate_core.redaction import redact
from automate_core.rules import leaf_parts, sentences
from automate_core.rules.coercion import truthy
from automate_core.rules.comparison_leaves import MIRRORED
from automate_core.rules.compiler import Compiler
from automate_core.rules.form_parts import FORMS, Operation
from automate_core.rules.ledger import Ledger, Look, Part, Scope, Seen, computed, examine_value, look, node_of
from automate_core.rules.limits import escape
from automate_core.rules.operators import Form, Operator

__all__ = ["PartMaker"]

_MAX_SEGMENTS = 40
_TOP = Scope()


class PartMaker:
    """Prepares the parts of one rule.

    Args:
        operators: The operators that exist.
        compiler: Compiles what is not walked: the bodies of array operators for items that are not shown.
        secret_names: The names of secrets that the settings add.
        careful: Whether to redact value by value.
    """

    __slots__ = ("_careful", "_operators", "compiler", "look", "opaque", "pure", "secret_names")

    def __init__(
        self,
        operators: Mapping[str, Operator],
        compiler: Compiler,
        secret_names: tuple[str, ...],
        careful: bool = False,
    ) -> None:
        self._operators = operators
        self.secret_names = secret_names
        self.compiler = compiler
        self._careful = careful
        self.look: Look = examine_value if careful else look
        self.opaque = False
        """Whether the redactor may change a tree for its form alone: its depth, or the name of an operator."""
        self.pure = True
        """Whether evaluation does nothing but compute, with operators of our own."""

    def careful(self) -> PartMaker:
        """Return what prepares the same parts to redact value by value."""
        return PartMaker(self._operators, self.compiler, self.secret_names, careful=True)

    def prepare(self, rule: Any, path: str = "", scope: Scope = _TOP) -> Part:
        """Prepare the explanation of a part.

        Args:
            rule: The part.
            path: Its place in the rule.
            scope: Its place among the array operators.

        Returns:
            What explains it.
        """
        part: Part | None = None
        if self._careful:
            pass
        elif type(rule) is dict:
            for name, given in rule.items():
                if name == "var":
                    part = leaf_parts.variable(rule, path, scope, self.secret_names)
                elif name in MIRRORED and type(given) is list and len(given) == 2 and self._is_classic(name):

                    def otherwise() -> Part:
                        return self._general(rule, path, scope)

                    part = leaf_parts.comparison(name, given, path, scope, self.secret_names, otherwise)
        elif type(rule) is list and rule:
            part = leaf_parts.constants(rule, path)
        else:
            part = leaf_parts.constant(rule, path)
        return part or self._general(rule, path, scope)

    def _is_classic(self, name: str) -> bool:
        return self._operators[name].form is Form.COMPARISON

    def _general(self, rule: Any, path: str, scope: Scope) -> Part:
        if len(path) > 2 * _MAX_SEGMENTS and path.count("/") > _MAX_SEGMENTS:
            self.opaque = True
        if type(rule) is dict and rule:
            ((name, written),) = rule.items()
            listed = type(written) is list
            given = written if listed else [written]
            operator = self._operators[name]
            inside = f"{path}/{escape(name)}"
            if not operator.trusted:
                self.pure = False
                self.opaque = self.opaque or redact([name, f"{inside}/0"]) != [name, f"{inside}/0"]
            return FORMS[operator.form](self, Operation(rule, operator, given, listed, path, inside, scope))
        if type(rule) is list and rule:
            return _list(path, [self.prepare(item, f"{path}/{at}", scope) for at, item in enumerate(rule)], self.look)
        return _constant(rule, path, self.look)

    def operands(self, operation: Operation) -> list[Part]:
        """Prepare the operands that an operation looks at."""
        inside, scope = operation.inside, operation.scope
        if not operation.listed:
            return [self.prepare(operation.given[0], inside, scope)]
        items = enumerate(operation.given[: operation.operator.used])
        return [self.prepare(item, f"{inside}/{at}", scope) for at, item in items]


def _constant(value: Any, path: str, look: Look) -> Part:
    def explain(_context: Any, _hidden: bool, ledger: Ledger) -> Seen:
        clean, redacted = look(ledger, value)
        node = node_of(ledger, "constant", path, clean, truthy(value), [], sentences.constant(clean))
        return value, node, redacted

    return explain


def _list(path: str, parts: list[Part], look: Look) -> Part:
    def explain(context: Any, hidden: bool, ledger: Ledger) -> Seen:
        seen = [part(context, hidden, ledger) for part in parts]
        return computed(ledger, "list", path, [part[0] for part in seen], seen, f"a list of {len(seen)}", look)

    return explain
