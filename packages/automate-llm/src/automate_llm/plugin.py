"""What automate-llm registers with the core."""

from __future__ import annotations

from automate_core.hookspecs import hookimpl
from automate_core.specs import Spec

__all__ = ["automate_register_connectors", "automate_register_llm_providers"]


@hookimpl
def automate_register_connectors() -> list[Spec]:
    """Register the connector ``llm``."""
    return [Spec("llm", "automate_llm.connector:LLMConnector", "Language models")]


@hookimpl
def automate_register_llm_providers() -> list[Spec]:
    """Register the providers; their SDKs are imported at the first call."""
    return [
        Spec("openai", "automate_llm.providers.openai:OpenAIProvider", "OpenAI", "automate-llm[openai]"),
        Spec("anthropic", "automate_llm.providers.anthropic:AnthropicProvider", "Anthropic", "automate-llm[anthropic]"),
    ]
