"""Searches what a project left for secrets. It shares no code with the redactor: it decodes what it finds and looks.

A secret counts as found where twelve characters of it that belong together are seen, however deep they are encoded.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import quopri
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

__all__ = ["Leak", "search"]

_BLOCK = 12
_LEVELS = 3

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}")
_BASE64_LINES = re.compile(rb"(?<=[A-Za-z0-9+/]{60})(?:\r?\n|\\r\\n|\\n)(?=[A-Za-z0-9+/])")
_HEX = re.compile(rb"[0-9a-fA-F]{16,}")
_ESCAPE = re.compile(rb"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[\\/\"'nrt])")
_PLAIN = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


@dataclass(frozen=True)
class Leak:
    """A secret that was seen.

    Args:
        place: Where.
        secret: Its name.
        way: How the place had to be decoded.
        around: What stands around it there.
    """

    place: str
    secret: str
    way: str
    around: str


def search(places: Mapping[str, bytes], secrets: Mapping[str, Sequence[str]]) -> list[Leak]:
    """Search places for secrets.

    Args:
        places: What was left, by where it was found.
        secrets: The texts that must not be seen, by the name of the secret.

    Returns:
        What was found: each secret once for each place and way.
    """
    blocks = {block: name for name, texts in secrets.items() for text in texts for block in _blocks(text)}
    found: dict[tuple[str, str, str], Leak] = {}
    for place, content in places.items():
        for way, view in _views(content):
            for block, name in blocks.items():
                at = view.find(block)
                if at >= 0 and (place, name, way) not in found:
                    around = view[max(0, at - 80) : at + 80].decode("utf-8", "replace")
                    found[place, name, way] = Leak(place, name, way, around)
    return list(found.values())


def _blocks(text: str) -> Iterator[bytes]:
    """Cut a text into blocks: whoever sees two blocks' length of it sees one of them whole."""
    for raw in {text.encode(), text.encode("latin-1", "ignore"), text.encode("utf-16-le")}:
        size = _BLOCK if b"\0" not in raw else 2 * _BLOCK
        yield raw[-size:]
        yield from (raw[start : start + size] for start in range(0, len(raw) - size + 1, size))


def _views(content: bytes) -> Iterator[tuple[str, bytes]]:
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    seen, level = {content}, [("as it is", content)]
    yield level[0]
    for _ in range(_LEVELS):
        deeper = []
        for way, view in level:
            for name, decode in _DECODERS.items():
                decoded = decode(view)
                if decoded and decoded not in seen:
                    seen.add(decoded)
                    deeper.append((f"{way}, {name}", decoded))
        yield from deeper
        level = deeper


def _unescape(view: bytes) -> bytes:
    def one(match: re.Match[bytes]) -> bytes:
        code = match.group(1)
        if code[:1] == b"u":
            return chr(int(code[1:], 16)).encode("utf-8", "replace")
        return bytes([int(code[1:], 16)]) if code[:1] == b"x" else _PLAIN.get(code, code)

    return _ESCAPE.sub(one, view)


def _unquote(view: bytes) -> bytes:
    return unquote_to_bytes(view.replace(b"+", b" ")) if b"%" in view else b""


def _unmark(view: bytes) -> bytes:
    return (
        html.unescape(view.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogatepass") if b"&" in view else b""
    )


def _from_hex(view: bytes) -> bytes:
    runs = [match.group() for match in _HEX.finditer(view)]
    even = [run[start : start + (len(run) - start) // 2 * 2] for run in runs for start in (0, 1)]
    return b"\n".join(binascii.unhexlify(run) for run in even)


def _from_base64(view: bytes) -> bytes:
    runs = [match.group() for text in (view, _BASE64_LINES.sub(b"", view)) for match in _BASE64.finditer(text)]
    runs = [run.replace(b"-", b"+").replace(b"_", b"/") for run in runs]
    whole = [run[start : start + (len(run) - start) // 4 * 4] for run in runs for start in range(4)]
    return b"\n".join(base64.b64decode(run) for run in whole)


def _from_mail(view: bytes) -> bytes:
    return quopri.decodestring(view) if b"=\n" in view or b"=\r\n" in view else b""


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "unescaped": _unescape,
    "URL-decoded": _unquote,
    "without entities": _unmark,
    "from hex": _from_hex,
    "from base64": _from_base64,
    "from quoted-printable": _from_mail,
}
