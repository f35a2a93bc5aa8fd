"""The version of automate-llm."""

__version__ = "0.1.0"
