"""JSONLogic rules; see :mod:`automate_core.rules`."""

from automate_core.rules import CompiledRule, Finding, compile_rule, evaluate, explain, format_explanation, lint

__all__ = ["CompiledRule", "Finding", "compile_rule", "evaluate", "explain", "format_explanation", "lint"]
