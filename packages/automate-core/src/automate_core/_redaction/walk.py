"""The general walk through any structure: containers, exceptions, dataclasses, models, and objects of every kind."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable, Mapping, Sequence, Set
from functools import cached_property
from itertools import count
from typing import Any

from automate_core._redaction.keys import extra_keys, is_secret_key
from automate_core._redaction.plain import TEXTLESS, hide, named_values, redact_textless
from automate_core._redaction.shapes import is_card
from automate_core._redaction.shown import REDACTED
from automate_core._redaction.values import LiveValues

__all__ = ["MAX_DEPTH", "Walk", "fields_of"]

MAX_DEPTH = 100
_CYCLE = "[CYCLE]"
_NO_NAME = re.compile(r"[\s=:]")


class Walk:
    """One walk through one structure.

    Args:
        live: The live values.
        text: Redacts a text, or an object whose text is meant.
    """

    def __init__(self, live: LiveValues, text: Callable[[object], str]) -> None:
        self._live = live
        self._text = text
        self._path: set[int] = set()
        self._names: dict[str, str] = {}

    @cached_property
    def _extra(self) -> tuple[str, ...]:
        return extra_keys()

    def visit(self, data: Any) -> Any:
        """Return a copy of anything without its secrets.

        Args:
            data: Anything.
        """
        kind = type(data)
        if kind is str:
            return self._text(data)
        if kind is dict or kind is list:
            return self._nested(data)
        if isinstance(data, enum.Enum):
            data = data.value
        if isinstance(data, str):
            return self._text(data)
        if isinstance(data, TEXTLESS):
            return self._textless(data)
        if isinstance(data, int):
            return REDACTED if data in self._live.numbers or is_card(data) else data
        if isinstance(data, (bytes, bytearray, memoryview)):
            return self._bytes(data)
        return self._nested(data)

    def _textless(self, data: Any) -> Any:
        try:
            return redact_textless(data, self._live)
        except Exception:  # noqa: BLE001 - a class of its own may have no text; what cannot be examined is not shown
            return REDACTED

    def _bytes(self, data: bytes | bytearray | memoryview) -> bytes:
        text = bytes(data).decode("utf-8", "surrogateescape")
        clean = self._text(text)
        return bytes(data) if clean == text else clean.encode("utf-8", "surrogateescape")

    def _nested(self, data: Any) -> Any:
        if id(data) in self._path:
            return _CYCLE
        if len(self._path) >= MAX_DEPTH:
            return REDACTED
        self._path.add(id(data))
        try:
            return self._open(data)
        except Exception:  # noqa: BLE001 - an object that fails while it is examined is not shown
            return REDACTED
        finally:
            self._path.discard(id(data))

    def _open(self, data: Any) -> Any:
        kind = type(data)
        if kind is dict:
            return self._mapping(data)
        if kind is list:
            return self._collection(data)
        if not isinstance(data, type):
            if hasattr(data, "__redacted__"):
                return data.__redacted__()
            if hasattr(data, "get_secret_value"):
                return REDACTED
        if isinstance(data, BaseException):
            return self._exception(data)
        fields = fields_of(data)
        if fields is not None:
            return self._mapping(fields)
        if isinstance(data, tuple) and hasattr(data, "_fields"):
            return type(data)(*self._mapping(dict(zip(data._fields, data, strict=True))).values())
        return self._collection(data)

    def _collection(self, data: Any) -> Any:
        if isinstance(data, Set):
            unique = {self._hashable(item) for item in data}
            return frozenset(unique) if isinstance(data, frozenset) else unique
        if isinstance(data, Sequence) or hasattr(data, "popleft"):
            pair = self._pair(data) if isinstance(data, tuple) else None
            items = pair if pair is not None else [self._item(item) for item in data]
            return tuple(items) if isinstance(data, tuple) else items
        return self._text(data)

    def _item(self, item: Any) -> Any:
        """A header may come as a list of two in a list."""
        pair = self._pair(item) if isinstance(item, list) else None
        return pair if pair is not None else self.visit(item)

    def _pair(self, items: Sequence[Any]) -> list[Any] | None:
        """Read ``("Authorization", "…")``, the form of headers, as a name and its secret; None for anything else.

        A text that tells of a password is no name: it is redacted as every other text.
        """
        if len(items) != 2 or not isinstance(items[0], (str, bytes)):
            return None
        name = items[0].decode("utf-8", "replace") if isinstance(items[0], bytes) else items[0]
        if _NO_NAME.search(name) or not is_secret_key(name, self._extra):
            return None
        first = self.visit(items[0])
        return [first, self._hide(items[1])] if first == items[0] else None

    def _hide(self, value: Any) -> Any:
        return hide(value, self.visit)

    def _mapping(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        hidden = named_values(data, self._extra)
        result: dict[Any, Any] = {}
        for key, value in data.items():
            name = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
            secret = isinstance(name, str) and (name in hidden or is_secret_key(name, self._extra))
            result[self._key(key, result)] = self._hide(value) if secret else self.visit(value)
        return result

    def _key(self, key: Any, taken: dict[Any, Any]) -> Any:
        if isinstance(key, str):
            clean: Any = self._names.get(key)
            if clean is None:
                clean = self._names[key] = self._text(key)
        else:
            clean = self._hashable(key)
        if clean not in taken:
            return clean
        return next(f"{clean}#{number}" for number in count(2) if f"{clean}#{number}" not in taken)

    def _hashable(self, data: Any) -> Any:
        clean = self.visit(data)
        return str(clean) if isinstance(clean, (dict, list, set)) else clean

    def _exception(self, error: BaseException) -> dict[str, Any]:
        shown: dict[str, Any] = {"type": type(error).__qualname__, "message": self._text(error)}
        for name in ("code", "context"):
            if hasattr(error, "retryable") and hasattr(error, name):
                shown[name] = self.visit(getattr(error, name))
        if notes := getattr(error, "__notes__", None):
            shown["notes"] = self.visit(list(notes))
        if isinstance(error, BaseExceptionGroup):
            shown["exceptions"] = self.visit(list(error.exceptions))
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            shown["cause"] = self.visit(cause)
        return shown


def fields_of(data: Any) -> Mapping[Any, Any] | None:
    """Return the named parts of a mapping, dataclass, pydantic model or attrs class; None for anything else.

    Args:
        data: Anything.
    """
    if isinstance(data, Mapping):
        return data
    kind = type(data)
    if dataclasses.is_dataclass(kind):
        return {field.name: getattr(data, field.name, None) for field in dataclasses.fields(kind)}
    if hasattr(kind, "__pydantic_fields__"):
        return {**data.__dict__, **(getattr(data, "__pydantic_extra__", None) or {})}
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(data, field.name, None) for field in kind.__attrs_attrs__}
    return None
