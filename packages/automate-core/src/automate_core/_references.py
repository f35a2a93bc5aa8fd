"""The grammar of secret references, as text alone."""

from __future__ import annotations

import re

__all__ = ["REFERENCE", "SCHEMES", "is_cut_off", "split_references"]

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

_RUN = re.compile(r"\$(?:secret|env|vault|aws):[A-Za-z0-9_./:+=\-#@]*")
"""What a reference within a text can be at most: it goes on for as long as the grammar knows the characters."""

_PROSE = re.compile(r"\$[a-z]+:(?=[\s{]|\Z)")
"""``$secret:`` with nothing after it names nothing."""


def split_references(text: str) -> list[tuple[str, bool]]:
    """Cut a text of a definition at the secret references within it.

    Args:
        text: The text.

    Returns:
        The pieces in order, none of them empty, each with whether it claims to be a reference.
    """
    pieces: list[tuple[str, bool]] = []
    done = 0
    for match in _RUN.finditer(text):
        if not _PROSE.match(text, match.start()):
            pieces += [(text[done : match.start()], False), (match.group(), True)]
            done = match.end()
    return [piece for piece in [*pieces, (text[done:], False)] if piece[0]]


def is_cut_off(text: str) -> bool:
    """Return whether a text ends where a reference could go on.

    Args:
        text: What is written out before a template begins.
    """
    return any(match.end() == len(text) for match in _RUN.finditer(text))
