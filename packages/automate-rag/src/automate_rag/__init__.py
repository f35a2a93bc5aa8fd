"""Retrieval for Automate: keyword, vector and hybrid search in your own database."""

from automate_rag.__about__ import __version__

__all__ = ["__version__"]
