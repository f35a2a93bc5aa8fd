"""The ``flow`` actions: what a workflow does to itself and to others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from automate_core.connectors import ActionSpec, Connector
from automate_core.redaction import redact, redact_text
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["FlowConnector"]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


class LogInput(_Input):
    """Input of ``flow.log``."""

    message: str
    level: Literal["debug", "info", "warning", "error"] = "info"
    fields: dict[str, Any] = Field(default_factory=dict)


class EmitInput(_Input):
    """Input of ``flow.emit``."""

    type: str
    payload: dict[str, Any] = Field(default_factory=dict)
    subject: str = ""


_ACTIONS = (
    ActionSpec("log", LogInput, idempotent=True, title="Write a log line"),
    ActionSpec("emit", EmitInput, idempotent=True, title="Emit an event", takes_secrets=False),
)


class FlowConnector(Connector):
    """Flow control. The actions that wait are not among them yet."""

    key: ClassVar[str] = "flow"
    display_name: ClassVar[str] = "Flow"

    @classmethod
    def actions(cls) -> Sequence[ActionSpec]:
        """Return ``log`` and ``emit``."""
        return _ACTIONS

    def execute_action(self, action: str, input_data: dict[str, Any]) -> Any:
        """Run one action.

        Args:
            action: Its name.
            input_data: Its validated input.
        """
        if action == "log":
            return self._log(LogInput.model_validate(input_data))
        if action == "emit":
            return self._emit(EmitInput.model_validate(input_data))
        return super().execute_action(action, input_data)

    def _log(self, data: LogInput) -> dict[str, Any]:
        message, fields = redact_text(data.message), redact(data.fields)
        self.ctx.logger.log({"debug": 10, "info": 20, "warning": 30, "error": 40}[data.level], "%s %s", message, fields)
        return {"message": message}

    def _emit(self, data: EmitInput) -> dict[str, Any]:
        from automate.events import emit_event

        # No secret is named here, but an event may have brought one, and the row of the next keeps what it is given.
        data = data.model_copy(update=redact(data.model_dump()))
        # A retry after a crash finds the event of the attempt before it by this key.
        key = f"{self.ctx.idempotency_key}:emit"
        return {"event_id": emit_event(data.type, data.payload, key, source="flow", subject=data.subject)}
