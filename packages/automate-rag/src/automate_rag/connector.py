"""The connector ``rag``: retrieval as actions of a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from automate_core.connectors import ActionSpec, Connector
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from automate_rag.api import MAX_QUERY_LENGTH, MAX_TOP_K, index_documents, query

__all__ = ["DocumentInput", "HitOutput", "IndexInput", "IndexOutput", "QueryInput", "QueryOutput", "RagConnector"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class QueryInput(_Model):
    """What ``rag.query`` takes."""

    endpoint: str = Field(description="The endpoint's slug.")
    query_text: str = Field(max_length=MAX_QUERY_LENGTH, description="The query, in natural language.")
    top_k: int = Field(5, ge=1, le=MAX_TOP_K, description="How many hits at the most.")
    filters: dict[str, JsonValue] | None = Field(None, description="What the metadata must hold.")


class HitOutput(_Model):
    """One document that was found."""

    id: str
    content: str
    metadata: dict[str, JsonValue]
    score: float
    passage: str
    scores: dict[str, float]


class QueryOutput(_Model):
    """What ``rag.query`` returns."""

    documents: list[HitOutput] = Field(description="The hits, best first.")


class DocumentInput(_Model):
    """One document to index."""

    id: str
    content: str
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class IndexInput(_Model):
    """What ``rag.index`` takes."""

    endpoint: str = Field(description="The endpoint's slug.")
    documents: list[DocumentInput] = Field(description="The documents; one with an existing id replaces it.")


class IndexOutput(_Model):
    """What ``rag.index`` returns."""

    indexed: int = Field(description="How many documents were indexed.")


class RagConnector(Connector):
    """Query and index documents. The tenant is that of the run: no input can name another one."""

    key: ClassVar[str] = "rag"
    display_name: ClassVar[str] = "Document retrieval"
    hosts: ClassVar[tuple[str, ...] | None] = None  # those of the embedder and the store

    @classmethod
    def actions(cls) -> Sequence[ActionSpec]:
        """Return ``query`` and ``index``."""
        return [
            ActionSpec("query", QueryInput, QueryOutput, idempotent=True, title="Find the documents that fit a text"),
            ActionSpec("index", IndexInput, IndexOutput, idempotent=True, title="Write documents into an endpoint"),
        ]

    def execute_action(self, action: str, input_data: dict[str, Any]) -> Any:
        """Run one action.

        Args:
            action: ``query`` or ``index``.
            input_data: Its validated input.

        Returns:
            The action's output.
        """
        if action == "query":
            return {"documents": query(**input_data, tenant=self.ctx.tenant)}
        if action == "index":
            return {"indexed": index_documents(**input_data, tenant=self.ctx.tenant)}
        return super().execute_action(action, input_data)
