"""OpenAI, and servers with the same interface: set ``LLM.providers.openai.base_url``."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from automate_core.egress import EgressPolicy
from automate_core.errors import PluginLoadError
from automate_core.llm import ChatRequest, ChatResult, Usage

from automate_llm.providers._sdk import SDKProvider

__all__ = ["OpenAIProvider"]

FINISH_REASONS = {"content_filter": "refusal", "function_call": "tool_calls"}


class OpenAIProvider(SDKProvider):
    """OpenAI's chat completions.

    ``max_tokens`` is sent as ``max_completion_tokens``, which bounds thinking too and which every current model takes.
    """

    key = "openai"
    default_model = "gpt-5.4-mini"
    default_api_key = "$env:OPENAI_API_KEY"
    default_base_url = "https://api.openai.com/v1"
    base_url_variable = "OPENAI_BASE_URL"
    option_names = frozenset(
        {"top_p", "seed", "response_format", "presence_penalty", "frequency_penalty", "reasoning_effort", "verbosity"}
    )
    too_long_marks = ("context_length_exceeded", "maximum context length")

    def _sdk(self) -> ModuleType:
        try:
            import openai
        except ImportError as error:
            raise PluginLoadError(
                f"The provider 'openai' needs a module that is missing ({error}). Install it: "
                "pip install 'automate-llm[openai]'"
            ) from error
        return openai

    def _new_client(self, key: str, policy: EgressPolicy) -> Any:
        sdk = self._sdk()
        from automate_llm.providers._http import sync_client

        return sdk.OpenAI(api_key=key, base_url=self.base_url, max_retries=0, http_client=sync_client(policy))

    def _new_async_client(self, key: str, policy: EgressPolicy) -> Any:
        sdk = self._sdk()
        from automate_llm.providers._http import async_client

        return sdk.AsyncOpenAI(api_key=key, base_url=self.base_url, max_retries=0, http_client=async_client(policy))

    def _send(self, client: Any, request: ChatRequest) -> Any:
        arguments: dict[str, Any] = dict(request.options)
        if request.temperature is not None:
            arguments["temperature"] = request.temperature
        if request.stop:
            arguments["stop"] = list(request.stop)
        return client.chat.completions.create(
            model=request.model,
            messages=[{"role": message.role, "content": message.content} for message in request.messages],
            max_completion_tokens=request.max_tokens,
            timeout=request.timeout,
            **arguments,
        )

    def _read(self, answer: Any) -> ChatResult:
        choice = answer.choices[0]
        refusal = getattr(choice.message, "refusal", None)
        reason = "refusal" if refusal else choice.finish_reason or "stop"
        usage = answer.usage
        return ChatResult(
            text=str(choice.message.content or refusal or ""),
            model=str(answer.model),
            usage=None if usage is None else Usage(usage.prompt_tokens, usage.completion_tokens),
            finish_reason=FINISH_REASONS.get(reason, reason),
        )
