"""The connector ``llm``: language models as steps of a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from automate_core import settings
from automate_core.connectors import ActionSpec, Connector
from pydantic import BaseModel, ConfigDict, Field, model_validator

from automate_llm.gateway import get_provider

__all__ = ["ChatInput", "ChatMessage", "ChatOutput", "LLMConnector", "TokenUsage"]


class ChatMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class ChatInput(BaseModel):
    """What ``llm.chat`` takes: ``messages``, or a ``prompt`` with or without a ``system`` text."""

    model_config = ConfigDict(extra="forbid")

    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    prompt: str | None = None
    system: str | None = None
    provider: str | None = None
    model: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _messages_or_prompt(self) -> ChatInput:
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("give either messages or a prompt")
        if self.messages is not None and self.system is not None:
            raise ValueError("system goes with a prompt; among messages it is one of them")
        return self


class TokenUsage(BaseModel):
    """What a call used."""

    input_tokens: int
    output_tokens: int


class ChatOutput(BaseModel):
    """What ``llm.chat`` returns."""

    text: str
    model: str
    finish_reason: str
    usage: TokenUsage | None
    cost_usd: float


class LLMConnector(Connector):
    """Language models, within the daily budget."""

    key: ClassVar[str] = "llm"
    display_name: ClassVar[str] = "Language models"
    hosts: ClassVar[tuple[str, ...] | None] = None  # those of the provider

    @classmethod
    def actions(cls) -> Sequence[ActionSpec]:
        """Return the action ``chat``."""
        return [
            ActionSpec(
                name="chat",
                input_schema=ChatInput,
                output_schema=ChatOutput,
                title="Send a conversation to a language model",
            )
        ]

    def execute_action(self, action: str, input_data: dict[str, Any]) -> Any:
        """Run ``chat``: the call is redacted and budgeted, and takes no longer than is left of the step.

        Args:
            action: ``"chat"``.
            input_data: As :class:`ChatInput` describes.

        Returns:
            What :class:`ChatOutput` describes.
        """
        if action != "chat":
            return super().execute_action(action, input_data)
        limits = settings.current().llm
        provider = get_provider(input_data.get("provider") or limits.provider)
        request = provider.request(
            _messages(input_data),
            model=input_data.get("model"),
            temperature=input_data.get("temperature"),
            max_tokens=input_data.get("max_tokens"),
            timeout=max(0.001, min(limits.timeout_seconds, self.ctx.remaining())),
            tenant=self.ctx.tenant,
            run_id=self.ctx.run_id,
            attempt=self.ctx.attempt,
        )
        result = provider.complete(request)
        usage = result.usage
        return {
            "text": result.text,
            "model": result.model,
            "finish_reason": result.finish_reason,
            "usage": usage and {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
            "cost_usd": float(result.cost_usd or 0),
        }


def _messages(data: dict[str, Any]) -> list[dict[str, str]]:
    if data.get("messages"):
        return [dict(message) for message in data["messages"]]
    system = [{"role": "system", "content": data["system"]}] if data.get("system") else []
    return [*system, {"role": "user", "content": data["prompt"]}]
