"""What automate-rag registers with the core."""

from __future__ import annotations

from automate_core.hookspecs import hookimpl
from automate_core.specs import Spec

__all__ = ["automate_register_connectors", "automate_register_embedders", "automate_register_rag_stores"]


@hookimpl
def automate_register_connectors() -> list[Spec]:
    """Register the connector whose actions query and index."""
    return [Spec("rag", "automate_rag.connector:RagConnector", "Document retrieval")]


@hookimpl
def automate_register_rag_stores() -> list[Spec]:
    """Register the embedded store."""
    return [Spec("embedded", "automate_rag.embedded:EmbeddedStore", "Documents in the project's own database")]


@hookimpl
def automate_register_embedders() -> list[Spec]:
    """Register the embedders."""
    return [
        Spec(
            "sentence_transformers",
            "automate_rag.embedders:SentenceTransformersEmbedder",
            "Models of sentence-transformers, in this process",
            requires="automate-rag[sentence-transformers]",
        )
    ]
