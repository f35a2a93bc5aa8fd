"""An LLM gateway for Automate with a budget that is reserved before each call."""

from automate_llm.__about__ import __version__

__all__ = ["__version__"]
