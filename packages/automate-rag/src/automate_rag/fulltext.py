"""The full-text indexes, which no Django model can express: created by the first migration, and frozen with it.

A change goes into a new migration with statements of its own; these stay as they are.

- SQLite: an FTS5 table over the chunks with the porter stemmer, kept in step by triggers, which SQLite drops together
  with the table that they are on: a migration that makes Django rebuild the table of chunks must create them anew.
- PostgreSQL: a generated column ``terms`` of the English configuration, with a GIN index.
- MySQL and MariaDB: a FULLTEXT index. InnoDB shows a change to it to full-text queries after the commit only.
"""

from __future__ import annotations

__all__ = ["CREATE", "DROP"]

_FORGET = (
    "INSERT INTO automate_rag_chunk_fts (automate_rag_chunk_fts, rowid, endpoint_id, text)"
    " VALUES ('delete', old.id, old.endpoint_id, old.text);"
)
_LEARN = "INSERT INTO automate_rag_chunk_fts (rowid, endpoint_id, text) VALUES (new.id, new.endpoint_id, new.text);"

CREATE: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "CREATE VIRTUAL TABLE automate_rag_chunk_fts USING fts5 (endpoint_id, text,"
        " content='automate_rag_chunk', content_rowid='id', tokenize='porter unicode61')",
        f"CREATE TRIGGER automate_rag_chunk_inserted AFTER INSERT ON automate_rag_chunk BEGIN {_LEARN} END",
        f"CREATE TRIGGER automate_rag_chunk_deleted AFTER DELETE ON automate_rag_chunk BEGIN {_FORGET} END",
        "CREATE TRIGGER automate_rag_chunk_updated AFTER UPDATE OF id, endpoint_id, text ON automate_rag_chunk"
        f" BEGIN {_FORGET} {_LEARN} END",
    ),
    "postgresql": (
        "ALTER TABLE automate_rag_chunk ADD COLUMN terms tsvector"
        " GENERATED ALWAYS AS (to_tsvector('english', text)) STORED",
        "CREATE INDEX automate_rag_chunk_terms ON automate_rag_chunk USING gin (terms)",
    ),
    "mysql": ("CREATE FULLTEXT INDEX automate_rag_chunk_text ON automate_rag_chunk (text)",),
}
"""What makes the index, by the vendor names of Django."""

DROP: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "DROP TRIGGER automate_rag_chunk_updated",
        "DROP TRIGGER automate_rag_chunk_deleted",
        "DROP TRIGGER automate_rag_chunk_inserted",
        "DROP TABLE automate_rag_chunk_fts",
    ),
    "postgresql": ("ALTER TABLE automate_rag_chunk DROP COLUMN terms",),
    "mysql": ("DROP INDEX automate_rag_chunk_text ON automate_rag_chunk",),
}
"""What takes it away again."""
