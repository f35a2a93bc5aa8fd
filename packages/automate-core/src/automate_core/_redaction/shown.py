"""What stands in the place of a secret, and what need not be hidden."""

from __future__ import annotations

from automate_core._references import REFERENCE

__all__ = ["REDACTED", "is_shown"]

REDACTED = "[REDACTED]"
"""What stands in the place of a secret."""

_SHOWN = frozenset({"none", "null", "true", "false"})


def is_shown(value: str) -> bool:
    """Whether a value may be shown under the name of a secret: a reference, and what says nothing.

    Args:
        value: The text of the value.
    """
    return value == REDACTED or value.lower() in _SHOWN or REFERENCE.fullmatch(value) is not None
