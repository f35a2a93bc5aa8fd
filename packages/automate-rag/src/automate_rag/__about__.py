"""The version of automate-rag."""

__version__ = "0.1.0"
