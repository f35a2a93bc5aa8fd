"""The redactor: what is shown, stored or sent anywhere passes through here first.

Two ways at once. By name: the value of a key such as ``password`` or ``X-Api-Key`` is hidden, whatever it is. By value:
secrets that this process has resolved (:func:`remember`) are hidden in whichever encoding they appear, and so is what
looks like a secret: bearer and basic credentials, user info in URLs, tokens of well-known services, private keys, card
numbers. Nothing of a secret is kept, not even its last characters.

Secret *references* such as ``$secret:API_KEY`` are no secrets and stay readable.

Redact before you cut: half a secret cannot be recognised.
"""

from __future__ import annotations

import copy
import enum
import logging
import operator
import re
import traceback
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

from automate_core._redaction.exceptions import text_of
from automate_core._redaction.frames import without_locals
from automate_core._redaction.keys import extra_keys, is_secret_key
from automate_core._redaction.plain import TEXTLESS, PlainCopier, hide
from automate_core._redaction.shapes import redact_shapes
from automate_core._redaction.shown import REDACTED
from automate_core._redaction.values import MAX_LENGTH, MIN_LENGTH, LiveValues
from automate_core._redaction.walk import MAX_DEPTH, Walk, fields_of

__all__ = [
    "MAX_LENGTH",
    "MIN_LENGTH",
    "REDACTED",
    "RedactingFilter",
    "forget",
    "is_secret_key",
    "redact",
    "redact_text",
    "remember",
    "unfinished",
]

_live = LiveValues()


def remember(value: str) -> bool:
    """Hide a secret value from now on, wherever it appears in this process.

    It is found raw, escaped as in JSON, Python or HTML however often, URL-encoded, in hex, in base64 at each alignment,
    and where an ellipsis has left its beginning or its end; so are its lines, the password of a URL, and what a JSON
    document has under the name of a secret. The 10,000 values that were remembered last are kept.

    Args:
        value: The secret.

    Returns:
        Whether it is hidden: False for a value of fewer than :data:`MIN_LENGTH` characters, backslashes not counted,
        which would be found in ordinary words and numbers. Short secrets are hidden by the names of their keys alone.
    """
    return _live.add(value)


def forget(value: str) -> None:
    """Take back :func:`remember`.

    Args:
        value: The secret; nothing happens where it is unknown.
    """
    _live.discard(value)


def redact_text(text: object) -> str:
    """Hide the secrets in a text.

    Args:
        text: Any text, or an object whose text is meant, such as an exception.

    Returns:
        The text with :data:`REDACTED` in the place of each secret. It never raises: a text that cannot be examined is
        replaced as a whole.
    """
    try:
        plain = text if type(text) is str else text_of(text)
        return redact_shapes(_live.replace(plain, REDACTED))
    except Exception:  # noqa: BLE001 - errors and logs pass through here; what cannot be examined is not shown
        return REDACTED


def unfinished(text: str) -> int:
    """Return how many characters at the end of a text a remembered secret may begin with, of which the rest is to come.

    Who writes a text in pieces keeps so many back. A text of whole lines may end with the first lines of a secret, or
    with lines of base64 in which one may begin.

    Args:
        text: The text.
    """
    return _live.unfinished(text)


def redact(data: Any) -> Any:
    """Return a copy of data without its secrets; the data itself is not changed.

    Args:
        data: Anything: mappings, lists, tuples, sets, bytes, exceptions with their causes, dataclasses, pydantic
            models, nested as they come. An object with a method ``__redacted__()`` decides for itself what may be
            shown of it.

    Returns:
        The same structure. Mappings, dataclasses and models become dicts; exceptions become dicts of ``type``,
        ``message`` and, where they have them, ``code``, ``context``, ``notes``, ``cause`` and ``exceptions``; other
        objects become their text. What is nested deeper than 100 levels is hidden, and a cycle is cut.
    """
    kind = type(data)
    if kind is dict or kind is list:
        copier = _copier(extra_keys(), _live.version)
        try:
            return copier.mapping(data, MAX_DEPTH) if kind is dict else copier.items(data, MAX_DEPTH)
        except Exception:  # noqa: BLE001, S110 - the general walk knows what to do with it
            pass
    return Walk(_live, redact_text).visit(data)


@lru_cache(maxsize=2)
def _copier(extra: tuple[str, ...], version: int) -> PlainCopier:
    return PlainCopier(_live, extra)


class RedactingFilter(logging.Filter):
    """A logging filter that hides secrets in messages, arguments, ``extra`` fields, exceptions and stack texts.

    Add it to handlers (or loggers) of any project::

        LOGGING = {"filters": {"redact": {"()": "automate_core.redaction.RedactingFilter"}}, ...}

    It lets every record pass, and leaves what it can as it was for formatters and handlers that read more than the
    text: arguments stay where each can be redacted by itself, a mapping keeps its type, and an object in ``extra``
    whose text holds no secret stays that object. An exception is replaced by a stand-in of the same name with a
    redacted message and a traceback without local variables, so that formatters and handlers which read
    ``record.exc_info``, such as Django's mails to admins, show no secret either.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record in place.

        Args:
            record: The record.

        Returns:
            True: the record is logged.
        """
        try:
            _redact_message(record)
        except Exception:  # noqa: BLE001 - wrong arguments are the caller's bug, which logging reports with all of them
            record.msg, record.args = redact_text(record.msg), redact(record.args)
        if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
            text = "".join(traceback.format_exception(*record.exc_info))
            record.exc_text = redact_text(record.exc_text or text.rstrip("\n"))
            record.exc_info = _stand_in(record.exc_info[1], record.exc_info[2])
        elif record.exc_text:
            record.exc_text = redact_text(record.exc_text)
        if record.stack_info:
            record.stack_info = redact_text(record.stack_info)
        for name in _NAMES:
            if isinstance(given := record.__dict__.get(name), str):
                record.__dict__[name] = redact_text(given)
        for name in record.__dict__.keys() - _RECORD_FIELDS:
            value = record.__dict__[name]
            record.__dict__[name] = hide(value, redact) if is_secret_key(name) else _redact_extra(value)
        return True


_DATA = (str, bytes, bytearray, memoryview, int, *TEXTLESS, Set, Sequence, BaseException, enum.Enum)
_NAMES = ("threadName", "processName", "taskName")
_NUMBER = re.compile(r"(%(?:\([^()]*\))?)(?<!%%)[#0\- +]*\d*(?:\.\d+)?[hlL]?[diouxXeEfFgGc]")
"""A conversion that takes a number, in whose place there is a text where the number is a secret."""
_RECORD_FIELDS = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"})


def _redact_message(record: logging.LogRecord) -> None:
    """Redact the message and its arguments apart where that gives the redacted text, and as one text otherwise."""
    if not record.args:
        record.msg = _like(record.msg, redact(record.msg)) if isinstance(record.msg, Mapping) else _text(record.msg)
        return
    message, named = str(record.msg), _redact_named_arguments(record.args)
    template = redact_text(message)
    by_name = isinstance(named, Mapping)
    text = message % (record.args if by_name else named)  # raises where the arguments are wrong
    arguments = named if by_name else tuple(map(_text, named))
    if by_name or any(map(operator.is_not, arguments, named)):  # a precision may cut a secret; then it is not found
        clean = _formatted(message, arguments) or _formatted(_NUMBER.sub(r"\1s", message), arguments)
        text = clean or (REDACTED if by_name else text)
    text = redact_text(text)
    fits = _formatted(template, arguments) == text
    record.msg, record.args = (template, arguments) if fits else (text, None)


def _formatted(message: str, arguments: Any) -> str | None:
    """Format a message; None where a conversion was hidden, or the number that was to stand there."""
    try:
        text: str = message % arguments
    except (TypeError, ValueError, KeyError):
        return None
    return text


def _redact_named_arguments(args: Any) -> Any:
    """Redact what can be redacted by name; objects stay, for they are formatted by what they are."""
    if isinstance(args, Mapping):
        return _like(args, redact(args))
    return tuple(redact(arg) if isinstance(arg, (Mapping, list, tuple)) else arg for arg in args)


def _text(value: Any) -> Any:
    """Return a value, or its redacted text where that is another one than its own."""
    if isinstance(value, (Mapping, list, tuple)):
        return value
    text = str(value)
    clean = redact_text(text)
    if clean == text:
        return value
    return clean if isinstance(value, str) else _Clean(clean, value)


class _Clean(str):
    """The redacted text of an object, with the redacted text that it has as a part of others."""

    _repr: str

    def __new__(cls, text: str, value: object) -> Self:
        made = super().__new__(cls, text)
        made._repr = redact_text(repr(value))
        return made

    def __repr__(self) -> str:
        return self._repr


def _like(original: Mapping[Any, Any], clean: Any) -> Any:
    """Give a redacted mapping the type of the original, which may answer for keys that it does not have."""
    if type(original) is dict or not isinstance(original, dict) or not isinstance(clean, dict):
        return clean
    made = copy.copy(original)
    dict.clear(made)
    dict.update(made, clean)
    return made


def _redact_extra(value: Any) -> Any:
    """Redact data; other objects, such as the request that a handler asks for more, stay if their text may be shown."""
    try:
        of_itself = hasattr(value, "__redacted__") or hasattr(value, "get_secret_value")
        if isinstance(value, _DATA) or of_itself or fields_of(value) is not None:
            return redact(value)
        return _text(value)
    except Exception:  # noqa: BLE001 - an object that fails while it is examined is not shown
        return REDACTED


def _stand_in(
    error: BaseException, trace: TracebackType | None
) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    kind = type(type(error).__name__, (Exception,), {"__module__": type(error).__module__, "__doc__": None})
    return kind, kind(redact_text(error)), without_locals(trace)
