"""JSONLogic rules as the settings want them: ``RULES`` says which dialect and which extensions.

See :mod:`automate_core.rules`, whose functions always take the classic dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automate_core import rules as core
from automate_core.rules import CompiledRule, Engine, Finding, engine_for, format_explanation

__all__ = [
    "CompiledRule",
    "Finding",
    "compile_rule",
    "current_engine",
    "evaluate",
    "explain",
    "format_explanation",
    "lint",
]


def current_engine() -> Engine:
    """Return the engine of the settings, which compiles the rules of triggers and conditions.

    Raises:
        ConfigurationError: If an extension needs what is not installed.
    """
    from automate_core import settings

    rules = settings.current().rules
    return engine_for(rules.dialect, rules.extensions)


def evaluate(rule_spec: Any, context: Any) -> bool:
    """Tell whether a context matches a rule; see :func:`automate_core.rules.evaluate`.

    Args:
        rule_spec: The rule, JSONLogic as JSON data.
        context: The data that its variables read, mostly a dict.

    Returns:
        Whether the value of the rule is truthy in the sense of JSONLogic.

    Raises:
        RuleError: If the rule is wrong, or does too much work.
    """
    return current_engine().evaluate(rule_spec, context)


def compile_rule(rule_spec: Any) -> CompiledRule:
    """Compile a rule once, to evaluate it many times; see :func:`automate_core.rules.compile_rule`.

    Args:
        rule_spec: The rule, JSONLogic as JSON data. It is copied: changing it later changes nothing.

    Returns:
        The compiled rule.

    Raises:
        RuleError: If the rule is wrong; ``context["pointer"]`` is a JSON pointer to the place.
    """
    return current_engine().compile_rule(rule_spec)


def explain(rule_spec: Any, context: Any) -> dict[str, Any]:
    """Tell why a context matches a rule or does not; see :func:`automate_core.rules.explain`.

    Args:
        rule_spec: The rule, JSONLogic as JSON data.
        context: The data that its variables read.

    Returns:
        The tree, redacted.

    Raises:
        RuleError: As :func:`evaluate`.
    """
    return current_engine().explain(rule_spec, context)


def lint(rule_spec: Any, schema: Any = None, others: Mapping[str, Any] | None = None) -> list[Finding]:
    """Find what is wrong with a rule, without any data; see :func:`automate_core.rules.lint`.

    Args:
        rule_spec: The rule, JSONLogic as JSON data.
        schema: JSON Schema of the data; None where nothing is known.
        others: Other rules over the same data, by name.

    Returns:
        The findings, in the order of the rule; those about other rules at the end.

    Raises:
        RuleError: If the rule is not well formed.
        ConfigurationError: If the schema is malformed or uses what is not understood.
    """
    return core.lint(rule_spec, schema, others, engine=current_engine())
