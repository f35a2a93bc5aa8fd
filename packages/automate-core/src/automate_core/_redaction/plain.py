"""The quick way through what most values are made of: dicts with text keys, lists, text, numbers and their like.

It gives what the general walk would give, or it gives up with :class:`NotPlainError`, and the general walk begins anew.
It calls no code of the values, so they notice nothing of the attempt.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from automate_core._redaction.keys import is_secret_key
from automate_core._redaction.shapes import FIRST_CARD, SHORTEST_WORD, is_card, redact_shapes
from automate_core._redaction.shown import REDACTED
from automate_core._redaction.values import LiveValues
from automate_core._references import REFERENCE

__all__ = ["TEXTLESS", "NotPlainError", "PlainCopier", "hide", "redact_textless"]

TEXTLESS = (
    float, complex, decimal.Decimal, fractions.Fraction, uuid.UUID,
    datetime.date, datetime.time, datetime.timedelta, datetime.datetime, datetime.tzinfo, bool, type(None),
)  # fmt: skip
"""Values that hold no text; as a text, one may still be a secret that was read as a number or UUID."""

_LEAVES = frozenset({str, *TEXTLESS})
_PLAIN = frozenset({dict, list, int, *_LEAVES})
_LONGEST_KEY = 64
_MOST_KEYS = 4096
"""Which keys are remembered, and how many."""


_NAMES = ("name", "key", "Name", "Key")
_VALUES = ("value", "Value")


class NotPlainError(Exception):
    """There is more to this value than the quick way knows."""


def hide(value: Any, show: Callable[[Any], Any]) -> Any:
    """Hide the value of a secret key, unless there is nothing to hide: none, true and false, and references.

    Args:
        value: The value.
        show: Redacts a mapping that holds only references; its keys may be anything.
    """
    if value is None or isinstance(value, bool) or (isinstance(value, (str, bytes)) and not value):
        return value
    if isinstance(value, str):
        return value if REFERENCE.fullmatch(value) else REDACTED
    if isinstance(value, Mapping) and _holds_only_references(value.values()):
        return show(dict(value))
    if isinstance(value, (list, tuple)) and _holds_only_references(value):
        return list(value)
    try:
        return REDACTED if isinstance(value, type) else value.__redacted__()
    except Exception:  # noqa: BLE001 - it does not say what may be shown of it
        return REDACTED


def redact_textless(value: Any, live: LiveValues) -> Any:
    """Hide a value whose text is a secret: one that was read as a number, date or UUID.

    Args:
        value: One of :data:`TEXTLESS`.
        live: The live values.
    """
    if value is None or isinstance(value, bool):
        return value
    if not live.textless and isinstance(value, float) and -FIRST_CARD < value < FIRST_CARD:
        return value
    text = str(value)
    return value if redact_shapes(live.replace(text, REDACTED), ()) == text else REDACTED


def _holds_only_references(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) and REFERENCE.fullmatch(value) for value in values)


def named_values(data: Mapping[Any, Any], extra: tuple[str, ...]) -> tuple[str, ...]:
    """Return which keys hold a secret that another key names: ``{"name": "DB_PASSWORD", "value": "…"}``.

    Args:
        data: A mapping.
        extra: Further names of secrets.
    """
    names = [data[key] for key in _NAMES if key in data]
    return _VALUES if any(isinstance(name, str) and is_secret_key(name, extra) for name in names) else ()


class PlainCopier:
    """Copies plain values without their secrets.

    It remembers which keys are names of secrets and which are not. That holds until the live values change.

    Args:
        live: The live values.
        extra: Further names of secrets.
    """

    def __init__(self, live: LiveValues, extra: tuple[str, ...]) -> None:
        self._live = live
        self._extra = extra
        self._copiers: dict[type, Callable[[Any, int], Any]] = {dict: self.mapping, list: self.items, int: self._number}
        may_be_secret = TEXTLESS if live.textless else (float, decimal.Decimal)  # these may be numbers of cards
        self._copiers.update(dict.fromkeys(may_be_secret, self._textless))
        self._shown: set[str] = set()
        self._hidden: set[str] = set()
        self._word = min(live.shortest, SHORTEST_WORD)

    def mapping(self, data: dict[Any, Any], levels: int) -> dict[str, Any]:
        """Copy a dict.

        Args:
            data: An instance of just this type.
            levels: How deep it may be nested.

        Raises:
            NotPlainError: If the general walk must decide.
        """
        if not levels:
            raise NotPlainError
        shown, word, copiers = self._shown, self._word, self._copiers
        result: dict[str, Any] = {}
        for key, value in data.items():
            if type(key) is not str:
                raise NotPlainError
            kind = type(value)
            if key not in shown and self._is_secret(key):
                value = self._hide(value, levels)
            elif kind is str and (len(value) >= word or not value.isalnum()):
                value = self._text(value)
            elif kind in copiers:
                value = copiers[kind](value, levels - 1)
            elif kind not in _LEAVES:
                raise NotPlainError
            result[key] = value
        if "value" in data or "Value" in data:
            self._hide_named(data, result, levels)
        return result

    def items(self, data: list[Any], levels: int) -> list[Any]:
        """Copy a list; as :meth:`mapping`."""
        if not levels:
            raise NotPlainError
        word, copiers = self._word, self._copiers
        result = []
        for value in data:
            kind = type(value)
            if kind is str and (len(value) >= word or not value.isalnum()):
                value = self._text(value)
            elif kind in copiers:
                if kind is list and len(value) == 2 and type(value[0]) is str and is_secret_key(value[0], self._extra):
                    raise NotPlainError
                value = copiers[kind](value, levels - 1)
            elif kind not in _LEAVES:
                raise NotPlainError
            result.append(value)
        return result

    def _hide_named(self, data: dict[str, Any], result: dict[str, Any], levels: int) -> None:
        for key in named_values(data, self._extra):
            if key in data:
                result[key] = self._hide(data[key], levels)

    def _is_secret(self, key: str) -> bool:
        if key in self._hidden:
            return True
        if self._text(key) != key:
            raise NotPlainError
        secret = is_secret_key(key, self._extra)
        known = self._hidden if secret else self._shown
        if len(key) <= _LONGEST_KEY:
            if len(known) >= _MOST_KEYS:
                known.clear()
            known.add(key)
        return secret

    def _hide(self, value: Any, levels: int) -> Any:
        if type(value) not in _PLAIN:
            raise NotPlainError
        return hide(value, lambda references: self.mapping(references, levels - 1))

    def _number(self, number: int, _levels: int) -> Any:
        hidden = number in self._live.numbers or (number >= FIRST_CARD and is_card(number))
        return REDACTED if hidden else number

    def _textless(self, value: Any, _levels: int) -> Any:
        return redact_textless(value, self._live)

    def _text(self, text: str) -> str:
        return redact_shapes(self._live.replace(text, REDACTED), self._extra)
