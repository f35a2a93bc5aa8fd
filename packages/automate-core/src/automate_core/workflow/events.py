"""Event types and the patterns that triggers name them by."""

from __future__ import annotations

import re

__all__ = ["is_event_pattern", "is_event_type", "matches", "patterns_for"]

_TYPE = re.compile(r"[A-Za-z0-9_:/-]+(\.[A-Za-z0-9_:/-]+)*")


def is_event_type(text: str) -> bool:
    """Return whether a text has the form of an event type: parts of letters, digits and ``_ : / -``, joined by dots.

    Args:
        text: The text, such as ``"order.paid"``.
    """
    return _TYPE.fullmatch(text) is not None


def is_event_pattern(text: str) -> bool:
    """Return whether a text is an event type, an event type and ``.*``, or ``*`` alone.

    Args:
        text: The text, such as ``"order.*"``.
    """
    return text == "*" or is_event_type(text.removesuffix(".*"))


def matches(pattern: str, event_type: str) -> bool:
    """Return whether an event of this type is meant by a pattern.

    Args:
        pattern: An event type, which means itself; ``"order.*"``, which means everything beneath ``order``, at any
            depth, but not ``order`` itself; or ``"*"``, which means everything.
        event_type: The type of an event.
    """
    if pattern.endswith(".*"):
        return event_type.startswith(pattern[:-1]) and len(event_type) > len(pattern) - 1
    return pattern in {"*", event_type}


def patterns_for(event_type: str) -> list[str]:
    """Return every pattern that means events of a type, for looking triggers up in an index.

    Args:
        event_type: The type of an event.
    """
    parts = event_type.split(".")
    prefixes = [".".join(parts[:length]) for length in range(1, len(parts))]
    return [event_type, *(f"{prefix}.*" for prefix in prefixes), "*"]
