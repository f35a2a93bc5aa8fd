"""What of a secret may appear without the rest of it: a line, the password of a URL, a field of a JSON document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from automate_core._redaction.keys import is_secret_key

__all__ = ["ending", "opening", "parts"]

_MOST_LEVELS = 20
_NORMAL_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
_ARMOUR = "-----"
"""Lines of PEM that begin so tell what follows, and are the same in every key."""

_OPENING = re.compile(r'\s*(?:-----BEGIN [^-]*-----\s*|[A-Za-z][A-Za-z0-9+.\-]*://|[\[{][\s\[{]*(?:"[^"]*"\s*:\s*"?)?)')
_ENDING = re.compile(r'(?:-----END [^-]{0,80}-----|["}\]][\s"}\]]{0,80})\s{0,80}\Z')


def opening(value: str) -> str:
    """Return with what a secret begins that tells nothing: the scheme of a URL, a first key of JSON, armour of PEM.

    Args:
        value: The secret.
    """
    found = _OPENING.match(value)
    return found.group() if found else ""


def ending(value: str) -> str:
    """Return with what a secret ends that tells nothing: brackets of JSON, armour of PEM.

    Args:
        value: The secret.
    """
    found = _ENDING.search(value[-200:]) if _document(value) is not None or _ARMOUR in value else None
    return found.group() if found else ""


def parts(value: str) -> set[str]:
    """Return a secret, and what of it is a secret on its own.

    Args:
        value: The secret. Of a URL that is the password, of a JSON document what has the name of a secret, and of
            another text of several lines each line: whoever indents or quotes such a text separates them. Each in
            both normal forms of Unicode, for some systems change the one into the other.
    """
    found = {value}
    document = _document(value)
    if document is not None:
        for text in _named_secret(document, _MOST_LEVELS):
            found |= {text, *_lines(text)}
    else:
        found.update(_lines(value))
    found.update(_passwords(value))
    found.update([normalize(form, part) for part in found if not part.isascii() for form in _NORMAL_FORMS])
    return found


def _document(value: str) -> Any:
    if not value.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _named_secret(data: Any, levels: int, *, named: bool = False) -> Iterator[str]:
    if isinstance(data, str):
        if named:
            yield data
    elif isinstance(data, dict) and levels:
        for name, item in data.items():
            yield from _named_secret(item, levels - 1, named=named or is_secret_key(name))
    elif isinstance(data, list) and levels:
        for item in data:
            yield from _named_secret(item, levels - 1, named=named)


def _lines(value: str) -> Iterator[str]:
    lines = value.strip().splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if not line.lstrip().startswith(_ARMOUR))


def _passwords(value: str) -> Iterator[str]:
    if "://" not in value:
        return
    try:
        password = urlsplit(value.strip()).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
