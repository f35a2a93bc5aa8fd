"""Local variables in tracebacks: debug pages, mails to admins and services that collect errors show them."""

from __future__ import annotations

import traceback
from types import CodeType, FunctionType, TracebackType
from typing import Any, cast

__all__ = ["clear_locals", "without_locals"]


def clear_locals(error: BaseException, handled: BaseException | None = None) -> None:
    """Clear the local variables of what has ended with an error, and with those that led to it.

    Places and lines stay; frames that still run keep their variables.

    Args:
        error: The error.
        handled: An error that was there before, and is left as it is, with those that led to it.
    """
    seen = {id(one) for one in _chain(handled, set())}
    for one in _chain(error, seen):
        traceback.clear_frames(one.__traceback__)


def _chain(error: BaseException | None, seen: set[int]) -> list[BaseException]:
    found, rest = [], [error]
    while rest:
        one = rest.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        found.append(one)
        rest += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            rest += one.exceptions
    return found


def without_locals(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback of the same places and lines, with frames that have no variables.

    Args:
        trace: The traceback; it is not changed.
    """
    entries = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    copied: TracebackType | None = None
    for entry in reversed(entries):
        copied = _copied(entry, copied)
    return copied


class _Raised(Exception):
    pass


def _raise() -> None:
    raise _Raised


def _lines_without_columns(code: CodeType) -> bytes:
    """Make a table of positions in which everything is on the first line; the columns would be those of this module."""
    units = len(code.co_code) // 2
    return b"".join(bytes([_NO_COLUMNS | min(8, units - start) - 1, 0]) for start in range(0, units, 8))


_NO_COLUMNS = 0x80 | 13 << 3
_EMPTY = _raise.__code__.replace(co_linetable=_lines_without_columns(_raise.__code__))


def _copied(entry: TracebackType, rest: TracebackType | None) -> TracebackType:
    code, known = entry.tb_frame.f_code, entry.tb_frame.f_globals
    empty = _EMPTY.replace(
        co_filename=code.co_filename, co_name=code.co_name, co_qualname=code.co_qualname, co_firstlineno=entry.tb_lineno
    )
    # By these names the source is found where it is no file.
    about: dict[str, Any] = {name: known[name] for name in ("__name__", "__loader__", "__spec__") if name in known}
    try:
        FunctionType(empty, about | {"_Raised": _Raised})()
    except _Raised as error:
        made = cast(TracebackType, cast(TracebackType, error.__traceback__).tb_next)
    return TracebackType(rest, made.tb_frame, made.tb_lasti, entry.tb_lineno)
