"""Retrieval for Automate: keyword, vector and hybrid search in your own database."""

from automate_rag.__about__ import __version__
from automate_rag.api import (
    adelete_documents,
    aindex_documents,
    aquery,
    delete_documents,
    index_documents,
    query,
)

__all__ = [
    "__version__",
    "adelete_documents",
    "aindex_documents",
    "aquery",
    "delete_documents",
    "index_documents",
    "query",
]
