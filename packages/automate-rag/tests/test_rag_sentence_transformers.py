"""The embedder over the real libraries, with a tiny model of random weights, made here: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from automate_core.errors import ConfigurationError
from automate_core.rag import Document, Embedder
from automate_core.testing.rag import EmbedderContract
from automate_rag.databases import SqliteFile
from automate_rag.embedded import EmbeddedStore
from automate_rag.stores import get_embedder

pytest.importorskip(
    "sentence_transformers", reason="sentence-transformers is not installed: its embedder is not tested"
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    sentence_transformers: Any = pytest.importorskip("sentence_transformers")
    transformers: Any = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("model")
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertModel(config).save_pretrained(folder / "bert")
    sentence_transformers.SentenceTransformer(str(folder / "bert"), device="cpu").save(str(folder / "model"))
    return str(folder / "model")


class TestSentenceTransformers(EmbedderContract):
    @pytest.fixture(autouse=True)
    def _model(self, model: str) -> None:
        self.model = model

    def make_embedder(self) -> Embedder:
        embedder = get_embedder(f"sentence_transformers:{self.model}")
        assert embedder is not None
        return embedder


def test_the_store_searches_its_vectors(model: str) -> None:
    store = EmbeddedStore(get_embedder(f"sentence_transformers:{model}"), database=SqliteFile())
    store.index("e", [Document("a", "zebras graze"), Document("b", "lions hunt at dusk")], tenant="")
    (hit, *_) = store.query("e", "lions hunt at dusk", tenant="", top_k=2, filters={})
    assert hit.id == "b"
    assert hit.scores["vector"] == pytest.approx(1, abs=1e-4)
    store.close()


def test_a_model_that_is_not_there_is_a_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    embedder = get_embedder(f"sentence_transformers:{tmp_path / 'nowhere'}")
    assert embedder is not None
    with pytest.raises(ConfigurationError, match="name its folder"):
        embedder.embed_query("zebras")
