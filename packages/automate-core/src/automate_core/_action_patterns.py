"""Patterns of actions, as the settings of the policy and of secrets have them."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import lru_cache

from automate_core.errors import ConfigurationError

__all__ = ["ensure_pattern", "matches"]

_PATTERN = re.compile(r"[a-z0-9_*?]{1,100}(\.[a-z0-9_*?]{1,100})?")


def ensure_pattern(pattern: str) -> None:
    """Refuse a pattern that no action can have been meant by.

    Args:
        pattern: ``"*"``, ``"slack"``, ``"http.*"``, ``"slack.post_message"``: a connector, or a connector and an
            action, in lower case; ``*`` stands for any characters and ``?`` for one.

    Raises:
        ConfigurationError: If it has another form.
    """
    if not _PATTERN.fullmatch(pattern):
        raise ConfigurationError(
            f"{pattern!r} must be a connector or 'connector.action', in lower case, with * for any characters"
        )


@lru_cache(maxsize=4096)  # every step asks
def matches(pattern: str, action: str) -> bool:
    """Whether a pattern means an action.

    Args:
        pattern: The pattern. Without a dot it means every action of the connectors that it matches.
        action: The full name of the action, ``"connector.action"``.
    """
    return fnmatchcase(action if "." in pattern else action.partition(".")[0], pattern)
