"""``regex``: whether a text matches a regular expression, in time that grows with the text alone (RE2).

RE2 has no backtracking, so no pattern and no text make it slow; that is also why it has no lookaround and no
backreferences.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from automate_core.errors import ConfigurationError
from automate_core.rules.extensions.text import text_of
from automate_core.rules.limits import Budget
from automate_core.rules.operators import Form, OperandError, Operator

try:
    import re2
except ImportError as error:
    raise ConfigurationError("The extension 'regex' of rules needs RE2: pip install 'automate-core[regex]'") from error

__all__ = ["MAX_PATTERN", "OPERATORS"]

MAX_PATTERN = 1_000
"""Characters of a pattern."""

_MAX_MEMORY = 1 << 20
_MAX_PROGRAM = 5_000
_STEPS_PER_VISIT = 1_000


def _matches(given: list[Any]) -> Callable[..., Any]:
    pattern = given[1]
    if type(pattern) is not str:
        raise OperandError(1, "a pattern is a text that is written in the rule")
    if len(pattern) > MAX_PATTERN:
        raise OperandError(1, f"a pattern has {MAX_PATTERN:,} characters at most")
    search, weight = _compiled(pattern)

    def function(budget: Budget | None, value: Any, _pattern: Any) -> bool:
        text = text_of(value)
        if text is None:
            return False
        if budget is not None:
            budget.convert()
            budget.visit(len(text) * weight // _STEPS_PER_VISIT)
        return search(text.encode("utf-8", "replace")) is not None

    return function


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> tuple[Callable[[bytes], Any], int]:
    """Compile a pattern; give what searches, and the steps that a character costs it at the most."""
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        detail = error.args[0] if isinstance(error, re2.error) else "it is not Unicode"
        raise OperandError(1, detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)) from None
    if compiled.programsize > _MAX_PROGRAM:
        raise OperandError(1, "the pattern is too large: use smaller repetitions")
    return compiled.search, compiled.programsize


OPERATORS = (
    Operator(
        "matches",
        2,
        2,
        None,
        Form.TEST,
        boolean=True,
        budgeted=True,
        trusted=True,
        fix=_matches,
        says=("matches {1}", "match {1}"),
    ),
)
"""What the group adds."""
