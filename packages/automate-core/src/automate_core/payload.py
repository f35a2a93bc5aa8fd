"""What can be stored as JSON, checked before anything is written, and its one canonical text.

Canonical means: keys sorted by code point, no spaces, UTF-8. ``1`` and ``1.0`` stay different texts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from automate_core.errors import InvalidPayloadError

__all__ = [
    "MAX_DEPTH",
    "MAX_DEPTH_MARIADB",
    "MAX_DIGITS",
    "canonical_json",
    "check_payload",
    "content_hash",
    "json_pointer",
    "storable_text",
]

MAX_DEPTH = 100
"""Levels of nesting, a scalar counting as one: what MySQL takes. PostgreSQL and SQLite take more, MariaDB less."""

MAX_DEPTH_MARIADB = 32
"""The same on MariaDB, whose ``JSON_VALID``, and with it the constraint of a JSON column, refuses deeper values."""

MAX_DIGITS = 300
"""Digits of an integer: what every JSON column and every double can hold."""

_TOO_BIG = 10**MAX_DIGITS
_ANY_SIZE = 64 * 1024 * 1024
# Nothing that is encoded contains itself: both ways to it limit the depth.
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
)
_TEXT = frozenset({str})
_LEAVES = frozenset({float, bool, type(None)})
_REMEDIES = {
    "Decimal": "pass str or float",
    "datetime": "pass isoformat()",
    "date": "pass isoformat()",
    "time": "pass isoformat()",
    "timedelta": "pass total_seconds()",
    "UUID": "pass str",
    "bytes": "decode it, or pass base64 text",
    "bytearray": "decode it, or pass base64 text",
    "set": "pass a list",
    "frozenset": "pass a list",
    "generator": "pass a list",
}


def json_pointer(parts: Iterable[str | int]) -> str:
    """Write a path as a JSON pointer (RFC 6901).

    Args:
        parts: Keys and positions, from the root.

    Returns:
        The pointer; empty for the root.
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def check_payload(
    value: Any, *, max_bytes: int, what: str = "payload", require_object: bool = True, max_depth: int = MAX_DEPTH
) -> bytes:
    """Refuse what a JSON column cannot store.

    Args:
        value: The value; it is not changed. Tuples count as lists.
        max_bytes: Largest size of its canonical text.
        what: What it is, for the message.
        require_object: Whether the top must be a JSON object.
        max_depth: Levels of nesting, a scalar counting as one; :data:`MAX_DEPTH_MARIADB` where it goes there.

    Returns:
        The canonical text.

    Raises:
        InvalidPayloadError: If it is no JSON, holds NUL, a lone surrogate, NaN or an infinity, is cyclic, too deep or
            too large; ``context["pointer"]`` says where, the message what to do. No value is repeated in it.
    """
    if require_object and not isinstance(value, dict):
        _refuse(what, (), f"must be an object, not {_name(value)}: pass a dict with text keys")
    encoded = _encode_plain(value, max_bytes, max_depth)
    if encoded is None:
        _inspect(value, what, max_bytes, max_depth)
        encoded = _ENCODER.encode(value).encode()
    if len(encoded) > max_bytes:
        _refuse_size(what, max_bytes)
    return encoded


def canonical_json(value: Any) -> bytes:
    """Return the canonical text of any JSON value.

    Args:
        value: The value; it is not changed.

    Raises:
        InvalidPayloadError: As :func:`check_payload`.
    """
    return check_payload(value, max_bytes=_ANY_SIZE, what="value", require_object=False)


def content_hash(value: Any) -> str:
    """Return the SHA-256 of the canonical text, in hexadecimal.

    Args:
        value: Any JSON value.

    Raises:
        InvalidPayloadError: As :func:`check_payload`.
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()


def storable_text(text: str, limit: int) -> str:
    """Return a text as every database can hold it: NUL and lone surrogates replaced, cut to a length.

    Args:
        text: Any text.
        limit: Its longest form, in characters.
    """
    clean = text[: limit + 1].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def _encode_plain(value: Any, max_bytes: int, max_depth: int) -> bytes | None:
    """Encode what is plainly fine, at a fraction of the cost of :func:`_inspect`; None asks for a closer look."""
    if _room_after(value, max_bytes, max_depth) < 0:
        return None
    try:
        text = _ENCODER.encode(value)
        return None if "\\u0000" in text else text.encode()
    except ValueError:  # NaN, an infinity or a lone surrogate
        return None


def _room_after(value: Any, room: int, levels: int) -> int:
    """Return how much room a value leaves at the most; less than 0 where there is none, or where it is not plain."""
    kind = type(value)
    if kind is str:
        room -= len(value)
    elif kind is int:
        room -= 1 if -_TOO_BIG < value < _TOO_BIG else room + 1
    elif kind is dict and _TEXT.issuperset(map(type, value)):
        room = _room_after_all(value.values(), room - sum(map(len, value)) - 1, levels - 1)
    elif kind is list or kind is tuple:
        room = _room_after_all(value, room - 1, levels - 1)
    elif kind not in _LEAVES:
        return -1
    return room if levels > 0 else -1


def _room_after_all(values: Iterable[Any], room: int, levels: int) -> int:
    if levels < 0:
        return -1
    for value in values:
        room = _room_after(value, room, levels)
        if room < 0:
            break
    return room


def _inspect(root: Any, what: str, max_bytes: int, max_depth: int) -> None:
    """Walk with a stack of its own: neither depth nor shared references can exhaust the interpreter."""
    left = max_bytes
    path: list[str | int] = []
    open_ids: set[int] = set()
    frames: list[tuple[int, Iterator[tuple[str | int, Any]]]] = [(0, iter((("", root),)))]
    while frames:
        ident, children = frames[-1]
        entry = next(children, None)
        if entry is None:
            frames.pop()
            open_ids.discard(ident)
            if path:
                path.pop()
            continue
        key, value = entry
        here = [*path, key] if len(frames) > 1 else path
        left -= _check_key(key, what, path) if isinstance(key, str) else 1
        if len(frames) > max_depth:
            _refuse(what, here, f"is nested deeper than {max_depth} levels: flatten it")
        if isinstance(value, (dict, list, tuple)):
            if id(value) in open_ids:
                _refuse(what, here, "contains itself: JSON has no cycles, leave the reference out")
            open_ids.add(id(value))
            frames.append((id(value), _children(value, what, here)))
            path = here
        else:
            left -= _check_scalar(value, what, here)
        if left < 0:
            _refuse_size(what, max_bytes)


def _children(value: Any, what: str, path: list[str | int]) -> Iterator[tuple[str | int, Any]]:
    if not isinstance(value, dict):
        yield from enumerate(value)
        return
    for key, child in value.items():
        if not isinstance(key, str):
            _refuse(what, path, f"has a key of type {_name(key)}: JSON keys are text, pass str")
        yield key, child


def _check_key(key: str, what: str, parent: list[str | int]) -> int:
    problem = _text_problem(key)
    if problem:
        _refuse(what, parent, f"has a key that {problem}")
    return len(key) + 1


def _check_scalar(value: Any, what: str, path: list[str | int]) -> int:
    """Return how much room the value takes at least."""
    if isinstance(value, str):
        problem = _text_problem(value)
        if problem:
            _refuse(what, path, problem)
        return len(value)
    if value is None or isinstance(value, bool):
        return 1
    if isinstance(value, int):
        if not -_TOO_BIG < value < _TOO_BIG:
            _refuse(what, path, f"is an integer of more than {MAX_DIGITS} digits: pass it as str")
        return 1
    if isinstance(value, float):
        if not math.isfinite(value):
            _refuse(what, path, f"is {value}, which JSON cannot hold: pass None or str")
        return 1
    name = _name(value)
    _refuse(what, path, f"{name} is not JSON: {_REMEDIES.get(name, 'pass text, numbers, lists and dicts')}")


def _text_problem(text: str) -> str:
    if "\x00" in text:
        return "holds the character NUL, which databases refuse: remove it"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "holds a lone surrogate, which is not Unicode text: decode its source with errors='replace'"
    return ""


def _name(value: Any) -> str:
    return type(value).__name__


def _refuse(what: str, path: Iterable[str | int], reason: str) -> NoReturn:
    pointer = json_pointer(path)
    where = f"{what} at {pointer}" if pointer else what
    raise InvalidPayloadError(f"The {where} {_sentence(reason)}.", context={"pointer": pointer, "reason": reason})


def _refuse_size(what: str, max_bytes: int) -> NoReturn:
    _refuse(what, (), f"is larger than {max_bytes} bytes as JSON: store the bulk elsewhere and pass a reference")


def _sentence(reason: str) -> str:
    return reason if reason.split(" ", 1)[0] in {"is", "has", "holds", "must", "contains"} else f"is refused: {reason}"
