"""What of a value may be shown: redacted, cut to a size that people read, and always JSON.

The redactor works on keys and on known secret values. A value that was read on its own has lost its keys, so it is
redacted under the one that names a secret.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from automate_core.redaction import REDACTED, is_secret_key, redact
from automate_core.rules.coercion import json_number, plain

__all__ = ["MAX_ITEMS", "MAX_LEVELS", "MAX_TEXT", "REDACTED", "examine", "log_value", "shown", "snapshot"]

_MAX_NESTING = 5

MAX_LEVELS = _MAX_NESTING + 1
"""Levels of nesting of a value as it is shown, a scalar counting as one."""

MAX_ITEMS = 20
"""Items of a list that are shown."""

MAX_TEXT = 500
"""Characters of a text that are shown."""

_logger = logging.getLogger("automate.rules")


def snapshot(value: Any, depth: int = _MAX_NESTING) -> Any:
    """Copy a value as JSON, as far as people read it.

    Args:
        value: Any value, cyclic ones included.
        depth: Levels to go down.

    Returns:
        A JSON value; NaN and the infinities are null, an ellipsis stands for what was left out.
    """
    value = plain(value)
    kind = type(value)
    if kind is int or kind is float:
        return json_number(value)
    if value is None or kind is bool or kind is str:
        return value
    if isinstance(value, list):
        return [snapshot(item, depth - 1) for item in value[:MAX_ITEMS]] + _rest(value) if depth else "…"
    if isinstance(value, dict):
        if not depth:
            return "…"
        items = list(value.items())
        copy = {str(key): snapshot(item, depth - 1) for key, item in items[:MAX_ITEMS] if isinstance(key, str)}
        return copy | {"…": len(items) - MAX_ITEMS} if len(items) > MAX_ITEMS else copy
    return f"<{kind.__name__}>"


def _rest(items: list[Any]) -> list[Any]:
    return ["…"] if len(items) > MAX_ITEMS else []


def examine(value: Any, path: tuple[str, ...] = ()) -> tuple[Any, bool, bool]:
    """Redact a value for people.

    Args:
        value: Any value.
        path: The keys under which it was found.

    Returns:
        The JSON value to show, whether anything in it was redacted, and whether it is what the redactor itself would
        leave as it is: not under a secret key, not changed, not cut.
    """
    if value is None or type(value) is bool:
        return value, False, True
    copy = snapshot(value)
    secret = next((part for part in path if is_secret_key(part)), None)
    clean = redact(copy) if secret is None else redact({secret: copy}).get(secret, REDACTED)
    cut = _cut(clean)
    return cut, clean != copy, secret is None and cut == copy


def shown(value: Any, path: tuple[str, ...] = ()) -> tuple[Any, bool]:
    """Redact a value for people; the first two results of :func:`examine`, whose arguments it takes."""
    clean, hidden, _ = examine(value, path)
    return clean, hidden


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + "…"
    if isinstance(value, list):
        return [_cut(item) for item in value]
    return {key: _cut(item) for key, item in value.items()} if isinstance(value, dict) else value


def log_value(value: Any, path: tuple[str, ...] = ()) -> None:
    """Write what the ``log`` operator was given to the debug log.

    Args:
        value: Any value.
        path: The keys under which it was found.
    """
    if _logger.isEnabledFor(logging.DEBUG):
        clean, _ = shown(value, path)
        _logger.debug("log: %s", json.dumps(clean))
