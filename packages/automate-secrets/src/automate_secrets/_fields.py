"""Secrets that hold several values: one field of them, as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from automate_core.errors import SecretNotFoundError, nearby

__all__ = ["pick"]


def pick(fields: Mapping[str, Any], field: str, path: str) -> str:
    """Return one of the values of a secret.

    Args:
        fields: The values by name.
        field: The name.
        path: The secret, for messages.

    Returns:
        A text as it is; any other value as JSON.

    Raises:
        SecretNotFoundError: If there is no such field; the message names fields, and never a value.
    """
    if fields.get(field) is None:
        raise SecretNotFoundError(
            f"The secret {path!r} has no field {field!r}.{nearby(field, fields)}", context={"path": path}
        )
    value = fields[field]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
