"""The embedded store in a Django project: transactions, writers that meet, and a schema that is one."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
from automate_core.errors import EndpointNotFound, RagError
from automate_core.rag import Document
from automate_core.testing.databases import ALIASES, require_database
from automate_core.testing.rag import HashingEmbedder
from automate_rag import index_documents, models, query
from automate_rag.databases import DjangoDatabase, SqliteFile
from automate_rag.embedded import EmbeddedStore
from django.core.management import call_command
from django.db import connections, transaction


@pytest.fixture(params=ALIASES)
def alias(request: pytest.FixtureRequest) -> str:
    return require_database(request.param)


@pytest.fixture
def store(alias: str) -> EmbeddedStore:
    return EmbeddedStore(HashingEmbedder(), database=DjangoDatabase(alias))


@pytest.fixture
def endpoint() -> str:
    return f"e-{uuid4().hex}"


def found(store: EmbeddedStore, endpoint: str, text: str) -> list[str]:
    return [hit.id for hit in store.query(endpoint, text, tenant="", top_k=10, filters={}) if "keyword" in hit.scores]


class Rollback(Exception):
    pass


def test_writes_belong_to_the_caller_s_transaction(store: EmbeddedStore, alias: str, endpoint: str) -> None:
    store.index(endpoint, [Document("a", "zebras graze", {"v": 1})], tenant="")

    def write() -> None:
        with transaction.atomic(using=alias):
            store.index(endpoint, [Document("a", "lions hunt", {"v": 2}), Document("b", "zebras drink")], tenant="")
            if connections[alias].vendor != "mysql":  # its full-text index shows a change after the commit
                assert found(store, endpoint, "lions") == ["a"]
            (hit, *_) = store.query(endpoint, "lions hunt", tenant="", top_k=10, filters={})
            assert hit.scores["vector"] == pytest.approx(1, abs=1e-5)
            raise Rollback

    with pytest.raises(Rollback):
        write()
    assert found(store, endpoint, "zebras") == ["a"]
    assert found(store, endpoint, "lions") == []
    (hit,) = store.query(endpoint, "zebras graze", tenant="", top_k=10, filters={"v": [1]})
    assert hit.scores["vector"] == pytest.approx(1, abs=1e-5)


def test_bad_input_leaves_the_caller_s_transaction_usable(endpoint: str) -> None:
    with transaction.atomic():
        with pytest.raises(RagError):
            index_documents(endpoint, [{"id": "a", "content": "zebras\0"}])
        index_documents(endpoint, [{"id": "a", "content": "zebras"}])
    assert [hit["id"] for hit in query(endpoint, "zebras")] == ["a"]


def test_a_refusing_database_leaves_the_caller_s_transaction_usable(
    store: EmbeddedStore, alias: str, endpoint: str
) -> None:
    with transaction.atomic(using=alias):
        store.index(endpoint, [Document("a", "zebras graze")], tenant="")
        with pytest.raises(RagError, match="database refused") as caught, store.database.transaction():
            store.database.execute("INSERT INTO automate_rag_facet (document_id, digest) VALUES (NULL, 'zebras')")
        assert "zebras" not in str(caught.value)
    assert found(store, endpoint, "zebras") == ["a"]


def test_writers_of_one_document_leave_one_of_their_versions(store: EmbeddedStore, alias: str, endpoint: str) -> None:
    texts = {f"animal{n}": " ".join([f"animal{n}"] * 50 + ["paragraph text. "] * 200 * n) for n in range(4)}
    errors: list[BaseException] = []
    gate = threading.Barrier(len(texts))

    def write(name: str) -> None:
        try:
            gate.wait()
            for _ in range(5):
                store.index(endpoint, [Document("a", texts[name], {"name": name}), Document("b", "lions")], tenant="")
        except BaseException as error:  # pragma: no cover - only where the test fails
            errors.append(error)
        finally:
            connections[alias].close()

    threads = [threading.Thread(target=write, args=(name,)) for name in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    (document,) = models.Document.objects.using(alias).filter(endpoint__name=endpoint, name="a")
    (name,) = [name for name, text in texts.items() if text == document.content]
    assert found(store, endpoint, "animal0 animal1 animal2 animal3") == ["a"]
    (hit,) = store.query(endpoint, name, tenant="", top_k=1, filters={"name": [name]})
    assert hit.content == texts[name]
    chunks = models.Chunk.objects.using(alias).filter(document=document).order_by("ordinal")
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert {chunk.text in document.content for chunk in chunks} == {True}
    assert models.Facet.objects.using(alias).filter(document=document).count() == 1


def test_rows_that_the_orm_deletes_are_gone_from_the_index(store: EmbeddedStore, alias: str, endpoint: str) -> None:
    store.index(endpoint, [Document("a", "zebras graze", {"v": 1}), Document("b", "zebras drink")], tenant="")
    models.Document.objects.using(alias).get(endpoint__name=endpoint, name="a").delete()
    assert found(store, endpoint, "zebras") == ["b"]
    models.Endpoint.objects.using(alias).get(name=endpoint).delete()
    with pytest.raises(EndpointNotFound):
        found(store, endpoint, "zebras")


def test_the_file_has_the_tables_that_the_migration_makes() -> None:
    def columns(rows: list[tuple[object, ...]]) -> set[tuple[object, ...]]:
        return {row[1:4] + row[5:] for row in rows}

    file = SqliteFile()
    tables = [model._meta.db_table for model in (models.Endpoint, models.Document, models.Chunk, models.Facet)]
    for table in [*tables, "automate_rag_chunk_fts"]:
        pragma = f"PRAGMA table_info({table})"
        with connections["default"].cursor() as cursor:
            cursor.execute(pragma)
            expected = columns(cursor.fetchall())
        assert columns(file.fetch(pragma)) == expected
    names = "SELECT type, tbl_name FROM sqlite_master WHERE tbl_name LIKE 'automate_rag%' ORDER BY 1, 2"
    with connections["default"].cursor() as cursor:
        cursor.execute(names)
        assert file.fetch(names) == cursor.fetchall()
    file.close()


def test_the_migrations_are_complete() -> None:
    call_command("makemigrations", "automate_rag", check=True, dry_run=True, verbosity=0)


@pytest.fixture
def unmigrated(alias: str) -> Iterator[str]:
    call_command("migrate", "automate_rag", "zero", database=alias, verbosity=0)
    yield alias
    call_command("migrate", "automate_rag", database=alias, verbosity=0)


def test_without_its_tables_the_store_says_what_to_do(unmigrated: str) -> None:
    store = EmbeddedStore(database=DjangoDatabase(unmigrated))
    with pytest.raises(RagError, match="migrate automate_rag") as caught:
        store.query("e", "zebras", tenant="", top_k=1, filters={})
    assert not caught.value.retryable


def test_a_locked_file_is_worth_a_retry(tmp_path: object) -> None:
    path = f"{tmp_path}/documents.sqlite3"
    file = SqliteFile(path)
    file.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RagError) as caught:
        EmbeddedStore(database=file).index("e", [Document("a", "zebras")], tenant="")
    assert caught.value.retryable
    other.execute("ROLLBACK")
    other.close()
    assert EmbeddedStore(database=file).index("e", [Document("a", "zebras")], tenant="") == 1
    file.close()
