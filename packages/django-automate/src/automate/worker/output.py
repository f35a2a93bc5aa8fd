"""What a worker process prints and logs, with the secrets removed: whoever's code does it.

The worker calls what others wrote. That prints, warns, and ends threads with exceptions nobody catches, past every log.
"""

from __future__ import annotations

import atexit
import logging
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, TextIO, cast

from automate_core.redaction import RedactingFilter, redact_text, unfinished

__all__ = ["RedactedBuffer", "RedactedStream", "guard"]

_MOST_HELD = 65_536
"""Characters that are held until their line ends, or what may be a secret."""

_BYTE = re.compile("[\udc80-\udcff]")
"""A byte that is no text, as surrogateescape has it."""


def guard() -> None:
    """Remove secrets from what this process prints or logs from now on; to call it again does nothing more.

    Every handler of a log that exists gets a :class:`~automate_core.redaction.RedactingFilter`, whoever it belongs to.
    Standard output and standard error are redacted before they are written, which covers ``print``, warnings,
    tracebacks of threads and of the process itself, and what logging falls back on.
    """
    for handler in _handlers():
        if not any(isinstance(one, RedactingFilter) for one in handler.filters):
            handler.addFilter(RedactingFilter())
    if not isinstance(sys.stdout, RedactedStream):
        sys.stdout = cast("TextIO", _guarded(sys.stdout))
    if not isinstance(sys.stderr, RedactedStream):
        sys.stderr = cast("TextIO", _guarded(sys.stderr))


def _guarded(stream: TextIO) -> RedactedStream:
    guarded = RedactedStream(stream)
    atexit.register(guarded.finish)
    return guarded


def _handlers() -> Iterator[logging.Handler]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    for logger in loggers:
        if isinstance(logger, logging.Logger):
            yield from logger.handlers


class RedactedStream:
    """A text stream that removes secrets before it writes.

    What is written is held until its line has ended, or the stream is flushed; then it is redacted as one text. What
    comes in one write is not divided. With what a secret may begin is held over ends of lines and a flush, until it
    goes on or the stream is closed: lines of a secret, and lines of base64.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun: list[str] = []
        self._size = 0
        self._finished = False
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def buffer(self) -> RedactedBuffer:
        """The stream for bytes, which are redacted together with the texts."""
        return RedactedBuffer(self, self._stream.buffer)

    def write(self, text: str) -> int:
        """Write a text if its last line has ended.

        Args:
            text: The text.

        Returns:
            Its length.
        """
        with self._lock:
            self._begun.append(text)
            self._size += len(text)
            if text.endswith("\n") or self._size > _MOST_HELD:
                self._write_begun()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts.

        Args:
            lines: The texts.
        """
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is held, but for what may be the beginning of a secret."""
        with self._lock:
            self._write_begun()
            self._stream.flush()

    def finish(self) -> None:
        """Write all that is held, and hold nothing back from now on when the stream is flushed."""
        self._finished = True
        if not self._stream.closed:  # whoever ran this in a process of his own may have closed it
            self.flush()

    def close(self) -> None:
        """Write the rest, and close the stream."""
        self.finish()
        self._stream.close()

    def _write_begun(self) -> None:
        begun = self._take()
        if not begun:
            return
        clean = _redact_lines(begun)
        kept = 0 if self._finished else unfinished(begun)
        shown = _redact_lines(begun[: len(begun) - kept]) if kept else clean
        if kept and shown + begun[len(begun) - kept :] != clean:  # it would go through the midst of another secret
            kept, shown = (len(begun), "") if len(begun) <= _MOST_HELD else (0, clean)
        self._emit(shown)
        self._begun, self._size = [begun[len(begun) - kept :]], kept

    def _take(self) -> str:
        """Take what is held; bytes that came in pieces become the characters that they are."""
        begun = "".join(self._begun)
        self._begun, self._size = [], 0
        return (
            begun.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
            if _BYTE.search(begun)
            else begun
        )

    def _emit(self, text: str) -> None:
        if _BYTE.search(text) and hasattr(self._stream, "buffer"):
            self._stream.flush()
            self._stream.buffer.write(text.encode("utf-8", "surrogateescape"))
        else:
            self._stream.write(text)


def _redact_lines(text: str) -> str:
    """Redact a text but for the end of its last line, which stays also where what is hidden has no end."""
    return f"{redact_text(text[:-1])}\n" if text.endswith("\n") else redact_text(text)


class RedactedBuffer:
    """The stream for bytes beside a :class:`RedactedStream`. Bytes that encode no text stay what they are.

    Args:
        stream: The stream for texts.
        buffer: Where it writes bytes.
    """

    def __init__(self, stream: RedactedStream, buffer: BinaryIO) -> None:
        self._stream = stream
        self._buffer = buffer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._buffer, name)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write bytes as far as their lines have ended.

        Args:
            data: The bytes.

        Returns:
            Their number.
        """
        raw = bytes(data)
        self._stream.write(raw.decode("utf-8", "surrogateescape"))
        return len(raw)

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Write several pieces of bytes.

        Args:
            lines: The pieces.
        """
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what there is of the last line; see :meth:`RedactedStream.flush`."""
        self._stream.flush()
