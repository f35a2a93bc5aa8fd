"""Writing documents: what is to be done is found out first, and done in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from automate_core.rag import Chunk, Document, Embedder

from automate_rag import statements
from automate_rag.chunking import Chunker
from automate_rag.databases import Database
from automate_rag.digests import digest, facets

__all__ = ["Batch", "Known", "embedder_digest"]


def embedder_digest(embedder: Embedder | None) -> str:
    """Return what the rows of an embedder are marked with; nothing where there is none.

    Args:
        embedder: The embedder.
    """
    return digest(embedder.fingerprint) if embedder is not None else ""


@dataclass(frozen=True, slots=True)
class Known:
    """What the database holds of a document: its row id, the hash of its content, its metadata as JSON text."""

    id: int
    content_hash: str
    metadata: str


@dataclass(frozen=True, slots=True)
class _Row:
    document: Document
    content_hash: str
    metadata: str


class Batch:
    """Documents on their way into one endpoint.

    Args:
        documents: The documents, no id twice.
        chunker: Cuts them.
        embedder: Embeds the chunks; None leaves them without vectors.
    """

    def __init__(self, documents: Sequence[Document], chunker: Chunker, embedder: Embedder | None) -> None:
        self._chunker = chunker
        self._embedder = embedder
        self._mark = embedder_digest(embedder)
        self._chunks: dict[str, list[tuple[Chunk, bytes | None]]] = {}
        self._rows = {digest(document.id): self._row(document) for document in documents}

    def _row(self, document: Document) -> _Row:
        # Metadata is no part of the hash: a new time stamp in it must not embed the document anew.
        content_hash = digest(document.content, self._chunker.fingerprint, self._mark)
        return _Row(document, content_hash, document.metadata_json())

    def known(self, database: Database, endpoint: int, *, lock: bool = False) -> dict[str, Known]:
        """Return what the database holds of these documents, by the digest of their ids.

        Args:
            database: The database.
            endpoint: Row id of the endpoint.
            lock: Whether to lock the rows.
        """
        rows = database.fetch_in(statements.KNOWN_DOCUMENTS, list(self._rows), [endpoint], lock=lock)
        return {key: Known(*rest) for key, *rest in rows}

    def changed(self, known: dict[str, Known]) -> list[str]:
        """Return the digests of the documents that are new, or have other chunks or vectors than the stored ones.

        Args:
            known: What the database holds of them, by digest.
        """
        return [
            key for key, row in self._rows.items() if key not in known or known[key].content_hash != row.content_hash
        ]

    def prepare(self, keys: Collection[str]) -> None:
        """Cut and embed documents, those that are ready already excepted.

        Args:
            keys: The digests of their ids.

        Raises:
            RagError: If the embedder fails.
        """
        missing = [key for key in keys if key not in self._chunks]
        chunks = {key: self._chunker.split(self._rows[key].document) for key in missing}
        vectors = iter(self._embed([chunk.text for part in chunks.values() for chunk in part]))
        for key, part in chunks.items():
            self._chunks[key] = [(chunk, next(vectors)) for chunk in part]

    def _embed(self, texts: list[str]) -> Sequence[bytes | None]:
        if self._embedder is None or not texts:
            return [None] * len(texts)
        from automate_rag.vectors import encode

        vectors = self._embedder.embed_documents(texts)
        return encode(vectors, len(texts), embedder=self._embedder.fingerprint)

    def write(self, database: Database, endpoint: int, known: dict[str, Known]) -> None:
        """Write the documents; call it in a transaction that holds the endpoint's row, when they are prepared.

        Args:
            database: The database.
            endpoint: Row id of the endpoint.
            known: What the database holds of them, locked.
        """
        changed = self.changed(known)
        new = [key for key in changed if key not in known]
        moved = {key for key, row in self._rows.items() if key in known and known[key].metadata != row.metadata}
        replaced = [key for key in changed if key in known]
        database.execute_many(
            statements.INSERT_DOCUMENT,
            [(endpoint, key, self._rows[key].document.id, *self._values(key)) for key in new],
        )
        touched = [key for key in self._rows if key in moved or key in replaced]
        database.execute_many(statements.UPDATE_DOCUMENT, [(*self._values(key), known[key].id) for key in touched])
        # The rows that were just inserted have ids now.
        stored = self.known(database, endpoint, lock=True) if new else known
        database.execute_in(statements.DELETE_CHUNKS, [known[key].id for key in replaced])
        database.execute_in(statements.DELETE_FACETS, [known[key].id for key in moved])
        self._write_parts(database, endpoint, stored, changed, [*new, *moved])

    def _values(self, key: str) -> tuple[str, str, str, str]:
        row = self._rows[key]
        return row.document.content, row.metadata, row.content_hash, self._mark

    def _write_parts(
        self, database: Database, endpoint: int, stored: dict[str, Known], chunks: list[str], facet_owners: list[str]
    ) -> None:
        chunk_rows: list[tuple[Any, ...]] = [
            (endpoint, stored[key].id, chunk.ordinal, chunk.text, vector)
            for key in chunks
            for chunk, vector in self._chunks[key]
        ]
        database.execute_many(statements.INSERT_CHUNK, chunk_rows)
        facet_rows = [
            (stored[key].id, facet)
            for key in facet_owners
            for facet in sorted(facets(self._rows[key].document.metadata))
        ]
        database.execute_many(statements.INSERT_FACET, facet_rows)
