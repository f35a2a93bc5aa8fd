"""The fingerprint of an error: what two failures of one cause have in common."""

from __future__ import annotations

import hashlib
import re

__all__ = ["FINGERPRINT_LENGTH", "error_fingerprint"]

FINGERPRINT_LENGTH = 16
"""Hexadecimal digits of a fingerprint."""

_VARIABLE = re.compile(
    r"""(?P<quoted>(?<!\w)'[^'\n]*'(?!\w)|"[^"\n]*"|`[^`\n]*`)
      | (?P<uuid>\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b)
      | (?P<hex>\b0x[0-9a-f]+\b|\b[0-9a-f]{8,}\b)
      | (?P<number>\d+(?:[.,:]\d+)*)""",
    re.IGNORECASE | re.VERBOSE,
)


def error_fingerprint(error: str) -> str:
    """Return a short key under which errors of one cause gather.

    Numbers, hexadecimal strings, UUIDs and quoted values are folded, and so is white space: they tell one occurrence
    from the next, not one cause from another.

    Args:
        error: The text, already redacted.

    Returns:
        16 hexadecimal digits.
    """
    folded = " ".join(_VARIABLE.sub(lambda found: f"<{found.lastgroup}>", error).split())
    return hashlib.blake2b(folded.encode("utf-8", "replace"), digest_size=FINGERPRINT_LENGTH // 2).hexdigest()
