"""Values that have the name of a secret within a text: ``password=…``, ``"api_key": "…"``, ``<password>…``."""

from __future__ import annotations

import re

from automate_core._redaction.brackets import Brackets, closing_quote
from automate_core._redaction.keys import extra_keys, is_secret_key
from automate_core._redaction.shown import REDACTED, is_shown

__all__ = ["redact_elements", "redact_named"]

# Every pattern is safe against hostile text: what may repeat is bounded, or excludes what must follow it.

_AFTER_NAME = r"(?:\\{0,7}[\"'])?\s{0,8}(=>|==?|:)\s{0,8}(?=[^\s=])"
_NAME = re.compile(rf"(?<![A-Za-z0-9_$])([A-Za-z_][A-Za-z0-9_.\-]{{0,79}}+){_AFTER_NAME}")
_ANY_NAME = re.compile(rf"(?<![\w$])([^\W\d][\w.\-]{{0,79}}+){_AFTER_NAME}")
"""For names in other letters, where the settings have some; text in other letters may stand right before a name."""

_ELEMENT = re.compile(r"<([^\W\d][\w.:\-]{0,79})(?:\s[^<>]{0,500})?>")
_CONTENT = re.compile(r"[^<>]*")
_CDATA, _CDATA_END = "<![CDATA[", "]]>"
_QUOTE = re.compile(r"[bBrRuUfF]{0,2}(\\{0,7}[\"'])")
_BARE = re.compile(r"[^\s&;,\"'<>(){}\[\]\\]+")
_LINE = re.compile(r"(?:[^\r\n\"'\\=]|=(?:[\"'][^\"'\r\n]*[\"'])?|\\(?![rn\"']))*")
_NAMED_LINE = re.compile(r"\r?\n([ \t]*+)[^\W\d][\w.\-]{0,79}+[ \t]{0,8}(?::(?=\s)|==?>?(?=[^\s=>]))")
_INDENT = re.compile(r"[ \t]*")
_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})


def redact_named(text: str, extra: tuple[str, ...] | None) -> str:
    """Replace the values of ``password=…``, ``"api_key": "…"``, ``Authorization: …`` and their like.

    Args:
        text: Any text.
        extra: Further names of secrets; left out, the settings say which.
    """
    extra = extra_keys() if extra is None else extra
    names = _NAME if all(map(str.isascii, extra)) else _ANY_NAME
    brackets = Brackets(text)
    parts: list[str] = []
    done = 0
    match = names.search(text)
    while match:
        end = match.end()
        if is_secret_key(match.group(1), extra) and not _is_part_of_path(text, match):
            start, end = _value(text, match, brackets)
            if start < end and not is_shown(text[start:end]):
                parts += [text[done:start], REDACTED]
                done = end
        match = names.search(text, end)
    return "".join([*parts, text[done:]]) if parts else text


def _is_part_of_path(text: str, name: re.Match[str]) -> bool:
    """Whether a name stands between colons, as in ``arn:aws:secretsmanager:eu-west-1:1:secret:shop``."""
    return name.group(2) == ":" and name.start() > 0 and text[name.start() - 1] == ":"


def _value(text: str, name: re.Match[str], brackets: Brackets) -> tuple[int, int]:
    """Find where the value of a name starts and ends; equal where it has none that must be hidden."""
    start = name.end()
    quote = _QUOTE.match(text, start)
    if quote:
        end = closing_quote(text, quote.end(), quote.group(1))
        return quote.end(), end if end is not None else _end_of_cut(text, name.start(), quote.end())
    if text[start] in "[({":
        end = brackets.closing(start)
        return start, end if end is not None else _end_of_cut(text, name.start(), start)
    if name.group(1).lower() in _HEADERS and name.group(2) == ":":
        line = _LINE.match(text, start)
        return start, line.end() if line else start
    bare = _BARE.match(text, start)
    if bare is None or (name.group(2) == ":" and not _is_telling(bare.group())):
        return start, start
    return start, bare.end()


def _is_telling(word: str) -> bool:
    """Whether what follows a colon is a value rather than prose."""
    return len(word) >= 20 or any(character.isdigit() for character in word)


def _end_of_cut(text: str, name: int, start: int) -> int:
    """Find where a value ends that does not close: before a line with a name that is indented no further, or nowhere.

    A name in quotes belongs to the value: it is a key of a mapping that was cut.
    """
    indent = _INDENT.match(text, text.rfind("\n", 0, name) + 1)
    limit = len(indent.group()) if indent else 0
    for line in _NAMED_LINE.finditer(text, start):
        if len(line.group(1)) <= limit:
            return line.start()
    return max(start, len(text.rstrip("\r\n")))


def redact_elements(text: str, extra: tuple[str, ...] | None) -> str:
    """Replace the contents of elements such as ``<password>…</password>``.

    Args:
        text: Any text.
        extra: Further names of secrets; left out, the settings say which.
    """
    parts: list[str] = []
    done = 0
    match = _ELEMENT.search(text)
    while match:
        start = end = match.end()
        if is_secret_key(match.group(1), extra):
            end = _end_of_content(text, start)
            value = text[start:end].strip()
            if value and not is_shown(value):
                parts += [text[done:start], REDACTED]
                done = end
        match = _ELEMENT.search(text, end)
    return "".join([*parts, text[done:]]) if parts else text


def _end_of_content(text: str, start: int) -> int:
    """Find where text and CDATA sections end; without its mark, a section is the rest of the text."""
    while True:
        content = _CONTENT.match(text, start)
        start = content.end() if content else start
        if not text.startswith(_CDATA, start):
            return start
        end = text.find(_CDATA_END, start)
        if end < 0:
            return len(text)
        start = end + len(_CDATA_END)
