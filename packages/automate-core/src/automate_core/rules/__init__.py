"""JSONLogic: rules that are data, compiled to closures, explained in sentences.

The semantics are those of json-logic-js 2.0.5 over its 35 operators, value for value. Nothing in a rule is ever
evaluated as code: there are no attributes, no method calls, and no operator that is not on the list.
"""

from automate_core.rules.engine import CompiledRule, Engine, compile_rule, evaluate, explain
from automate_core.rules.engines import engine_for
from automate_core.rules.formatting import format_explanation
from automate_core.rules.index import RuleIndex
from automate_core.rules.lint import Finding, Severity, lint
from automate_core.rules.operators import Operator, custom_operator

__all__ = [
    "CompiledRule",
    "Engine",
    "Finding",
    "Operator",
    "RuleIndex",
    "Severity",
    "compile_rule",
    "custom_operator",
    "engine_for",
    "evaluate",
    "explain",
    "format_explanation",
    "lint",
]
