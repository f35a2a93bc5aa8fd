"""What is wrong with a rule, found without any data: names, types, and conditions that cannot matter.

A finding is true, or it is not made. What is called always true or always false is so for all data that fits the
schema, with the coercions of JSONLogic: a missing field counts as 0, and ``"5" == 5``.
"""

from automate_core.rules.lint.findings import Finding, Severity
from automate_core.rules.lint.linting import lint
from automate_core.rules.lint.ruleset import RuleSet

__all__ = ["Finding", "RuleSet", "Severity", "lint"]
