"""What a worker process prints and logs, with the secrets removed: whoever's code does it.

The worker calls what others wrote. That prints, warns, and ends threads with exceptions nobody catches, past every log.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

from automate_core.redaction import RedactingFilter, redact_text

__all__ = ["RedactedStream", "guard"]


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
        sys.stdout = cast("TextIO", RedactedStream(sys.stdout))
    if not isinstance(sys.stderr, RedactedStream):
        sys.stderr = cast("TextIO", RedactedStream(sys.stderr))


def _handlers() -> Iterator[logging.Handler]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    for logger in loggers:
        if isinstance(logger, logging.Logger):
            yield from logger.handlers


class RedactedStream:
    """A text stream that removes secrets before it writes.

    What is written is held until its line has ended, or the stream is flushed; then it is redacted as one text.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun = ""
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text as far as its lines have ended.

        Args:
            text: The text.

        Returns:
            Its length.
        """
        with self._lock:
            lines, newline, self._begun = (self._begun + text).rpartition("\n")
            if newline:
                self._stream.write(redact_text(lines) + newline)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts.

        Args:
            lines: The texts.
        """
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what there is of the last line."""
        with self._lock:
            begun, self._begun = self._begun, ""
            if begun:
                self._stream.write(redact_text(begun))
            self._stream.flush()
