"""The embedded store holds the contract on every database, and without Django."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from automate_core.rag import Embedder, RagStore
from automate_core.testing.databases import require_database
from automate_core.testing.rag import EmbedderContract, HashingEmbedder, RagStoreContract
from automate_rag.databases import DjangoDatabase, SqliteFile
from automate_rag.embedded import EmbeddedStore


class TestSqliteFile(RagStoreContract):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = str(tmp_path / "documents.sqlite3")

    def make_store(self, embedder: Embedder | None = None) -> RagStore:
        return EmbeddedStore(embedder, database=SqliteFile(self.path))


class DjangoContract(RagStoreContract):
    alias: ClassVar[str]

    @pytest.fixture(autouse=True)
    def _database(self) -> None:
        require_database(self.alias)

    def make_store(self, embedder: Embedder | None = None) -> RagStore:
        return EmbeddedStore(embedder, database=DjangoDatabase(self.alias))


class TestDjangoSqlite(DjangoContract):
    alias = "default"


class TestDjangoPostgres(DjangoContract):
    alias = "postgres"


class TestDjangoMariadb(DjangoContract):
    alias = "mariadb"


class TestHashingEmbedder(EmbedderContract):
    def make_embedder(self) -> Embedder:
        return HashingEmbedder()
