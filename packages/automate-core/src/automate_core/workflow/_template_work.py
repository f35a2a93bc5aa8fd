"""What rendering may cost, and how values of a template are told apart, compared, copied and turned into text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

from automate_core.errors import TemplateError, nearby

MAX_WORK = 500_000
"""Units of work of one rendering: a node of a template or of data costs one or two, eight characters cost one."""

_MAX_DEPTH = 100
_MAX_BITS = 1100


class Undefined:
    """A path that leads nowhere; only ``default`` and the tests ``defined`` and ``undefined`` accept it.

    Args:
        path: The path, as written.
        key: What was looked for last.
        data: Where it was looked for, if that has names.
    """

    __slots__ = ("data", "key", "path")

    def __init__(self, path: str, key: str = "", data: dict[Any, Any] | None = None) -> None:
        self.path = path
        self.key = key
        self.data = data

    @property
    def hint(self) -> str:
        """What exists nearby."""
        data, key = self.data or {}, self.key
        names = [name for name, _ in zip(data, range(100), strict=False) if isinstance(name, str) and len(name) <= 64]
        hint = nearby(key, names) if names and len(key) <= 64 else ""
        return hint if hint.startswith(" Did") else ""


class Work:
    """What is left to spend for one rendering.

    Args:
        max_bytes: Largest result, as JSON.
    """

    __slots__ = ("_copies_left", "_left", "_max_bytes", "_size_left")

    def __init__(self, max_bytes: int) -> None:
        self._left = MAX_WORK
        self._copies_left = max_bytes // 4 if max_bytes > 4 * MAX_WORK else MAX_WORK
        self._max_bytes = max_bytes
        self._size_left = max_bytes

    def charge(self, units: int) -> None:
        """Pay for work before it is done."""
        self._left -= units
        if self._left < 0:
            self._refuse_work()

    def take_copy(self, size: int) -> None:
        """Pay for a copy of a node of data, and count its bytes: a value as large as the result may be is handed on."""
        self._copies_left -= 1
        if self._copies_left < 0:
            self._refuse_work()
        self._size_left -= size
        if self._size_left < 0:
            self._refuse_size()

    def charge_text(self, length: int) -> None:
        """Pay for a text of this many characters before it is made."""
        if length > self._max_bytes:
            self._refuse_size()
        self.charge(length // 8 + 1)

    def take(self, size: int) -> None:
        """Count bytes of the result."""
        self._size_left -= size
        if self._size_left < 0:
            self._refuse_size()

    def _refuse_work(self) -> NoReturn:
        raise TemplateError("The template does too much work: use smaller values or fewer filters.")

    def _refuse_size(self) -> NoReturn:
        raise TemplateError(f"The rendered value is larger than {self._max_bytes} bytes.")

    def weigh(self, value: Any) -> int:
        """Pay for walking a value.

        Returns:
            About how many characters its JSON text has.
        """
        size = 0
        pending: list[tuple[Any, int]] = [(value, 0)]
        while pending:
            current, depth = pending.pop()
            self.charge(1)
            size += 4
            if isinstance(current, (dict, list, tuple)):
                if depth >= _MAX_DEPTH:
                    raise TemplateError(f"A value is nested deeper than {_MAX_DEPTH} levels.")
                self.charge(len(current))
                if isinstance(current, dict):
                    pending += [(key, depth) for key in current]
                pending += [(child, depth + 1) for child in _children(current)]
            elif isinstance(current, str):
                size += len(current)
                self.charge(len(current) // 8)
            elif current is not None and current is not True and current is not False:
                check_scalar(current)
        return size


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def check_scalar(value: Any) -> None:
    """Refuse what is no JSON scalar: an object of Python, an infinity, a giant integer."""
    if value is None or isinstance(value, (str, bool)):
        return
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise TemplateError("An integer is too large.")
    elif isinstance(value, Undefined):
        refuse_undefined(value)
    elif not isinstance(value, float):
        raise TemplateError(f"A value is a {type(value).__name__}, not JSON data.")
    elif not math.isfinite(value):
        raise TemplateError("A number is infinite or not a number.")


def refuse_undefined(value: Undefined) -> NoReturn:
    """Raise the error of an undefined path."""
    raise TemplateError(f"{value.path} is not defined.{value.hint}", context={"path": value.path})


def lookup(base: Any, key: Any, path: str) -> Any:
    """Look up one key or position in plain JSON data; never an attribute of an object.

    Args:
        base: Where to look.
        key: A name or a position.
        path: The path so far and the key, as written.

    Returns:
        What is there, or an :class:`Undefined`; looking into one gives it back.
    """
    if isinstance(base, Undefined):
        return base
    if isinstance(key, Undefined):
        refuse_undefined(key)
    if isinstance(base, dict) and isinstance(key, str):
        return dict.__getitem__(base, key) if dict.__contains__(base, key) else Undefined(path, key, base)
    if isinstance(base, list) and isinstance(key, int) and not isinstance(key, bool):
        return list.__getitem__(base, key) if -len(base) <= key < len(base) else Undefined(path)
    return Undefined(path)


def is_number(value: Any) -> bool:
    """Whether a value is a number; booleans are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def type_name(value: Any) -> str:
    """Return what JSON calls the type of a value."""
    if isinstance(value, Undefined):
        refuse_undefined(value)
    if value is None or isinstance(value, bool):
        return "null" if value is None else "a boolean"
    names = (((int, float), "a number"), (str, "text"), (list, "a list"), (dict, "an object"))
    return next((name for types, name in names if isinstance(value, types)), f"a {type(value).__name__}")


def identity(value: Any) -> Any:
    """Return something hashable that is equal for equal JSON values: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return ("object", frozenset((key, identity(child)) for key, child in value.items()))
    if isinstance(value, (list, tuple)):
        return ("array", tuple([identity(child) for child in value]))
    return (isinstance(value, bool), value)


def to_text(work: Work, value: Any) -> str:
    """Turn a value into text: null is empty, booleans are lower case, lists and objects are JSON."""
    if isinstance(value, str):
        return str.__str__(value)
    return "" if value is None else dump(work, value)


def dump(work: Work, value: Any) -> str:
    """Return the JSON text of a value."""
    work.charge_text(work.weigh(value))
    return json.dumps(value, ensure_ascii=False)


def copy(work: Work, value: Any, depth: int = 0) -> Any:
    """Copy a value into the result, so that nobody downstream can change where it came from."""
    kind = type(value)
    if kind is str:
        work.take_copy(2 + text_size(value))
        return value
    work.take_copy(2)
    if value is None or kind is bool or (kind is int and value.bit_length() <= _MAX_BITS):
        return value
    if isinstance(value, dict):
        if depth > _MAX_DEPTH:
            raise TemplateError(f"A value is nested deeper than {_MAX_DEPTH} levels.")
        return {copy(work, key, depth): copy(work, child, depth + 1) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        if depth > _MAX_DEPTH:
            raise TemplateError(f"A value is nested deeper than {_MAX_DEPTH} levels.")
        return [copy(work, child, depth + 1) for child in value]
    check_scalar(value)
    if isinstance(value, str):
        work.take(text_size(value))
        return str.__str__(value)
    return value


def text_size(text: str) -> int:
    """Return how many bytes a text has in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
