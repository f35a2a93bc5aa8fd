"""The embedded store: documents in the project's own database, or in a SQLite file.

Keywords are searched with the full-text search of the database. With an embedder, vectors are searched too, exactly,
over a matrix in memory, and both rankings are fused by reciprocal rank.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from automate_core import settings
from automate_core.rag import Document, Embedder, Filters, Hit, RagStore

from automate_rag import statements
from automate_rag.chunking import Chunker
from automate_rag.databases import Database, choose_database
from automate_rag.digests import conditions, digest
from automate_rag.fusion import fuse
from automate_rag.writing import Batch, embedder_digest

if TYPE_CHECKING:
    from automate_rag.vectors import Floats, Matrix, MatrixCache

__all__ = ["EmbeddedStore"]

logger = logging.getLogger("automate.rag")

_DEPTH = 100
"""Documents that each kind of search hands to the fusion, at least."""

Found = tuple[int, int, float]
"""Row id of a document, of its best chunk, and the score of that."""


class EmbeddedStore(RagStore):
    """Documents in the project's own database.

    Good to about 50,000 chunks for each endpoint of a tenant: all their vectors are read into memory, and read again
    after a write.

    Args:
        embedder: Makes the vectors; None means keyword search alone.
        database: Where the rows are; left out, the Django tables where the app ``automate_rag`` is installed, else the
            file that the setting ``RAG.path`` names, else memory.
        chunker: Cuts the documents.
        cache_bytes: How many bytes of vectors to keep in memory.
    """

    key: ClassVar[str] = "embedded"

    def __init__(
        self,
        embedder: Embedder | None = None,
        *,
        database: Database | None = None,
        chunker: Chunker | None = None,
        cache_bytes: int = 268_435_456,
    ) -> None:
        super().__init__(embedder)
        self.database = choose_database(settings.current().rag.path) if database is None else database
        self.chunker = Chunker() if chunker is None else chunker
        self._cache_bytes = cache_bytes
        self._mark = embedder_digest(embedder)
        self._matrices: MatrixCache | None = None

    # -- writing ----------------------------------------------------------------------------------------------------

    def index(self, endpoint: str, documents: Sequence[Document], *, tenant: str) -> int:
        """Write documents, all or none; see :meth:`automate_core.rag.RagStore.index`.

        Args:
            endpoint: The endpoint.
            documents: The documents, no id twice.
            tenant: Whose documents.

        Returns:
            How many documents were handed over.

        Raises:
            RagError: If they cannot be written.
        """
        if not documents:
            return 0
        batch = Batch(documents, self.chunker, self.embedder)
        found = self.database.fetch(statements.ENDPOINT, (digest(tenant, endpoint),))
        # Embedding takes long: it happens before the transaction, and in it only for what changed in between.
        batch.prepare(batch.changed(batch.known(self.database, found[0][0]) if found else {}))
        with self.database.transaction():
            number = self._touch(endpoint, tenant)
            known = batch.known(self.database, number, lock=True)
            batch.prepare(batch.changed(known))
            batch.write(self.database, number, known)
        return len(documents)

    def _touch(self, endpoint: str, tenant: str) -> int:
        key, stamp = digest(tenant, endpoint), uuid4().hex
        self.database.execute(self.database.dialect.touch_endpoint, (key, tenant, endpoint, stamp, stamp))
        return int(self.database.fetch(statements.ENDPOINT + self.database.dialect.lock, (key,))[0][0])

    def delete(self, endpoint: str, ids: Sequence[str], *, tenant: str) -> int:
        """Delete documents by id; see :meth:`automate_core.rag.RagStore.delete`.

        Args:
            endpoint: The endpoint.
            ids: The documents.
            tenant: Whose documents.

        Returns:
            How many were deleted.

        Raises:
            EndpointNotFound: If the tenant has no such endpoint.
        """
        number, _ = self._endpoint(endpoint, tenant)
        keys = sorted({digest(document) for document in ids})
        with self.database.transaction():
            stamp = (uuid4().hex, digest(tenant, endpoint))
            self.database.execute(statements.STAMP_ENDPOINT, stamp)
            found = self.database.fetch_in(statements.KNOWN_DOCUMENTS, keys, [number], lock=True)
            rows = [row[1] for row in found]
            self.database.execute_in(statements.DELETE_CHUNKS, rows)
            self.database.execute_in(statements.DELETE_FACETS, rows)
            self.database.execute_in(statements.DELETE_DOCUMENTS, rows)
        return len(rows)

    # -- reading ----------------------------------------------------------------------------------------------------

    def endpoints(self, *, tenant: str) -> list[str]:
        """Return the sorted names of a tenant's endpoints.

        Args:
            tenant: Whose endpoints.
        """
        return sorted(name for (name,) in self.database.fetch(statements.ENDPOINTS, (tenant,)))

    def _endpoint(self, endpoint: str, tenant: str) -> tuple[int, str]:
        rows = self.database.fetch(statements.ENDPOINT, (digest(tenant, endpoint),))
        if not rows:
            raise self.not_found(endpoint, tenant=tenant)
        number, stamp = rows[0]
        return number, stamp

    def query(self, endpoint: str, text: str, *, tenant: str, top_k: int, filters: Filters) -> list[Hit]:
        """Find the documents that fit a text best; see :meth:`automate_core.rag.RagStore.query`.

        Args:
            endpoint: The endpoint.
            text: The query.
            tenant: Whose documents.
            top_k: How many hits at the most.
            filters: What the metadata must hold.

        Returns:
            The hits, best first.

        Raises:
            EndpointNotFound: If the tenant has no such endpoint.
        """
        number, stamp = self._endpoint(endpoint, tenant)
        wanted = conditions(filters)
        depth = max(top_k, _DEPTH)
        legs = {"keyword": self._search_keywords(number, text, wanted, depth)}
        if self.embedder is not None and text.strip():
            vector = self._embed(self.embedder, text)
            legs["vector"] = self._matrix(number, stamp).search(vector, depth, self._allowed(number, wanted))
        return self._hits(number, legs, top_k)

    def _search_keywords(self, endpoint: int, text: str, wanted: list[list[str]], depth: int) -> list[Found]:
        words = statements.words(text)
        if not words:
            return []
        dialect = self.database.dialect
        sql, parameters = statements.ranked(dialect, wanted)
        rows = self.database.fetch(sql, [*dialect.keyword_parameters(endpoint, words), *parameters, depth])
        return [(document, chunk, float(score)) for document, chunk, score in rows]

    @staticmethod
    def _embed(embedder: Embedder, text: str) -> Floats:
        from automate_rag.vectors import unit

        return unit(embedder.embed_query(text), embedder=embedder.fingerprint)

    def _allowed(self, endpoint: int, wanted: list[list[str]]) -> set[int] | None:
        if not wanted:
            return None
        sql, parameters = statements.allowed(wanted)
        return {row[0] for row in self.database.fetch(sql, [endpoint, *parameters])}

    def _matrix(self, endpoint: int, stamp: str) -> Matrix:
        from automate_rag.vectors import Matrix, MatrixCache

        if self._matrices is None:
            self._matrices = MatrixCache(self._cache_bytes)
        key = (self.database.name, endpoint)
        matrix = self._matrices.get(key, stamp)
        if matrix is None:
            matrix = Matrix.build(self.database.fetch(statements.VECTORS, (endpoint, self._mark)))
            self._matrices.put(key, stamp, matrix)
            ((others,),) = self.database.fetch(statements.OTHER_EMBEDDERS, (endpoint, self._mark))
            if others:
                logger.warning(
                    "%d documents of a RAG endpoint have no vectors of the present embedder and are found by keywords "
                    "alone; index them again.",
                    others,
                    extra={"endpoint_id": endpoint},
                )
        return matrix

    def _hits(self, endpoint: int, legs: dict[str, list[Found]], top_k: int) -> list[Hit]:
        ranking = fuse([found[0] for found in leg] for leg in legs.values())[:top_k]
        scores: dict[int, dict[str, float]] = {document: {} for document, _ in ranking}
        chunks: dict[int, int] = {}
        for name, leg in legs.items():
            for document, chunk, score in leg:
                if document in scores:
                    scores[document][name] = score
                    chunks.setdefault(document, chunk)
        rows = self.database.fetch_in(statements.HITS, list(chunks.values()), [endpoint])
        texts: dict[int, Any] = {row[0]: row[1:] for row in rows}
        hits = []
        for document, score in ranking:
            if document in texts:  # else it was deleted since it was found
                name, content, metadata, passage = texts[document]
                hits.append(Hit(name, content, json.loads(metadata), score, passage, scores[document]))
        return hits

    def close(self) -> None:
        """Close the SQLite file, where this store opened one."""
        self.database.close()
