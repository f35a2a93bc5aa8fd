"""Whether a JSON value can be stored in the project's database."""

from __future__ import annotations

from functools import cache
from typing import Any

from automate_core.payload import MAX_DEPTH, MAX_DEPTH_MARIADB, check_payload
from django.db import connection

__all__ = ["ensure_storable", "max_depth"]


def ensure_storable(value: Any, *, max_bytes: int, what: str = "payload", require_object: bool = True) -> bytes:
    """Refuse a value that the database would refuse, before anything is written.

    Args:
        value: The value.
        max_bytes: Largest size, as JSON.
        what: What it is, for the message.
        require_object: Whether it must be a JSON object.

    Returns:
        The canonical text, as :func:`automate.artifacts.stored` takes it.

    Raises:
        InvalidPayloadError: If it cannot be stored; ``context["pointer"]`` says where.
    """
    return check_payload(value, max_bytes=max_bytes, what=what, require_object=require_object, max_depth=max_depth())


@cache
def max_depth() -> int:
    """Return how many levels of nesting a JSON column of the project's database takes."""
    # MariaDB counts containers alone, so one that is empty is a level deeper than a scalar in its place.
    return MAX_DEPTH_MARIADB - 1 if connection.vendor == "mysql" else MAX_DEPTH
