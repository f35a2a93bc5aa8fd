"""Vectors: their form in the database, exact search over a matrix, and a cache of matrices. The one user of numpy."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from automate_core.errors import RagError
from numpy.typing import NDArray

__all__ = ["Matrix", "MatrixCache", "encode", "unit"]

Floats = NDArray[np.float32]


def _array(vectors: Any, shape: tuple[int, ...], embedder: str) -> Floats:
    try:
        array = np.asarray(vectors, dtype="<f4")
    except (TypeError, ValueError, OverflowError) as error:
        raise RagError(f"The embedder {embedder!r} returned what is no array of numbers: {error}.") from error
    if array.ndim != len(shape) + 1 or array.shape[:-1] != shape or array.shape[-1] == 0:
        raise RagError(
            f"The embedder {embedder!r} returned an array of shape {array.shape}; {(*shape, 'dimensions')} is right."
        )
    if not np.isfinite(array).all():
        raise RagError(f"The embedder {embedder!r} returned a vector that is not finite.")
    return array


def _scaled(array: Floats) -> Floats:
    norms = np.linalg.norm(array, axis=-1, keepdims=True)
    scaled: Floats = np.divide(array, norms, out=np.zeros_like(array), where=norms > 0)
    return scaled


def encode(vectors: Any, count: int, *, embedder: str) -> list[bytes]:
    """Bring vectors into the form of the database.

    Args:
        vectors: What an embedder returned, shape (count, dimensions).
        count: How many there must be.
        embedder: Its fingerprint, for messages.

    Returns:
        float32, little-endian, scaled to length 1, one after another.

    Raises:
        RagError: If the shape is another one, or a value is not finite.
    """
    return [row.tobytes() for row in _scaled(_array(vectors, (count,), embedder))]


def unit(vector: Any, *, embedder: str) -> Floats:
    """Scale the vector of a query to length 1.

    Args:
        vector: What an embedder returned, shape (dimensions,).
        embedder: Its fingerprint, for messages.

    Returns:
        The vector; zeros stay zeros.

    Raises:
        RagError: If the shape is another one, or a value is not finite.
    """
    return _scaled(_array(vector, (), embedder))


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """The vectors of one endpoint of one tenant, in memory.

    Args:
        documents: Row ids of the d documents, rising, shape (d,).
        starts: Where each document's chunks begin, shape (d,).
        chunks: Row ids of the n chunks, by document, shape (n,).
        vectors: Their vectors of length 1, shape (n, dimensions).
    """

    documents: NDArray[np.int64]
    starts: NDArray[np.intp]
    chunks: NDArray[np.int64]
    vectors: Floats

    @classmethod
    def build(cls, rows: Sequence[tuple[Any, ...]]) -> Matrix:
        """Make the matrix.

        Args:
            rows: Row ids of document and chunk, and the vector as bytes, in the order of the documents.

        Returns:
            The matrix.

        Raises:
            RagError: If the vectors differ in length.
        """
        if not rows:
            none = np.empty(0, dtype=np.int64)
            return cls(none, none.astype(np.intp), none, np.empty((0, 0), dtype="<f4"))
        owners = np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))
        chunks = np.fromiter((row[1] for row in rows), dtype=np.int64, count=len(rows))
        try:
            vectors = np.frombuffer(b"".join(row[2] for row in rows), dtype="<f4").reshape(len(rows), -1)
        except ValueError as error:
            raise RagError("The stored vectors differ in length; index the documents again.") from error
        starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
        return cls(owners[starts], starts, chunks, vectors)

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return self.documents.nbytes + self.starts.nbytes + self.chunks.nbytes + self.vectors.nbytes

    def search(self, query: Floats, limit: int, allowed: Collection[int] | None) -> list[tuple[int, int, float]]:
        """Find the documents whose best chunk is nearest to a query, exactly.

        Args:
            query: Its vector of length 1, shape (dimensions,).
            limit: How many documents at the most.
            allowed: Row ids of the documents that may be found; None means all.

        Returns:
            Document, chunk and cosine, nearest first; only what is nearer than a right angle.

        Raises:
            RagError: If the query's vector has another length than the stored ones.
        """
        if not len(self.documents):
            return []
        if query.shape[0] != self.vectors.shape[1]:
            raise RagError(
                f"The query's vector has {query.shape[0]} dimensions, the stored ones have {self.vectors.shape[1]}: "
                "the embedder changed without a new version. Raise its version and index the documents again."
            )
        cosines = self.vectors @ query
        best = np.maximum.reduceat(cosines, self.starts)
        if allowed is not None:
            best[~np.isin(self.documents, np.fromiter(allowed, dtype=np.int64, count=len(allowed)))] = 0
        count = min(limit, len(best))
        top = np.argpartition(-best, count - 1)[:count]
        top = top[np.lexsort((self.documents[top], -best[top]))]
        return [self._hit(int(place), cosines) for place in top if best[place] > 0]

    def _hit(self, place: int, cosines: Floats) -> tuple[int, int, float]:
        start = int(self.starts[place])
        end = int(self.starts[place + 1]) if place + 1 < len(self.starts) else len(cosines)
        chunk = start + int(np.argmax(cosines[start:end]))
        return int(self.documents[place]), int(self.chunks[chunk]), float(cosines[chunk])


class MatrixCache:
    """Keeps the matrices that were used last.

    Args:
        capacity: How many bytes to keep; the matrix that was used last is kept whatever its size.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._entries: OrderedDict[Any, tuple[str, Matrix]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, stamp: str) -> Matrix | None:
        """Return a matrix, if it is there and its endpoint was not written since.

        Args:
            key: Which.
            stamp: The endpoint's present stamp.
        """
        with self._lock:
            found = self._entries.get(key)
            if found is None or found[0] != stamp:
                return None
            self._entries.move_to_end(key)
            return found[1]

    def put(self, key: Any, stamp: str, matrix: Matrix) -> None:
        """Keep a matrix.

        Args:
            key: Which.
            stamp: The endpoint's stamp, read before the matrix was.
            matrix: The matrix.
        """
        with self._lock:
            self._entries[key] = (stamp, matrix)
            self._entries.move_to_end(key)
            size = sum(kept.nbytes for _, kept in self._entries.values())
            while size > self.capacity and len(self._entries) > 1:
                _, (_, dropped) = self._entries.popitem(last=False)
                size -= dropped.nbytes
