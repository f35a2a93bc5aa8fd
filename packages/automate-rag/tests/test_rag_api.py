"""The functions that everyone calls: as specified, and unharmed by bad input."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from automate_core import settings
from automate_core.errors import ConfigurationError, EndpointNotFound, NotRegisteredError, PluginLoadError, RagError
from automate_core.testing.rag import HashingEmbedder
from automate_rag import adelete_documents, aindex_documents, aquery, delete_documents, index_documents, query, stores
from automate_rag.databases import DjangoDatabase
from automate_rag.embedded import EmbeddedStore
from hypothesis import given
from hypothesis import strategies as st

GOOD = {"id": "good", "content": "zebras graze"}


@pytest.fixture
def endpoint() -> str:
    return f"e-{uuid4().hex}"


@pytest.fixture
def configured() -> Iterator[Any]:
    def configure(**rag: Any) -> None:
        settings.configure(settings.parse({"RAG": rag}))

    yield configure
    settings.configure(None)
    stores.close_store()


def test_the_example_of_the_specification() -> None:
    import rag

    count = rag.index_documents(
        endpoint="support-docs",
        documents=[
            {
                "id": "doc-001",
                "content": "To reset your password, go to Settings...",
                "metadata": {"category": "authentication", "author": "admin"},
            },
            {
                "id": "doc-002",
                "content": "Two-factor authentication adds an extra layer...",
                "metadata": {"category": "security"},
            },
        ],
    )
    assert count == 2
    results = rag.query(
        endpoint="support-docs",
        query_text="How do I reset my password?",
        top_k=3,
        filters={"category": "authentication"},
    )
    lines = [f"{doc['score']:.2f} {doc['content'][:100]}..." for doc in results]
    assert lines == ["1.00 To reset your password, go to Settings......"]
    assert results[0]["id"] == "doc-001"
    assert results[0]["metadata"] == {"category": "authentication", "author": "admin"}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"content": "x"}, "documents[1] has no 'id'"),
        ({"id": "x"}, "documents[1] has no 'content'"),
        ({"id": 7, "content": "x"}, "documents[1]: id must be text, not int"),
        ({"id": "", "content": "x"}, "documents[1]: id must have 1 to 500 characters"),
        ({"id": "i" * 501, "content": "x"}, "documents[1]: id must have 1 to 500 characters"),
        ({"id": "x", "content": None}, "documents[1]: content must be text, not NoneType"),
        ({"id": "x", "content": " \n"}, "documents[1]: content is blank"),
        ({"id": "x", "content": "a\0b"}, "documents[1]: content holds NUL at position 1"),
        ({"id": "x\ud800", "content": "x"}, "documents[1]: id holds a lone surrogate at position 1"),
        ({"id": "x", "content": "x", "meta": {}}, "unknown key 'meta'. Did you mean 'metadata'?"),
        ({"id": "x", "content": "x", "metadata": []}, "documents[1]: metadata must be a dict, not list"),
        ({"id": "x", "content": "x", "metadata": {"a": {"b": [1, float("nan")]}}}, "metadata.a.b[1] is nan"),
        ({"id": "x", "content": "x", "metadata": {1: 2}}, "a key of metadata must be text, not int"),
        ({"id": "x", "content": "x", "metadata": {"a": "\0"}}, "metadata.a holds NUL"),
        ({"id": "x", "content": "x", "metadata": {"a": object()}}, "metadata.a is of type object"),
        ({"id": "x", "content": "x", "metadata": {"a": 1 << 5000}}, "metadata.a is an integer of 5001 bits"),
        ({"id": "x", "content": "x", "metadata": {"a": "b" * 70_000}}, "at most 65536 are allowed"),
        ({"id": "good", "content": "x"}, "documents[1] has the id of documents[0], 'good'"),
        ("text", "documents[1] must be a mapping with 'id' and 'content', not str"),
    ],
)
def test_a_bad_document_is_refused_and_nothing_is_written(endpoint: str, bad: Any, says: str) -> None:
    with pytest.raises(RagError) as caught:
        index_documents(endpoint, [GOOD, bad])
    assert says in str(caught.value)
    with pytest.raises(EndpointNotFound):
        query(endpoint, "zebras")


def test_metadata_that_holds_itself_is_refused(endpoint: str) -> None:
    metadata: dict[str, Any] = {}
    metadata["self"] = metadata
    with pytest.raises(RagError, match="nested deeper than 16 levels"):
        index_documents(endpoint, [{**GOOD, "metadata": metadata}])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"query_text": None}, "query_text must be text"),
        ({"query_text": "a\0"}, "query_text holds NUL"),
        ({"query_text": "\udfff"}, "query_text holds a lone surrogate"),
        ({"query_text": "z" * 20_001}, "at most 20000"),
        ({"top_k": 0}, "top_k must be a whole number from 1 to 1000"),
        ({"top_k": True}, "top_k must be a whole number"),
        ({"top_k": "5"}, "top_k must be a whole number"),
        ({"filters": ["a"]}, "filters must be a mapping"),
        ({"filters": {"a": []}}, "filters['a'] is an empty list"),
        ({"filters": {"a": {"$gt": 3}}}, "filters['a'] is of type dict"),
        ({"filters": {"a": [1, [2]]}}, "filters['a'] is of type list"),
        ({"filters": {"a": float("inf")}}, "filters['a'] is inf"),
        ({"filters": {"a": list(range(1001))}}, "at most 32 and 1000 are allowed"),
        ({"filters": {f"a{number}": 1 for number in range(33)}}, "33 paths and 33 values"),
        ({"filters": {7: 1}}, "a filter's path must be text"),
        ({"tenant": None}, "tenant must be text"),
        ({"tenant": "t" * 256}, "at most 255"),
        ({"topk": 3}, "query() has no option 'topk'. Did you mean 'top_k'?"),
        ({"endpoint": 3}, "endpoint must be text"),
    ],
)
def test_a_bad_query_is_refused(endpoint: str, arguments: dict[str, Any], says: str) -> None:
    index_documents(endpoint, [GOOD])
    with pytest.raises(RagError) as caught:
        query(**{"endpoint": endpoint, "query_text": "zebras", **arguments})
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "../x", "é", "x" * 201, "a\n"])
def test_an_endpoint_has_a_slug(name: str) -> None:
    with pytest.raises(RagError, match="cannot name an endpoint"):
        index_documents(name, [GOOD])
    with pytest.raises(EndpointNotFound):
        query(name, "zebras")


@pytest.mark.parametrize("ids", ["good", 3, [1], ["\0"]])
def test_ids_to_delete_are_a_list_of_texts(endpoint: str, ids: Any) -> None:
    index_documents(endpoint, [GOOD])
    with pytest.raises(RagError):
        delete_documents(endpoint, ids)
    assert [hit["id"] for hit in query(endpoint, "zebras")] == ["good"]
    assert delete_documents(endpoint, ["good"]) == 1


def test_no_documents_write_nothing(endpoint: str) -> None:
    assert index_documents(endpoint, []) == 0
    with pytest.raises(EndpointNotFound):
        query(endpoint, "zebras")


@given(text=st.text(max_size=60), filters=st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text()))
def test_no_text_and_no_filter_breaks_a_query(text: str, filters: dict[str, Any]) -> None:
    index_documents("hypothesis", [GOOD])
    try:
        hits = query("hypothesis", text, filters=filters)
    except RagError as error:
        assert "NUL" in str(error) or "surrogate" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert not (filters and hits)


def test_the_asynchronous_twins_do_the_same(endpoint: str) -> None:
    async def scenario() -> list[Any]:
        return [
            await aindex_documents(endpoint, [GOOD], tenant="t"),
            [hit["id"] for hit in await aquery(endpoint, "zebras", top_k=1, tenant="t")],
            await adelete_documents(endpoint, ["good"], tenant="t"),
            await aquery(endpoint, "zebras", tenant="t"),
        ]

    assert asyncio.run(scenario()) == [1, ["good"], 1, []]
    with pytest.raises(EndpointNotFound):
        query(endpoint, "zebras")


class Synonyms(HashingEmbedder):
    """An embedder of the project's own."""

    key: ClassVar[str] = "synonyms"

    def __init__(self, model: str = "") -> None:
        super().__init__(model, synonyms={"automobile": model or "car"})


def test_the_settings_choose_store_and_embedder(configured: Any, endpoint: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "project_embedders", sys.modules[__name__])
    configured(embedder="project_embedders.Synonyms:bike")
    index_documents(endpoint, [{"id": "a", "content": "the red bike"}, {"id": "b", "content": "a bowl of soup"}])
    assert query(endpoint, "automobile")[0]["id"] == "a"
    store = stores.get_store()
    assert stores.get_store() is store
    configured(embedder="")
    assert stores.get_store() is not store
    assert query(endpoint, "automobile") == []


@pytest.mark.parametrize(
    ("rag", "error", "says"),
    [
        ({"store": "embeded"}, NotRegisteredError, "Did you mean 'embedded'?"),
        ({"embedder": "sentence_transformer"}, NotRegisteredError, "Did you mean 'sentence_transformers'?"),
        ({"embedder": "no_such_module.Embedder"}, PluginLoadError, "RAG.embedder"),
        ({"embedder": "pathlib.Path"}, ConfigurationError, "no subclass of automate_core.rag.Embedder"),
    ],
)
def test_a_wrong_setting_says_what_is_right(configured: Any, rag: Any, error: type[Exception], says: str) -> None:
    configured(**rag)
    with pytest.raises(error) as caught:
        query("e", "zebras")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("vectors", "says"),
    [
        ([[1.0, 2.0]] * 2, "shape (2, 2); (1, 'dimensions') is right"),
        ([[]], "shape (1, 0)"),
        ([[float("nan")]], "not finite"),
        ([["x"]], "no array of numbers"),
        (None, "shape ()"),
    ],
)
def test_an_embedder_that_returns_nonsense_writes_nothing(endpoint: str, vectors: Any, says: str) -> None:
    class Nonsense(HashingEmbedder):
        def embed_documents(self, texts: Any) -> Any:
            return vectors

    from automate_core.rag import Document

    store = EmbeddedStore(Nonsense(), database=DjangoDatabase())
    with pytest.raises(RagError) as caught:
        store.index(endpoint, [Document("a", "zebras")], tenant="")
    assert says in str(caught.value)
    with pytest.raises(EndpointNotFound):
        query(endpoint, "zebras")


def run_alone(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_imports_and_keyword_search_load_nothing_heavy() -> None:
    code = """if True:
        import asyncio, sys, rag, automate_rag, automate_rag.plugin, automate_rag.embedders, automate_rag.connector
        rag.index_documents("e", [{"id": "a", "content": "zebras graze"}])
        assert [hit["id"] for hit in rag.query("e", "zebras")] == ["a"]
        assert asyncio.run(rag.aquery("e", "zebras")) == rag.query("e", "zebras")
        print({"django", "numpy", "torch", "sentence_transformers"} & set(sys.modules))
    """
    assert run_alone(code) == "set()"


def test_a_file_outlives_its_process_and_threads_share_it(tmp_path: Path) -> None:
    code = """if True:
        import sys, threading
        from automate_core import settings
        from automate_rag import index_documents, query
        settings.configure(settings.parse({"RAG": {"path": sys.argv[1]}}))
        def index(n):
            index_documents("e", [{"id": f"{sys.argv[2]}-{n}", "content": "zebras graze"}])
        threads = [threading.Thread(target=index, args=(n,)) for n in range(8)]
        [thread.start() for thread in threads], [thread.join() for thread in threads]
        print(len(query("e", "zebras", top_k=100)))
    """
    path = str(tmp_path / "documents.sqlite3")
    assert [run_alone(code, path, name) for name in ("first", "second")] == ["8", "16"]


def test_a_path_that_cannot_be_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    from automate_rag.databases import SqliteFile

    with pytest.raises(ConfigurationError, match="must exist"):
        SqliteFile(str(tmp_path / "nowhere" / "documents.sqlite3"))
    (tmp_path / "text").write_text("this is no database, but long enough to be looked at as if it were one " * 20)
    with pytest.raises(ConfigurationError, match="not a database"):
        SqliteFile(str(tmp_path / "text"))


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    from automate_rag.databases import SqliteFile

    path = tmp_path / "documents.sqlite3"
    SqliteFile(str(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match=r"newer automate-rag \(schema 99"):
        SqliteFile(str(path))


def test_a_project_without_the_app_must_say_where_documents_go() -> None:
    code = """if True:
        import django
        from django.conf import settings
        settings.configure(INSTALLED_APPS=[])
        django.setup()
        from automate_rag import index_documents
        from automate_core.errors import ConfigurationError
        try:
            index_documents("e", [{"id": "a", "content": "zebras"}])
        except ConfigurationError as error:
            print(error)
    """
    assert "add 'automate_rag' to INSTALLED_APPS" in run_alone(code)


def test_the_readme_works(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text()
    blocks = [part.partition("```")[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) >= 3
    run_alone("\n".join(blocks))
