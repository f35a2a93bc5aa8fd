"""Alias of automate_rag, for the import line of the specification."""

from automate_rag import adelete_documents, aindex_documents, aquery, delete_documents, index_documents, query

__all__ = ["adelete_documents", "aindex_documents", "aquery", "delete_documents", "index_documents", "query"]
