"""``log.write``: a line in the log of the worker."""

from __future__ import annotations

import logging
from typing import Any, Literal

from automate_core.redaction import redact, redact_text
from pydantic import BaseModel, ConfigDict, Field

from automate_connectors.base import ActionSpec, Connector

__all__ = ["Log", "LogEntry"]


_LONGEST = 10_000


class LogEntry(BaseModel):
    """What ``log.write`` takes, and returns redacted."""

    model_config = ConfigDict(extra="forbid")

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="How grave it is.")
    message: str = Field(min_length=1, max_length=_LONGEST, description="What to say.")
    fields: dict[str, Any] = Field(default_factory=dict, description="Further values, by name.")


class Log(Connector):
    """Writes log lines that carry the run and the step, secrets removed."""

    key = "log"
    display_name = "Log"

    @classmethod
    def actions(cls) -> list[ActionSpec]:
        """Return the one action."""
        return [ActionSpec("write", LogEntry, LogEntry, idempotent=True, title="Write a log line")]

    def execute_action(self, action: str, input_data: dict[str, Any]) -> Any:
        """Write the line.

        Args:
            action: ``write``.
            input_data: A :class:`LogEntry`.

        Returns:
            The entry as it was written.
        """
        if action != "write":
            return super().execute_action(action, input_data)
        entry = LogEntry.model_validate(input_data)
        entry = LogEntry(level=entry.level, message=redact_text(entry.message)[:_LONGEST], fields=redact(entry.fields))
        adapter = self.ctx.logger
        extra = {**(adapter.extra or {}), "fields": entry.fields}
        logging.LoggerAdapter(adapter.logger, extra).log(
            logging.getLevelNamesMapping()[entry.level.upper()], "%s", entry.message
        )
        return entry.model_dump(mode="json")
