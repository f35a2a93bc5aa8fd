"""Log lines for machines (Elastic Common Schema) or for people; secrets are removed from both."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Literal

from automate_core.redaction import RedactingFilter, redact, redact_text

__all__ = ["ECSFormatter", "configure"]

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class ECSFormatter(logging.Formatter):
    """One JSON object a line, with the field names of the Elastic Common Schema 8."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record.

        Args:
            record: The record.

        Returns:
            JSON on one line.
        """
        line = {
            "@timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "log.level": record.levelname.lower(),
            "message": redact_text(record.getMessage()),
            "ecs.version": "8.17.0",
            "log.logger": record.name,
            "process.pid": record.process,
            "process.thread.name": record.threadName and redact_text(record.threadName),
        }
        extra = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if extra:
            line["labels"] = redact(extra)
        if record.exc_info and record.exc_info[0] is not None:
            line["error.type"] = record.exc_info[0].__name__
            line["error.message"] = redact_text(str(record.exc_info[1]))
            line["error.stack_trace"] = redact_text(record.exc_text or self.formatException(record.exc_info))
        return json.dumps(line, default=str)


def configure(schema: Literal["ecs", "simple"], *, verbosity: int = 1) -> None:
    """Give the ``automate`` loggers a handler, unless the project's ``LOGGING`` did.

    Args:
        schema: ``LOGGING_SCHEMA``.
        verbosity: 0 shows errors, 1 warnings, 2 information, 3 everything.
    """
    logger = logging.getLogger("automate")
    if logger.handlers:
        return
    handler = logging.StreamHandler()
    handler.addFilter(RedactingFilter())
    simple = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    handler.setFormatter(ECSFormatter() if schema == "ecs" else simple)
    logger.addHandler(handler)
    logger.setLevel((logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 3)])
    logger.propagate = False
