"""The texts as which a value may appear: escaped, encoded, or in base64 with other text around it."""

from __future__ import annotations

import base64
import html
import json
import re
import uuid
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

__all__ = ["MIN_LENGTH", "base64_cores", "encodings", "forms_of"]

MIN_LENGTH = 6
"""Shorter values are not searched for: they would be found in ordinary words and numbers."""

_HEX_ESCAPE = re.compile(r"%[0-9A-F]{2}|\\u[0-9a-f]{4}|\\x[0-9a-f]{2}")

_JSON_ESCAPED = ("&<>", "&<>'", "&<>'=", "&<>'\"", "&<>'\"+`", "\\&<>'\"=-;`")
"""Which characters encoders write as ``\\u0026`` although JSON need not: Go and Django, Jinja, Gson, PHP, .NET, and
Django for scripts."""

_APOSTROPHES, _QUOTES = ("&#x27;", "&#39;", "&#039;", "&apos;"), ("&quot;", "&#34;")
"""What HTML and XML have for them."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(-?)(?:[0-9a-fA-F]{4}\1){3}[0-9a-fA-F]{12}")

_URL_SAFE = ("", "/", "!'()*~", "!$&'()*+,;=:@/~", "*-._")
"""What encoders leave as it is: everything quoted, paths, ``encodeURIComponent``, URL sub-delimiters, HTML forms."""


def encodings(value: str) -> set[str]:
    """Return the texts as which a value may appear, without those that base64 makes of it.

    Args:
        value: The value.

    Returns:
        Raw, JSON, Python ``repr``, URL, HTML, shell and hex forms, of UTF-8 and of Latin-1, all without backslashes.
    """
    return {form for form in forms_of(value) if len(form) >= MIN_LENGTH}


def forms_of(value: str) -> set[str]:
    """Return the same texts as :func:`encodings`, with those that are too short to be searched for.

    Args:
        value: The value, or a piece of one.
    """
    marked = html.escape(value, quote=False)
    texts = {value, value.strip(), marked}
    texts.update(marked.replace("'", one).replace('"', two) for one in _APOSTROPHES for two in _QUOTES)
    texts.update(_uuids(value.strip()))
    texts.add(value.replace("'", "'\"'\"'"))  # as the shell has it between quotes
    found = {escaped for text in texts for escaped in _escaped(text)}
    for raw in _in_bytes(value):
        found.update({raw.hex(), raw.hex().upper(), "".join(f"%{byte:02X}" for byte in raw)})
        found.update(quote(raw, safe=safe) for safe in _URL_SAFE)
        found.update({quote_plus(raw), quote_plus(raw, safe="*")})
    found.update([_HEX_ESCAPE.sub(_swap_case, form) for form in found if "%" in form or "\\" in form])
    found.update([form.replace("%", "%25") for form in found if "%" in form])  # encoded twice
    return {form.replace("\\", "") for form in found}


def _uuids(value: str) -> Iterator[str]:
    """Yield the forms of a UUID: with and without hyphens, in lower and upper case."""
    if _UUID.fullmatch(value):
        for form in (str(uuid.UUID(value)), value.replace("-", "")):
            yield from (form.lower(), form.upper())


def _escaped(text: str) -> Iterator[str]:
    yield text
    yield repr(text)[1:-1]
    yield from _in_json(text)
    for raw in _in_bytes(text):
        yield raw.decode("utf-8", "surrogateescape")
        yield repr(raw)[2:-1]


def _in_json(value: str) -> set[str]:
    dumped = [json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)]
    found = set(dumped)
    for characters in _JSON_ESCAPED:
        if not set(characters).isdisjoint(value):
            found.update(_escape(form, characters, code) for form in dumped for code in ("\\u%04x", "\\u%04X"))
    return found


def _escape(form: str, characters: str, code: str) -> str:
    """Write characters of a JSON text by their numbers."""
    for character in characters:
        form = form.replace(json.dumps(character)[1:-1], code % ord(character))
    return form


def _in_bytes(value: str) -> Iterator[bytes]:
    """Yield a value in UTF-8, and in Latin-1 where that is something else: credentials in headers are sent so."""
    yield value.encode("utf-8", "surrogatepass")
    if not value.isascii():
        try:
            yield value.encode("latin-1")
        except UnicodeEncodeError:
            return


def _swap_case(match: re.Match[str]) -> str:
    text = match.group()
    if text[0] == "%":
        return text.lower()
    return text[:2] + text[2:].upper()


def base64_cores(value: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield what every base64 text that holds the value has in common, for each of the three alignments.

    With it: whether the character before, and the one after, hold some bits of the value too. What was encoded may be
    JSON with the value in it.

    Args:
        value: The value.
    """
    for raw in {*_in_bytes(value), *(form.encode("utf-8", "surrogatepass") for form in _in_json(value))}:
        for offset in range(3):
            encoded = base64.b64encode(b"\0" * offset + raw).decode()
            bits = (offset + len(raw)) * 8
            core = encoded[(offset * 8 + 5) // 6 : bits // 6]
            if len(core) >= MIN_LENGTH:
                for form in _base64_forms(core):
                    yield form, offset > 0, bits % 6 > 0


def _base64_forms(core: str) -> set[str]:
    """Return a base64 text, its URL-safe form, and what URL encoding makes of it."""
    others = (("-", "_"), ("%2B", "%2F"), ("%2b", "%2f"))
    return {core, *(core.replace("+", plus).replace("/", slash) for plus, slash in others)}
