"""Anthropic."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

from automate_core.egress import EgressPolicy
from automate_core.errors import LLMError, PluginLoadError
from automate_core.llm import ChatRequest, ChatResult, Usage

from automate_llm.providers._sdk import SDKProvider

__all__ = ["AnthropicProvider"]

logger = logging.getLogger("automate.llm")

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
}


class AnthropicProvider(SDKProvider):
    """Anthropic's messages.

    - Messages of the roles ``system`` and ``developer``, wherever they stand, become the one ``system`` text.
    - ``temperature`` is dropped: the interface no longer takes it, nor ``top_p`` or ``top_k``.
    - ``stop`` is sent as ``stop_sequences``.
    - A model near the end of its life is named in the log, once; the SDK's warning is not raised.
    """

    key = "anthropic"
    default_model = "claude-haiku-4-5"
    default_api_key = "$env:ANTHROPIC_API_KEY"
    default_base_url = "https://api.anthropic.com"
    base_url_variable = "ANTHROPIC_BASE_URL"
    option_names = frozenset({"thinking", "output_config"})
    too_long_marks = ("prompt is too long", "exceed context limit", "exceeds context limit")

    def _sdk(self) -> ModuleType:
        try:
            import anthropic
        except ImportError as error:
            raise PluginLoadError(
                f"The provider 'anthropic' needs a module that is missing ({error}). Install it: "
                "pip install 'automate-llm[anthropic]'"
            ) from error
        return anthropic

    def _new_client(self, key: str, policy: EgressPolicy) -> Any:
        sdk = self._sdk()
        from automate_llm.providers._http import sync_client

        return sdk.Anthropic(api_key=key, base_url=self.base_url, max_retries=0, http_client=sync_client(policy))

    def _new_async_client(self, key: str, policy: EgressPolicy) -> Any:
        sdk = self._sdk()
        from automate_llm.providers._http import async_client

        return sdk.AsyncAnthropic(api_key=key, base_url=self.base_url, max_retries=0, http_client=async_client(policy))

    def _send(self, client: Any, request: ChatRequest) -> Any:
        system = [message.content for message in request.messages if message.role in ("system", "developer")]
        turns = [
            {"role": message.role, "content": message.content}
            for message in request.messages
            if message.role in ("user", "assistant")
        ]
        if not turns:
            raise LLMError("Anthropic needs a message of the role 'user'.", context={"billed": False})
        arguments: dict[str, Any] = dict(request.options)
        if system:
            arguments["system"] = "\n\n".join(system)
        if request.stop:
            arguments["stop_sequences"] = list(request.stop)
        _tell_of_retirement(request.model)
        # The SDK warns of a model's end of life through `warnings`, which cannot be silenced for one thread alone. What
        # extra_body holds comes first, and the SDK does not look at it.
        return client.messages.create(
            model="",
            extra_body={"model": request.model},
            messages=turns,
            max_tokens=request.max_tokens,
            timeout=request.timeout,
            **arguments,
        )

    def _read(self, answer: Any) -> ChatResult:
        usage = answer.usage
        reason = answer.stop_reason or "end_turn"
        return ChatResult(
            text="".join(block.text for block in answer.content if block.type == "text"),
            model=str(answer.model),
            usage=None if usage is None else Usage(_input_tokens(usage), usage.output_tokens),
            finish_reason=FINISH_REASONS.get(reason, reason),
        )


def _input_tokens(usage: Any) -> int:
    """Add what was written to the cache and read from it, which the vendor counts apart."""
    written, read = usage.cache_creation_input_tokens, usage.cache_read_input_tokens
    return int(usage.input_tokens) + int(written or 0) + int(read or 0)


_told: set[str] = set()


def _tell_of_retirement(model: str) -> None:
    from anthropic.resources import messages

    retired_on = getattr(messages, "DEPRECATED_MODELS", {}).get(model)
    if retired_on and model not in _told:
        _told.add(model)
        logger.warning("Anthropic ends the model %s on %s; choose another one", model, retired_on)
