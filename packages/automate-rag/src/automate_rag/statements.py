"""The SQL of the embedded store: one text for every database, and a dialect for what differs.

The placeholder is ``%s``; an adapter of :mod:`automate_rag.databases` turns it into its own. The tables are those of
:mod:`automate_rag.models`; :data:`SQLITE_SCHEMA` makes the same ones where Django does not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from automate_rag import fulltext

__all__ = ["DIALECTS", "MAX_WORDS", "SQLITE_SCHEMA", "Dialect", "matching", "placeholders", "ranked", "words"]

ENDPOINT = "SELECT id, stamp FROM automate_rag_endpoint WHERE digest = %s"
ENDPOINTS = "SELECT name FROM automate_rag_endpoint WHERE tenant = %s"
STAMP_ENDPOINT = "UPDATE automate_rag_endpoint SET stamp = %s WHERE digest = %s"

KNOWN_DOCUMENTS = (
    "SELECT digest, id, content_hash, metadata FROM automate_rag_document WHERE endpoint_id = %s AND digest IN ({})"
)
INSERT_DOCUMENT = (
    "INSERT INTO automate_rag_document (endpoint_id, digest, name, content, metadata, content_hash, embedder)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s)"
)
UPDATE_DOCUMENT = (
    "UPDATE automate_rag_document SET content = %s, metadata = %s, content_hash = %s, embedder = %s WHERE id = %s"
)
INSERT_CHUNK = (
    "INSERT INTO automate_rag_chunk (endpoint_id, document_id, ordinal, text, embedding) VALUES (%s, %s, %s, %s, %s)"
)
INSERT_FACET = "INSERT INTO automate_rag_facet (document_id, digest) VALUES (%s, %s)"
DELETE_CHUNKS = "DELETE FROM automate_rag_chunk WHERE document_id IN ({})"
DELETE_FACETS = "DELETE FROM automate_rag_facet WHERE document_id IN ({})"
DELETE_DOCUMENTS = "DELETE FROM automate_rag_document WHERE id IN ({})"

HITS = (
    "SELECT d.id, d.name, d.content, d.metadata, c.text FROM automate_rag_document d"
    " JOIN automate_rag_chunk c ON c.document_id = d.id WHERE d.endpoint_id = %s AND c.id IN ({})"
)
VECTORS = (
    "SELECT c.document_id, c.id, c.embedding FROM automate_rag_chunk c JOIN automate_rag_document d"
    " ON d.id = c.document_id WHERE c.endpoint_id = %s AND d.embedder = %s AND c.embedding IS NOT NULL"
    " ORDER BY c.document_id, c.ordinal"
)
OTHER_EMBEDDERS = "SELECT COUNT(*) FROM automate_rag_document WHERE endpoint_id = %s AND embedder <> %s"

_MATCHING = " AND EXISTS (SELECT 1 FROM automate_rag_facet f WHERE f.document_id = {} AND f.digest IN ({}))"
_ALLOWED = "SELECT d.id FROM automate_rag_document d WHERE d.endpoint_id = %s{}"
_RANKED = (
    "WITH matched AS ({}{}), ordered AS (SELECT document_id, chunk_id, score,"
    " ROW_NUMBER() OVER (PARTITION BY document_id ORDER BY score DESC, chunk_id) AS place FROM matched)"
    " SELECT document_id, chunk_id, score FROM ordered WHERE place = 1 ORDER BY score DESC, document_id LIMIT %s"
)
_INSERT_ENDPOINT = "INSERT INTO automate_rag_endpoint (digest, tenant, name, stamp) VALUES (%s, %s, %s, %s) "
_ON_CONFLICT = _INSERT_ENDPOINT + "ON CONFLICT (digest) DO UPDATE SET stamp = %s"

MAX_WORDS = 100
"""Distinct words of a query that are searched for: databases rank each of them against each chunk that they find."""

_WORD = re.compile(r"[^\W_]{1,255}")


def words(text: str) -> list[str]:
    """Return the first distinct words of a query, in lower case, :data:`MAX_WORDS` at the most.

    Args:
        text: The query. Whatever is not a letter or a digit separates words, so no word holds syntax of any kind.
    """
    return list(dict.fromkeys(_WORD.findall(unicodedata.normalize("NFC", text).lower())))[:MAX_WORDS]


def placeholders(count: int) -> str:
    """Return the inside of an ``IN``.

    Args:
        count: For how many values.
    """
    return ", ".join(["%s"] * count)


def matching(conditions: Sequence[Sequence[str]], document: str) -> tuple[str, list[str]]:
    """Return the SQL that holds a document against filters.

    Args:
        conditions: What :func:`automate_rag.digests.conditions` made of the filters.
        document: The SQL of the document's id.

    Returns:
        Text to follow a WHERE clause, and its parameters.
    """
    clause = "".join(_MATCHING.format(document, placeholders(len(values))) for values in conditions)
    return clause, [value for values in conditions for value in values]


def allowed(conditions: Sequence[Sequence[str]]) -> tuple[str, list[str]]:
    """Return the SQL for the ids of an endpoint's documents that fit filters; its first parameter is the endpoint.

    Args:
        conditions: The filters, as for :func:`matching`.

    Returns:
        The SQL, and its further parameters.
    """
    clause, parameters = matching(conditions, "d.id")
    return _ALLOWED.format(clause), parameters


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs from one database to the next.

    Args:
        touch_endpoint: Insert an endpoint, or give it a new stamp where it is there; locks its row. The parameters
            are digest, tenant, name, stamp, and the stamp again.
        lock: What makes a SELECT read the newest rows and lock them.
        keyword: Select document_id, chunk_id and score (more is better) of the chunks that hold any of some words.
        keyword_parameters: The parameters of that, from the endpoint's id and the words.
    """

    touch_endpoint: str
    lock: str
    keyword: str
    keyword_parameters: Callable[[int, Sequence[str]], tuple[Any, ...]]


def ranked(dialect: Dialect, conditions: Sequence[Sequence[str]]) -> tuple[str, list[str]]:
    """Return the SQL for the documents whose best chunk fits some words best.

    Args:
        dialect: The database's dialect.
        conditions: The filters, as for :func:`matching`.

    Returns:
        The SQL, and its parameters between those of the dialect's keyword search and the last one, the limit. It
        selects document_id, chunk_id and score, best first.
    """
    clause, parameters = matching(conditions, "c.document_id")
    return _RANKED.format(dialect.keyword, clause), parameters


_SQLITE = Dialect(
    touch_endpoint=_ON_CONFLICT,
    lock="",
    # The endpoint is a column of the index, so that chunks of other endpoints are left before they are scored; its
    # weight is 0.
    keyword=(
        "SELECT c.document_id AS document_id, c.id AS chunk_id, -bm25(automate_rag_chunk_fts, 0.0, 1.0) AS score"
        " FROM automate_rag_chunk_fts JOIN automate_rag_chunk c ON c.id = automate_rag_chunk_fts.rowid"
        " WHERE automate_rag_chunk_fts MATCH %s AND c.endpoint_id = %s"
    ),
    keyword_parameters=lambda endpoint, found: (
        f'(endpoint_id : "{endpoint}") AND (text : (' + " OR ".join(f'"{word}"' for word in found) + "))",
        endpoint,
    ),
)

_POSTGRESQL = Dialect(
    touch_endpoint=_ON_CONFLICT,
    lock=" FOR UPDATE",
    # ts_rank knows nothing of rare words: each word is ranked by itself, and weighted by its rareness in the endpoint.
    keyword=(
        "WITH wanted AS (SELECT quote_literal(lexeme)::tsquery AS word FROM unnest(to_tsvector('english', %s))),"
        " weighted AS MATERIALIZED (SELECT w.word, (SELECT ln(1 + (a.n - count(*) + 0.5) / (count(*) + 0.5))"
        " FROM automate_rag_chunk c WHERE c.terms @@ w.word AND c.endpoint_id = %s) AS weight FROM wanted w,"
        " (SELECT count(*) AS n FROM automate_rag_chunk WHERE endpoint_id = %s) a)"
        " SELECT c.document_id AS document_id, c.id AS chunk_id,"
        " (SELECT sum(w.weight * ts_rank(c.terms, w.word)) FROM weighted w) AS score FROM automate_rag_chunk c"
        " WHERE c.terms @@ (SELECT string_agg(word::text, ' | ')::tsquery FROM wanted) AND c.endpoint_id = %s"
    ),
    keyword_parameters=lambda endpoint, found: (" ".join(found), endpoint, endpoint, endpoint),
)

_MYSQL = Dialect(
    touch_endpoint=_INSERT_ENDPOINT + "ON DUPLICATE KEY UPDATE stamp = %s",
    lock=" FOR UPDATE",
    keyword=(
        "SELECT c.document_id AS document_id, c.id AS chunk_id,"
        " MATCH (c.text) AGAINST (%s IN NATURAL LANGUAGE MODE) AS score FROM automate_rag_chunk c"
        " WHERE MATCH (c.text) AGAINST (%s IN NATURAL LANGUAGE MODE) AND c.endpoint_id = %s"
    ),
    keyword_parameters=lambda endpoint, found: (" ".join(found), " ".join(found), endpoint),
)

DIALECTS = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL, "mysql": _MYSQL}
"""The dialects, by the vendor names of Django."""

SQLITE_SCHEMA = (
    """CREATE TABLE automate_rag_endpoint (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, digest varchar(64) NOT NULL UNIQUE,
        tenant varchar(255) NOT NULL, name varchar(200) NOT NULL, stamp varchar(32) NOT NULL)""",
    "CREATE INDEX automate_rag_tenant ON automate_rag_endpoint (tenant)",
    """CREATE TABLE automate_rag_document (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, digest varchar(64) NOT NULL, name varchar(500) NOT NULL,
        content text NOT NULL, metadata text NOT NULL, content_hash varchar(64) NOT NULL,
        embedder varchar(64) NOT NULL, endpoint_id bigint NOT NULL REFERENCES automate_rag_endpoint (id),
        CONSTRAINT automate_rag_document_key UNIQUE (endpoint_id, digest))""",
    """CREATE TABLE automate_rag_chunk (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, ordinal integer NOT NULL, text text NOT NULL,
        embedding BLOB NULL, document_id bigint NOT NULL REFERENCES automate_rag_document (id),
        endpoint_id bigint NOT NULL REFERENCES automate_rag_endpoint (id),
        CONSTRAINT automate_rag_chunk_key UNIQUE (document_id, ordinal))""",
    "CREATE INDEX automate_rag_chunk_endpoint ON automate_rag_chunk (endpoint_id)",
    """CREATE TABLE automate_rag_facet (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, digest varchar(64) NOT NULL,
        document_id bigint NOT NULL REFERENCES automate_rag_document (id),
        CONSTRAINT automate_rag_facet_key UNIQUE (document_id, digest))""",
    *fulltext.CREATE["sqlite"],
)
"""The tables of the embedded store in a SQLite file of its own."""
