"""The grammar of secret references, as text alone."""

from __future__ import annotations

import re

__all__ = ["REFERENCE", "SCHEMES"]

SCHEMES = ("secret", "env", "vault", "aws")
"""What may stand between ``$`` and ``:``."""

REFERENCE = re.compile(
    r"\$(?P<scheme>secret|env|vault|aws):"
    r"(?![^#@]*(?:\.\.|//|/\.(?:[/#@]|$)))"
    r"(?P<path>[A-Za-z0-9_][A-Za-z0-9_./:+=\-]{0,511})"
    r"(?:#(?P<field>[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}))?"
    r"(?:@(?P<version>[A-Za-z0-9_\-]{1,64}))?"
)
"""``$scheme:path``, then ``#field`` and ``@version`` where they are given.

A path cannot step back (``..``), stay (``/.``) or double a slash: it would name what another text names, and so pass
by the policy.
"""
