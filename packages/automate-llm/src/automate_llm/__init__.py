"""An LLM gateway for Automate with a budget that is reserved before each call."""

from automate_llm.__about__ import __version__
from automate_llm.gateway import achat, chat, get_provider
from automate_llm.tokens import count_tokens

__all__ = ["__version__", "achat", "chat", "count_tokens", "get_provider"]
