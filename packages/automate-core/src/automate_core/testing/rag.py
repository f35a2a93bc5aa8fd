"""Contracts of document stores and embedders, and a deterministic embedder for tests. Needs pytest.

A plugin's tests subclass the contract and say how its store is made::

    class TestMyStore(RagStoreContract):
        def make_store(self, embedder=None):
            return MyStore(embedder)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from automate_core.errors import EndpointNotFound, RagError
from automate_core.rag import Document, Embedder, Hit, RagStore, normalize_filters

__all__ = ["EmbedderContract", "HashingEmbedder", "RagStoreContract"]

_WORD = re.compile(r"[^\W_]+")


class HashingEmbedder(Embedder):
    """An embedder for tests: counts words in hashed buckets. The same text always gets the same vector.

    It knows nothing of meaning beyond the synonyms that it is told; do not retrieve with it in earnest.

    Args:
        model: Part of the fingerprint, and of nothing else.
        dimensions: Length of the vectors.
        synonyms: Words to take for other words, ``{"automobile": "car"}``.
    """

    key: ClassVar[str] = "hashing"

    def __init__(self, model: str = "", *, dimensions: int = 256, synonyms: Mapping[str, str] | None = None) -> None:
        super().__init__(model)
        self.dimensions = dimensions
        self.synonyms = dict(synonyms or {})
        self.embedded: list[str] = []
        """Every passage that was embedded, in order."""

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed passages and remember them in :attr:`embedded`."""
        self.embedded.extend(texts)
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Embed one text; a text without words gives the zero vector."""
        vector = [0.0] * self.dimensions
        for word in _WORD.findall(text.lower()):
            word = self.synonyms.get(word, word)
            digest = int.from_bytes(blake2b(word.encode(), digest_size=8).digest())
            vector[digest % self.dimensions] += 1.0 if digest >> 63 else -1.0
        norm = math.sqrt(sum(value * value for value in vector)) or 1.0
        return [value / norm for value in vector]


class _Failing(HashingEmbedder):
    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        raise RagError("the model is gone")


class EmbedderContract:
    """What every embedder must hold. A subclass overrides :meth:`make_embedder`."""

    def make_embedder(self) -> Embedder:
        """Return a new embedder."""
        raise NotImplementedError

    @pytest.fixture
    def embedder(self) -> Embedder:
        """The embedder under test."""
        return self.make_embedder()

    def test_every_text_gets_a_finite_vector_of_one_length(self, embedder: Embedder) -> None:
        """Passages and queries share one length, and no value is NaN or infinite."""
        vectors = [list(map(float, v)) for v in embedder.embed_documents(["a red car", "x", "ein grünes Auto"])]
        query = [float(value) for value in embedder.embed_query("which car?")]
        assert len(vectors) == 3
        assert len({len(vector) for vector in [*vectors, query]}) == 1
        assert all(math.isfinite(value) for vector in [*vectors, query] for value in vector)

    def test_no_texts_give_no_vectors(self, embedder: Embedder) -> None:
        """An empty list is no accident."""
        assert len(embedder.embed_documents([])) == 0

    def test_the_same_text_gets_the_same_vector_in_any_company(self, embedder: Embedder) -> None:
        """A vector depends on its text alone, not on the others of the call."""
        alone = embedder.embed_documents(["a red car"])[0]
        among = embedder.embed_documents(["a much longer text about boats and the sea", "a red car"])[1]
        assert [float(v) for v in alone] == pytest.approx([float(v) for v in among], abs=1e-5)

    def test_a_text_is_nearest_to_itself(self, embedder: Embedder) -> None:
        """Queries and passages lie in one space."""
        texts = ["how to reset a password", "the price of green tea", "trains to the coast"]
        passages = embedder.embed_documents(texts)
        for number, text in enumerate(texts):
            query = embedder.embed_query(text)
            nearness = [sum(float(a) * float(b) for a, b in zip(query, p, strict=True)) for p in passages]
            assert nearness.index(max(nearness)) == number

    def test_the_fingerprint_is_stable_and_names_the_model(self, embedder: Embedder) -> None:
        """Two objects of one model have one fingerprint."""
        assert embedder.fingerprint == self.make_embedder().fingerprint
        assert embedder.key
        assert embedder.model in embedder.fingerprint


class RagStoreContract:
    """What every document store must hold. A subclass overrides :meth:`make_store`.

    The tests write into endpoints and tenants of fresh names, so that a store may keep its data from one to the next.
    """

    supports_embedder: ClassVar[bool] = True
    """Whether the store searches by vectors where it has an embedder."""

    def make_store(self, embedder: Embedder | None = None) -> RagStore:
        """Return a new store.

        Args:
            embedder: The embedder that it shall use.
        """
        raise NotImplementedError

    @pytest.fixture
    def tenant(self) -> str:
        """A tenant that nobody used before."""
        return f"tenant-{uuid4().hex}"

    @pytest.fixture
    def store(self) -> Iterator[RagStore]:
        """The store under test, without an embedder."""
        store = self.make_store()
        yield store
        store.close()

    @pytest.fixture
    def embedder(self) -> HashingEmbedder:
        """The embedder of :meth:`hybrid`."""
        return HashingEmbedder(synonyms={"automobile": "car"})

    @pytest.fixture
    def hybrid(self, embedder: HashingEmbedder) -> Iterator[RagStore]:
        """The store under test, with an embedder."""
        if not self.supports_embedder:
            pytest.skip("the store does not search by vectors")
        store = self.make_store(embedder)
        yield store
        store.close()

    # -- writing ----------------------------------------------------------------------------------------------------

    def test_what_is_indexed_is_found_whole(self, store: RagStore, tenant: str) -> None:
        """Content and metadata come back as they were given."""
        metadata = {"category": "authentication", "n": 1.5, "tags": ["x", {"y": None}], "ünï": True}
        documents = [
            Document("doc/1", "To reset your password, go to Settings.", metadata),
            Document("doc/2", "Green tea is brewed with water below boiling."),
        ]
        assert store.index("support", documents, tenant=tenant) == 2
        (hit,) = find(store, "support", "How do I reset my password?", tenant)
        assert (hit.id, hit.content, hit.metadata) == ("doc/1", documents[0].content, metadata)
        assert hit.passage == hit.content
        assert hit.scores["keyword"] > 0

    def test_an_id_indexed_again_replaces_the_document(self, store: RagStore, tenant: str) -> None:
        """The old text is no longer found, the new one is."""
        store.index("e", [Document("a", "zebras graze", {"v": 1})], tenant=tenant)
        store.index("e", [Document("a", "lions hunt", {"v": 2})], tenant=tenant)
        assert find(store, "e", "zebras", tenant) == []
        (hit,) = find(store, "e", "lions", tenant)
        assert hit.metadata == {"v": 2}

    def test_metadata_changes_without_the_content(self, store: RagStore, tenant: str) -> None:
        """Unchanged content does not keep old metadata alive."""
        store.index("e", [Document("a", "zebras graze", {"v": 1, "w": 1})], tenant=tenant)
        store.index("e", [Document("a", "zebras graze", {"v": 2})], tenant=tenant)
        assert ids(find(store, "e", "zebras", tenant, {"v": 2})) == ["a"]
        assert find(store, "e", "zebras", tenant, {"v": 1}) == []
        assert find(store, "e", "zebras", tenant, {"w": 1}) == []

    def test_equal_texts_live_and_die_apart(self, store: RagStore, tenant: str) -> None:
        """Documents are told apart by id, never by content."""
        store.index("e", [Document("a", "zebras graze"), Document("b", "zebras graze")], tenant=tenant)
        assert set(ids(find(store, "e", "zebras", tenant))) == {"a", "b"}
        assert store.delete("e", ["a", "never was"], tenant=tenant) == 1
        assert ids(find(store, "e", "zebras", tenant)) == ["b"]
        assert store.delete("e", ["b"], tenant=tenant) == 1
        assert find(store, "e", "zebras", tenant) == []

    def test_names_are_exact(self, store: RagStore, tenant: str) -> None:
        """No collation takes one id, tenant, endpoint or metadata value for another."""
        names = ["a", "A", "a ", "á", "\uff41"]
        store.index("e", [Document(name, "zebras graze", {name: name}) for name in names], tenant=tenant)
        assert set(ids(find(store, "e", "zebras", tenant))) == set(names)
        for name in names:
            assert ids(find(store, "e", "zebras", tenant, {name: name})) == [name]
        for other in (tenant.upper(), f"{tenant} "):
            with pytest.raises(EndpointNotFound) as caught:
                find(store, "e", "zebras", other)
            assert "'e'?" not in str(caught.value)
        with pytest.raises(EndpointNotFound):
            find(store, "E", "zebras", tenant)

    def test_a_long_document_is_found_by_any_part_and_once(self, store: RagStore, tenant: str) -> None:
        """A hit is a document; its passage is the part that fits."""
        filler = "The harbour was quiet and the boats lay still. " * 60
        text = f"{filler}\n\nZebras graze at dawn.\n\n{filler}\n\nLions hunt zebras at dusk. {filler}"
        store.index("e", [Document("long", text), Document("short", "Antelopes graze.")], tenant=tenant)
        (hit,) = find(store, "e", "lions", tenant)
        assert hit.content == text
        assert "Lions hunt" in hit.passage
        assert len(hit.passage) < len(text)
        assert hit.passage in text
        assert ids(find(store, "e", "zebras", tenant)) == ["long"]
        assert ids(find(store, "e", "harbour boats zebras lions", tenant)) == ["long"]

    # -- tenants and endpoints --------------------------------------------------------------------------------------

    def test_tenants_never_meet(self, store: RagStore, tenant: str) -> None:
        """A foreign document that fits best is not found, counted or deleted."""
        self._tenants_never_meet(store, tenant)

    def test_tenants_never_meet_with_vectors(self, hybrid: RagStore, tenant: str) -> None:
        """Nor where it is the nearest neighbour."""
        self._tenants_never_meet(hybrid, tenant)

    def _tenants_never_meet(self, store: RagStore, tenant: str) -> None:
        other = f"{tenant}-other"
        query = "how do zebras graze at dawn"
        store.index("e", [Document("mine", "zebras are seldom seen here", {"k": 1})], tenant=tenant)
        store.index("e", [Document("mine", query, {"k": 1}), Document("theirs", query, {"k": 1})], tenant=other)
        store.index("e2", [Document("elsewhere", query, {"k": 1})], tenant=tenant)
        for _ in range(2):
            for filters in ({}, {"k": 1}):
                hits = find(store, "e", query, tenant, filters)
                assert [hit.content for hit in hits] == ["zebras are seldom seen here"]
        assert store.endpoints(tenant=tenant) == ["e", "e2"]
        assert store.delete("e", ["theirs"], tenant=tenant) == 0
        assert store.delete("e", ["mine"], tenant=tenant) == 1
        assert set(ids(find(store, "e", query, other))) == {"mine", "theirs"}
        assert find(store, "e", query, tenant) == []

    def test_an_unknown_endpoint_is_an_error_that_names_the_nearby(self, store: RagStore, tenant: str) -> None:
        """It names the tenant's own endpoints, never another's."""
        store.index("support-docs", [Document("a", "zebras graze")], tenant=tenant)
        store.index("support-secret", [Document("a", "zebras graze")], tenant=f"{tenant}-other")
        for act in (
            lambda: find(store, "suport-docs", "zebras", tenant),
            lambda: store.delete("suport-docs", ["a"], tenant=tenant),
        ):
            with pytest.raises(EndpointNotFound, match="Did you mean 'support-docs'") as caught:
                act()
            assert "secret" not in str(caught.value)

    def test_an_emptied_endpoint_stays(self, store: RagStore, tenant: str) -> None:
        """To find nothing in it is no error."""
        store.index("e", [Document("a", "zebras graze")], tenant=tenant)
        store.delete("e", ["a"], tenant=tenant)
        assert find(store, "e", "zebras", tenant) == []
        assert store.endpoints(tenant=tenant) == ["e"]

    # -- queries ----------------------------------------------------------------------------------------------------

    def test_the_document_with_more_of_the_words_comes_first(self, store: RagStore, tenant: str) -> None:
        """Any word is enough, more are better; scores say so."""
        texts = [f"The harbour number {n} was quiet." for n in range(20)]
        texts += ["Some zebras drink with boats.", "Some zebras drink with lions.", "Some zebras drink with boats."]
        store.index("e", [Document(str(n), text) for n, text in enumerate(texts)], tenant=tenant)
        hits = find(store, "e", "zebras or lions?", tenant)
        assert ids(hits)[0] == "21"
        assert set(ids(hits)) == {"20", "21", "22"}
        assert len(find(store, "e", "zebras or lions?", tenant, top_k=2)) == 2
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert all(0 < score <= 1 for score in scores)

    @pytest.mark.parametrize(
        "text",
        ["", " ", "?!", '"', "'", '" OR "', "zebras*", "^zebras", "NOT zebras", "text:zebras", "NEAR(zebras, 2)",
         "-zebras", "zebras & !lions", "zebras | ", "(zebras", "zebras:*", "%s %(x)s {}", "\\", "zebras\\", "🦓",
         "日本語", "e\u0301", "' OR 1=1 --", "zebras " * 2000, "z" * 5000,
         " ".join(f"word{n}" for n in range(1500))],
        ids=lambda text: text[:12],
    )  # fmt: skip
    def test_nothing_in_a_query_is_syntax(self, store: RagStore, tenant: str, text: str) -> None:
        """A query is words, whatever the syntax of the search below."""
        store.index("e", [Document("a", "zebras graze"), Document("b", "lions hunt")], tenant=tenant)
        expected = ["a"] if re.search(r"\bzebras\b", text) else []
        assert [i for i in ids(find(store, "e", text, tenant)) if i != "b"] == expected

    def test_filters_hold(self, store: RagStore, tenant: str) -> None:
        """Values are compared with their types; a list means any of; all paths must fit."""
        rows: list[dict[str, Any]] = [
            {"c": "x", "n": 1},
            {"c": "y", "n": True},
            {"c": "X", "n": "1"},
            {"c": ["x", "z"], "n": 1.0, "deep": {"er": "here"}},
            {"c": None},
        ]
        store.index("e", [Document(str(n), "zebras graze", row) for n, row in enumerate(rows)], tenant=tenant)
        expected: list[tuple[dict[str, Any], str]] = [
            ({"c": "x"}, "03"), ({"c": ["x", "y"]}, "013"), ({"c": "z"}, "3"), ({"c": None}, "4"), ({"n": 1}, "03"),
            ({"n": 1.0}, "03"), ({"n": True}, "1"), ({"n": "1"}, "2"), ({"deep.er": "here"}, "3"),
            ({"c": "x", "n": 1}, "03"), ({"c": "y", "n": 1}, ""), ({"nowhere": None}, ""), ({"c": "' OR 1=1 --"}, ""),
        ]  # fmt: skip
        for filters, found in expected:
            assert "".join(sorted(ids(find(store, "e", "zebras", tenant, filters)))) == found, filters

    def test_filters_come_before_the_count(self, store: RagStore, tenant: str) -> None:
        """A filter that few documents pass still finds them behind many better ones."""
        self._filters_come_before_the_count(store, tenant)

    def test_filters_come_before_the_count_with_vectors(self, hybrid: RagStore, tenant: str) -> None:
        """Likewise for the nearest neighbours."""
        self._filters_come_before_the_count(hybrid, tenant)

    def _filters_come_before_the_count(self, store: RagStore, tenant: str) -> None:
        better = [Document(f"better-{n}", "zebras graze", {"public": False}) for n in range(300)]
        wanted = Document("wanted", "once upon a time far away some zebras may have walked", {"public": True})
        store.index("e", [*better, wanted], tenant=tenant)
        assert ids(find(store, "e", "zebras graze", tenant, {"public": True}, top_k=1)) == ["wanted"]

    # -- vectors ----------------------------------------------------------------------------------------------------

    def test_vectors_find_what_words_do_not(self, store: RagStore, hybrid: RagStore, tenant: str) -> None:
        """With an embedder, a document without any word of the query is found."""
        documents = [Document("a", "the red car"), Document("b", "a bowl of soup"), Document("c", "boats at sea")]
        hybrid.index("e", documents, tenant=tenant)
        hit = find(hybrid, "e", "automobile", tenant)[0]
        assert hit.id == "a"
        assert "keyword" not in hit.scores
        assert 0 < hit.scores["vector"] <= 1.0001
        store.index("e", documents, tenant=f"{tenant}-plain")
        assert find(store, "e", "automobile", f"{tenant}-plain") == []

    def test_writes_are_seen_by_the_next_query(self, hybrid: RagStore, tenant: str) -> None:
        """No cache outlives a write."""
        hybrid.index("e", [Document("a", "the red car"), Document("b", "a bowl of soup")], tenant=tenant)
        assert ids(find(hybrid, "e", "automobile", tenant))[:1] == ["a"]
        hybrid.index("e", [Document("a", "boats at sea"), Document("d", "another car")], tenant=tenant)
        assert ids(find(hybrid, "e", "automobile", tenant))[:1] == ["d"]
        hybrid.delete("e", ["d"], tenant=tenant)
        assert "d" not in ids(find(hybrid, "e", "automobile", tenant))

    def test_only_changed_content_is_embedded_again(
        self, hybrid: RagStore, embedder: HashingEmbedder, tenant: str
    ) -> None:
        """A new time stamp in the metadata costs no embedding."""
        hybrid.index("e", [Document("a", "the red car", {"at": 1}), Document("b", "a bowl of soup")], tenant=tenant)
        embedder.embedded.clear()
        hybrid.index("e", [Document("a", "the red car", {"at": 2}), Document("b", "soup is cold")], tenant=tenant)
        assert embedder.embedded == ["soup is cold"]

    def test_vectors_of_two_embedders_never_meet(self, hybrid: RagStore, tenant: str) -> None:
        """Another embedder sees only what was indexed with it."""
        documents = [Document("a", "the red car"), Document("b", "a bowl of soup")]
        hybrid.index("e", documents, tenant=tenant)
        embedder = HashingEmbedder("other", dimensions=32, synonyms={"automobile": "car"})
        other = self.make_store(embedder)
        try:
            assert find(other, "e", "automobile", tenant) == []
            other.index("e", documents, tenant=tenant)
            assert embedder.embedded == ["the red car", "a bowl of soup"]
            assert ids(find(other, "e", "automobile", tenant))[:1] == ["a"]
        finally:
            other.close()

    def test_a_failure_writes_nothing(self, hybrid: RagStore, tenant: str) -> None:
        """An embedder that fails leaves every document as it was."""
        hybrid.index("e", [Document("a", "the red car", {"v": 1})], tenant=tenant)
        failing = self.make_store(_Failing("other"))
        try:
            with pytest.raises(RagError, match="the model is gone"):
                failing.index("e", [Document("a", "lions hunt", {"v": 2}), Document("b", "soup")], tenant=tenant)
        finally:
            failing.close()
        (hit,) = [hit for hit in find(hybrid, "e", "red car", tenant) if hit.id == "a"]
        assert (hit.content, hit.metadata) == ("the red car", {"v": 1})
        assert "b" not in ids(find(hybrid, "e", "soup", tenant))


def find(
    store: RagStore,
    endpoint: str,
    text: str,
    tenant: str,
    filters: Mapping[str, Any] | None = None,
    *,
    top_k: int = 10,
) -> list[Hit]:
    """Query a store with filters as a user writes them."""
    return store.query(endpoint, text, tenant=tenant, top_k=top_k, filters=normalize_filters(filters))


def ids(hits: Sequence[Hit]) -> list[str]:
    """Return the ids of hits, best first."""
    return [hit.id for hit in hits]
