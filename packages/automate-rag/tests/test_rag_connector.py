"""The actions of a workflow."""

from __future__ import annotations

from importlib.util import find_spec
from uuid import uuid4

import pytest
from automate_core.connectors import ActionContext
from automate_core.errors import EndpointNotFound, InvalidInputError, PluginLoadError
from automate_core.registry import registry
from automate_rag import index_documents, query
from automate_rag.connector import IndexOutput, QueryOutput, RagConnector


def test_the_plugin_registers_everything() -> None:
    assert "embedded" in registry.keys("rag_stores")
    assert "sentence_transformers" in registry.keys("embedders")
    for name in ("rag.query", "rag.index"):
        connector, action = registry.get_action(name)
        assert connector is RagConnector
        assert action.idempotent
        assert action.input_json_schema()["additionalProperties"] is False


def test_index_and_query_in_the_tenant_of_the_run() -> None:
    endpoint = f"e-{uuid4().hex}"
    connector = RagConnector({}, ActionContext(tenant="mine"))
    index_documents(endpoint, [{"id": "theirs", "content": "zebras graze"}], tenant="theirs")
    documents = [{"id": "a", "content": "zebras graze", "metadata": {"n": [1, None]}}]
    assert IndexOutput(**connector.call("index", {"endpoint": endpoint, "documents": documents})).indexed == 1
    output = QueryOutput(**connector.call("query", {"endpoint": endpoint, "query_text": "zebras", "filters": {"n": 1}}))
    assert [(hit.id, hit.metadata) for hit in output.documents] == [("a", {"n": [1, None]})]
    assert [hit["id"] for hit in query(endpoint, "zebras", tenant="mine")] == ["a"]
    with pytest.raises(EndpointNotFound):
        query(endpoint, "zebras")


@pytest.mark.parametrize("extra", [{"tenant": "theirs"}, {"top_k": 0}, {"filters": "a"}, {"query_text": None}])
def test_wrong_input_is_refused_before_the_call(extra: dict[str, object]) -> None:
    connector = RagConnector({}, ActionContext(tenant="mine"))
    with pytest.raises(InvalidInputError):
        connector.call("query", {"endpoint": "e", "query_text": "zebras", **extra})


@pytest.mark.skipif(find_spec("sentence_transformers") is not None, reason="sentence-transformers is installed")
def test_a_missing_library_is_named_with_its_remedy() -> None:
    embedder = registry.load("embedders", "sentence_transformers")()
    with pytest.raises(PluginLoadError, match=r"pip install 'automate-rag\[sentence-transformers\]'"):
        embedder.embed_query("zebras")
