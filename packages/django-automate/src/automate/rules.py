"""JSONLogic rules; see :mod:`automate_core.rules`."""

from automate_core.rules import CompiledRule, compile_rule, evaluate, explain, format_explanation

__all__ = ["CompiledRule", "compile_rule", "evaluate", "explain", "format_explanation"]
