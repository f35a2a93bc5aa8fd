"""The functions that everyone calls: index documents, query them, delete them.

Each has an asynchronous twin. ``tenant`` says whose documents are meant; a project without tenants leaves it out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from automate_core.errors import RagError, nearby
from automate_core.rag import Document, Hit, check_text, normalize_filters
from automate_core.redaction import redact, redact_text

from automate_rag.databases import django_is_ready
from automate_rag.stores import get_store

__all__ = ["MAX_QUERY_LENGTH", "MAX_TOP_K", "adelete_documents", "aindex_documents", "aquery"]
__all__ += ["delete_documents", "index_documents", "query"]

MAX_QUERY_LENGTH = 20_000
"""Longest query, in characters."""

MAX_TOP_K = 1000
"""Most hits that a query can ask for."""

_ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_FIELDS = ("id", "content", "metadata")

Result = TypeVar("Result")


def query(
    endpoint: str,
    query_text: str,
    top_k: int = 5,
    filters: Mapping[str, Any] | None = None,
    *,
    tenant: str = "",
    **kwargs: Any,
) -> list[dict[str, Any]]:
    """Find the documents of an endpoint that fit a query best.

    Args:
        endpoint: The endpoint's slug.
        query_text: The query, in natural language; nothing in it is syntax. Secrets are removed from it.
        top_k: How many hits at the most, 1 to 1,000.
        filters: What the metadata must hold: dotted path to a value, or to a list of values any of which will do.
        tenant: Whose documents.
        **kwargs: None exist yet; an unknown one is an error.

    Returns:
        A dict for each document, best first, with ``id``, ``content``, ``metadata``, ``score`` (more than 0 and at most
        1, for the order within this answer), ``passage`` (the part that fits best) and ``scores`` (what each kind of
        search measured).

    Raises:
        EndpointNotFound: If nothing was ever indexed into the endpoint; the message names the nearby ones.
        RagError: If an argument is wrong, or a filter cannot be applied.
    """
    if kwargs:
        name = sorted(kwargs)[0]
        raise RagError(f"query() has no option {name!r}.{nearby(name, ('top_k', 'filters', 'tenant'))}")
    _check_query(query_text, top_k)
    wanted = normalize_filters(filters)
    _check_names(endpoint, tenant)
    hits = get_store().query(endpoint, redact_text(query_text), tenant=tenant, top_k=top_k, filters=wanted)
    return [_as_dict(hit) for hit in hits]


def index_documents(endpoint: str, documents: Sequence[Mapping[str, Any]], *, tenant: str = "") -> int:
    """Write documents into an endpoint, all or none. A document with the id of an existing one replaces it.

    In a Django project the rows are written in the caller's transaction.

    Args:
        endpoint: The endpoint's slug: letters, digits, ``.``, ``_``, ``-``. Its first document brings it into being.
        documents: Mappings with ``id`` and ``content``, and ``metadata`` where there is any. Secrets are removed from
            content and metadata before anything is written or embedded.
        tenant: Whose documents.

    Returns:
        How many documents were indexed, unchanged ones included.

    Raises:
        RagError: If a document is wrong; the message says which and how, and nothing is written.
    """
    _check_names(endpoint, tenant)
    if not _ENDPOINT.fullmatch(endpoint):
        raise RagError(f"{endpoint!r} cannot name an endpoint: use up to 200 letters, digits, '.', '_' and '-'.")
    return get_store().index(endpoint, _documents(documents), tenant=tenant)


def delete_documents(endpoint: str, ids: Sequence[str], *, tenant: str = "") -> int:
    """Delete documents by id; ids that do not exist are passed over.

    Args:
        endpoint: The endpoint's slug.
        ids: The documents.
        tenant: Whose documents.

    Returns:
        How many were deleted.

    Raises:
        EndpointNotFound: If nothing was ever indexed into the endpoint.
        RagError: If an argument is wrong.
    """
    _check_names(endpoint, tenant)
    if isinstance(ids, str) or not isinstance(ids, Sequence | set | frozenset):
        raise RagError(f"ids must be a list of document ids, not {type(ids).__name__}.")
    checked = [check_text(name, f"ids[{number}]") for number, name in enumerate(ids)]
    return get_store().delete(endpoint, checked, tenant=tenant)


async def aquery(
    endpoint: str,
    query_text: str,
    top_k: int = 5,
    filters: Mapping[str, Any] | None = None,
    *,
    tenant: str = "",
    **kwargs: Any,
) -> list[dict[str, Any]]:
    """Find documents; the asynchronous twin of :func:`query`.

    Args:
        endpoint: The endpoint's slug.
        query_text: The query, in natural language.
        top_k: How many hits at the most, 1 to 1,000.
        filters: What the metadata must hold.
        tenant: Whose documents.
        **kwargs: None exist yet.

    Returns:
        As :func:`query`.

    Raises:
        RagError: As :func:`query`.
    """
    return await _in_thread(lambda: query(endpoint, query_text, top_k, filters, tenant=tenant, **kwargs))


async def aindex_documents(endpoint: str, documents: Sequence[Mapping[str, Any]], *, tenant: str = "") -> int:
    """Write documents; the asynchronous twin of :func:`index_documents`.

    Args:
        endpoint: The endpoint's slug.
        documents: Mappings with ``id`` and ``content``, and ``metadata`` where there is any.
        tenant: Whose documents.

    Returns:
        How many documents were indexed.

    Raises:
        RagError: As :func:`index_documents`.
    """
    return await _in_thread(lambda: index_documents(endpoint, documents, tenant=tenant))


async def adelete_documents(endpoint: str, ids: Sequence[str], *, tenant: str = "") -> int:
    """Delete documents; the asynchronous twin of :func:`delete_documents`.

    Args:
        endpoint: The endpoint's slug.
        ids: The documents.
        tenant: Whose documents.

    Returns:
        How many were deleted.

    Raises:
        RagError: As :func:`delete_documents`.
    """
    return await _in_thread(lambda: delete_documents(endpoint, ids, tenant=tenant))


async def _in_thread(call: Callable[[], Result]) -> Result:
    if django_is_ready():
        # Django's connections belong to threads; asgiref knows the one that this task's transaction is on.
        from asgiref.sync import sync_to_async

        return await sync_to_async(call, thread_sensitive=True)()
    import asyncio

    return await asyncio.to_thread(call)


def _check_names(endpoint: Any, tenant: Any) -> None:
    check_text(endpoint, "endpoint")
    check_text(tenant, "tenant")
    if len(tenant) > 255:
        raise RagError(f"tenant has {len(tenant)} characters; at most 255 are allowed.")


def _check_query(query_text: Any, top_k: Any) -> None:
    check_text(query_text, "query_text")
    if len(query_text) > MAX_QUERY_LENGTH:
        raise RagError(f"query_text has {len(query_text)} characters; at most {MAX_QUERY_LENGTH} are allowed.")
    if not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= MAX_TOP_K:
        raise RagError(f"top_k must be a whole number from 1 to {MAX_TOP_K}, not {top_k!r}.")


def _documents(given: Any) -> list[Document]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence):
        raise RagError(f"documents must be a list of mappings, not {type(given).__name__}.")
    documents: list[Document] = []
    first: dict[str, int] = {}
    for number, item in enumerate(given):
        document = _document(item, f"documents[{number}]")
        if document.id in first:
            raise RagError(
                f"documents[{number}] has the id of documents[{first[document.id]}], {document.id!r}; leave one out.",
                context={"index": number},
            )
        first[document.id] = number
        documents.append(document)
    return documents


def _document(item: Any, where: str) -> Document:
    if not isinstance(item, Mapping):
        raise RagError(f"{where} must be a mapping with 'id' and 'content', not {type(item).__name__}.")
    if missing := [name for name in ("id", "content") if name not in item]:
        raise RagError(f"{where} has no {missing[0]!r}.")
    if unknown := [name for name in item if name not in _FIELDS]:
        raise RagError(f"{where} has an unknown key {unknown[0]!r}.{nearby(str(unknown[0]), _FIELDS)}")
    metadata = item.get("metadata")
    try:
        document = Document(item["id"], item["content"], {} if metadata is None else metadata)
    except RagError as error:
        raise RagError(f"{where}: {error.message}") from error
    return replace(document, content=redact_text(document.content), metadata=redact(dict(document.metadata)))


def _as_dict(hit: Hit) -> dict[str, Any]:
    return {
        "id": hit.id,
        "content": hit.content,
        "metadata": dict(hit.metadata),
        "score": hit.score,
        "passage": hit.passage or hit.content,
        "scores": dict(hit.scores),
    }
