"""Digests: names, contents and metadata in a form that every database compares exactly.

Collations differ: one database takes ``Acme`` for ``acme``, another ignores trailing spaces. A comparison of digests is
exact everywhere, has one length, and can be indexed everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from automate_core.rag import Filters, Scalar, flatten

__all__ = ["conditions", "digest", "facets"]


def digest(*parts: Scalar) -> str:
    """Return the digest of a sequence of values.

    Args:
        *parts: The values; where one ends and the next begins is part of the digest.

    Returns:
        64 hexadecimal characters.
    """
    return sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


def facets(metadata: Mapping[str, Any]) -> set[str]:
    """Return a digest for everything that a filter can ask of a document.

    Args:
        metadata: The document's metadata.
    """
    return {_facet(path, value) for path, value in flatten(metadata)}


def conditions(filters: Filters) -> list[list[str]]:
    """Return filters as digests.

    Args:
        filters: The filters.

    Returns:
        One list for each path; a document fits when it has a facet out of every list.
    """
    return [sorted({_facet(path, value) for value in values}) for path, values in filters.items()]


def _facet(path: str, value: Scalar) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return digest(path, value)
