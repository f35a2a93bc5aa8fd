"""What a document store and an embedder are. The embedded store is in ``automate_rag``.

Documents live in an *endpoint* of a *tenant*; no method of a store can be called without saying whose documents are
meant. What a metadata filter means is defined here, by :func:`flatten` and :func:`normalize_filters`, once for every
store.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from automate_core.errors import EndpointNotFound, RagError, nearby

__all__ = [
    "MAX_FILTER_PATHS",
    "MAX_FILTER_VALUES",
    "MAX_ID_LENGTH",
    "MAX_METADATA_BYTES",
    "Chunk",
    "Document",
    "Embedder",
    "Filters",
    "Hit",
    "RagStore",
    "Scalar",
    "check_text",
    "flatten",
    "normalize_filters",
]

MAX_ID_LENGTH = 500
"""Longest id of a document, in characters."""

MAX_METADATA_BYTES = 65_536
"""Largest metadata of a document, as JSON."""

MAX_FILTER_PATHS = 32
"""Most paths that the filters of a query can ask for: a database plans each as a join."""

MAX_FILTER_VALUES = 1000
"""Most values that the filters of a query can hold in all."""

_MAX_DEPTH = 16
_MAX_BITS = 1024

Scalar = str | int | float | bool | None
"""A value that a filter can ask for."""

Filters = Mapping[str, Sequence[Scalar]]
"""Filters as a store gets them: every path must have one of its values; see :func:`normalize_filters`."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def check_text(value: Any, what: str) -> str:
    """Check that a value is text that every database can store.

    Args:
        value: The value.
        what: What it is, for the message.

    Returns:
        The value.

    Raises:
        RagError: If it is no text, or holds NUL or a lone surrogate.
    """
    if not isinstance(value, str):
        raise RagError(f"{what} must be text, not {type(value).__name__}.")
    if found := _UNSTORABLE.search(value):
        name = "NUL" if found.group() == "\x00" else "a lone surrogate"
        raise RagError(f"{what} holds {name} at position {found.start()}; remove it.")
    return value


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is handed to a store; one that exists is valid.

    Args:
        id: Its name within the endpoint, 1 to 500 characters. Indexing an id again replaces the document.
        content: Its text, not blank.
        metadata: JSON object with what filters can ask for.

    Raises:
        RagError: If a value has the wrong type, is empty, cannot be stored, or is too large.
    """

    id: str
    content: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_text(self.id, "id")
        if not 0 < len(self.id) <= MAX_ID_LENGTH:
            raise RagError(f"id must have 1 to {MAX_ID_LENGTH} characters, not {len(self.id)}.")
        check_text(self.content, "content")
        if not self.content.strip():
            raise RagError("content is blank, and no query could find it; to take a document away, delete its id.")
        if not isinstance(self.metadata, dict):
            raise RagError(f"metadata must be a dict, not {type(self.metadata).__name__}.")
        _check_json(self.metadata, "metadata", depth=0)
        size = len(self.metadata_json().encode())
        if size > MAX_METADATA_BYTES:
            raise RagError(f"metadata has {size} bytes as JSON; at most {MAX_METADATA_BYTES} are allowed.")

    def metadata_json(self) -> str:
        """Return the metadata as JSON text, in the order of its keys."""
        return json.dumps(self.metadata, ensure_ascii=False, separators=(",", ":"))


def _check_json(value: Any, where: str, *, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise RagError(f"{where} is nested deeper than {_MAX_DEPTH} levels.")
    if isinstance(value, str):
        check_text(value, where)
    elif isinstance(value, int | float):
        _check_number(value, where)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key, f"a key of {where}")
            _check_json(item, f"{where}.{key}", depth=depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_json(item, f"{where}[{index}]", depth=depth + 1)
    elif value is not None:
        raise RagError(f"{where} is of type {type(value).__name__}; metadata takes JSON values only.")


def _check_number(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise RagError(f"{where} is {value}, which JSON cannot hold.")
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise RagError(f"{where} is an integer of {value.bit_length()} bits; at most {_MAX_BITS} are allowed.")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document: what is searched and embedded.

    Args:
        document_id: The document.
        ordinal: Its number within the document, from 0.
        start: Where it begins in the document's content, in characters.
        text: Its text.
    """

    document_id: str
    ordinal: int
    start: int
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that a query found.

    Args:
        id: The document.
        content: Its text, whole.
        metadata: Its metadata.
        score: More than 0 and at most 1; 1 is first in every kind of search that ran. It orders the hits of one
            query and says nothing across queries.
        passage: The chunk that fits the query best; the whole content where the document is short.
        scores: What each kind of search measured, such as ``{"keyword": 7.1, "vector": 0.63}``, in its own unit.
    """

    id: str
    content: str
    metadata: Mapping[str, Any]
    score: float
    passage: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)


def flatten(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Scalar]]:
    """Yield what filters can ask of a document's metadata.

    Args:
        metadata: The metadata.

    Yields:
        Dotted path and value: ``{"a": {"b": 1}}`` gives ``("a.b", 1)``. A list gives each of its items, so
        ``{"tags": ["x", "y"]}`` answers to either.
    """
    for key, value in metadata.items():
        yield from _leaves(key, value)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Scalar]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}", item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(path, item)
    else:
        yield path, value


def normalize_filters(filters: Mapping[str, Any] | None) -> dict[str, tuple[Scalar, ...]]:
    """Check filters and bring them into the one form that stores get.

    Args:
        filters: Dotted path to a value, or to a list of values any of which will do. All paths must fit.
            ``True`` is not ``1``, ``1`` is ``1.0``, ``"1"`` is neither, and ``None`` asks for a null that is there.

    Returns:
        Each path with its values.

    Raises:
        RagError: If a filter has another form, or there are too many: nothing is ever ignored.
    """
    if filters is None:
        return {}
    if not isinstance(filters, Mapping):
        raise RagError(f"filters must be a mapping of metadata paths to values, not {type(filters).__name__}.")
    wanted = {check_text(path, "a filter's path"): _wanted(path, value) for path, value in filters.items()}
    values = sum(len(choices) for choices in wanted.values())
    if len(wanted) > MAX_FILTER_PATHS or values > MAX_FILTER_VALUES:
        raise RagError(
            f"filters have {len(wanted)} paths and {values} values; at most {MAX_FILTER_PATHS} and {MAX_FILTER_VALUES} "
            "are allowed."
        )
    return wanted


def _wanted(path: str, value: Any) -> tuple[Scalar, ...]:
    values = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
    if not values:
        raise RagError(f"filters[{path!r}] is an empty list, which nothing can match; leave the filter out.")
    for item in values:
        if isinstance(item, str):
            check_text(item, f"filters[{path!r}]")
        elif isinstance(item, int | float):
            _check_number(item, f"filters[{path!r}]")
        elif item is not None:
            raise RagError(
                f"filters[{path!r}] is of type {type(item).__name__}; a filter is a text, number, boolean or None, or "
                "a list of them. Ask for a nested value by its dotted path."
            )
    return values


class Embedder(ABC):
    """Base class of every embedder: text to vectors.

    Args:
        model: Which model, where the embedder has several: what follows the colon in
            ``RAG.embedder = "sentence_transformers:all-MiniLM-L6-v2"``.
    """

    key: ClassVar[str] = ""
    """The name under which it is registered."""

    version: ClassVar[str] = "1"
    """Raised when the same text gets other vectors than before, so that documents are embedded anew."""

    def __init__(self, model: str = "") -> None:
        self.model = model

    @property
    def fingerprint(self) -> str:
        """What names these vectors: vectors of two fingerprints are never compared."""
        return f"{self.key}:{self.model}:{self.version}"

    @abstractmethod
    def embed_documents(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Embed passages.

        Args:
            texts: n texts.

        Returns:
            n vectors of one length, as lists or as an array of shape (n, dimensions).
        """

    @abstractmethod
    def embed_query(self, text: str) -> Sequence[float]:
        """Embed a query.

        Args:
            text: The query.

        Returns:
            One vector, as long as those of the passages.
        """


class RagStore(ABC):
    """Base class of every document store.

    The store keeps the documents of each (endpoint, tenant) apart: nothing that is written under one tenant is ever
    found under another. It searches by keywords, and by vectors too where it has an embedder.

    Args:
        embedder: Makes the vectors; None means keyword search alone.
    """

    key: ClassVar[str] = ""
    """The name under which it is registered."""

    def __init__(self, embedder: Embedder | None = None) -> None:
        self.embedder = embedder

    @abstractmethod
    def index(self, endpoint: str, documents: Sequence[Document], *, tenant: str) -> int:
        """Write documents, all or none; one with the id of an existing document replaces it.

        A document whose content did not change is not embedded again, and its metadata is updated all the same.

        Args:
            endpoint: The endpoint; it comes into being with its first document.
            documents: The documents, no id twice.
            tenant: Whose documents.

        Returns:
            How many documents were handed over.

        Raises:
            RagError: If they cannot be written; then none is.
        """

    @abstractmethod
    def query(self, endpoint: str, text: str, *, tenant: str, top_k: int, filters: Filters) -> list[Hit]:
        """Find the documents that fit a text best.

        Args:
            endpoint: The endpoint.
            text: The query, in natural language; nothing in it is syntax.
            tenant: Whose documents.
            top_k: How many hits at the most.
            filters: What the metadata must hold; applied before hits are counted, never after.

        Returns:
            The hits, best first, each document once.

        Raises:
            EndpointNotFound: If nothing was ever indexed into the endpoint by this tenant.
            RagError: If a filter cannot be applied.
        """

    @abstractmethod
    def delete(self, endpoint: str, ids: Sequence[str], *, tenant: str) -> int:
        """Delete documents by id; ids that do not exist are passed over.

        Args:
            endpoint: The endpoint; it stays, even when it is empty.
            ids: The documents.
            tenant: Whose documents.

        Returns:
            How many were deleted.

        Raises:
            EndpointNotFound: If nothing was ever indexed into the endpoint by this tenant.
        """

    @abstractmethod
    def endpoints(self, *, tenant: str) -> list[str]:
        """Return the sorted names of a tenant's endpoints.

        Args:
            tenant: Whose endpoints.
        """

    def close(self) -> None:
        """Give back what the store holds open. A store that holds nothing need not override this."""
        return

    def not_found(self, endpoint: str, *, tenant: str) -> EndpointNotFound:
        """Return the error for an endpoint that does not exist, naming the tenant's nearby ones.

        Args:
            endpoint: The endpoint that was asked for.
            tenant: Who asked.
        """
        return EndpointNotFound(
            f"No documents were ever indexed into the endpoint {endpoint!r}."
            f"{nearby(endpoint, self.endpoints(tenant=tenant))}",
            context={"endpoint": endpoint},
        )
