"""The pure parts: chunks, fusion, facets, words, and the matrix against a plain search."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from automate_core.errors import ConfigurationError, RagError
from automate_core.rag import Document, flatten, normalize_filters
from automate_rag.chunking import Chunker
from automate_rag.digests import conditions, facets
from automate_rag.fusion import fuse
from automate_rag.statements import MAX_WORDS, words
from automate_rag.vectors import Matrix, MatrixCache, encode, unit
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(alphabet="abc .\n!\u3002e\u0301", min_size=1, max_size=400).filter(lambda text: bool(text.strip()))


@given(text=TEXTS, size=st.integers(2, 60), data=st.data())
def test_chunks_hold_everything_and_are_bounded(text: str, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, (size - 1) // 2))
    chunks = Chunker(size, overlap).split(Document("a", text))
    held = set()
    for number, chunk in enumerate(chunks):
        end = chunk.start + len(chunk.text)
        assert chunk.ordinal == number
        assert 0 < len(chunk.text) <= size
        assert text[chunk.start : end] == chunk.text
        held |= set(range(chunk.start, end))
    assert all(text[at].isspace() for at in set(range(len(text))) - held)
    starts = [chunk.start for chunk in chunks]
    assert starts == sorted(set(starts))
    assert all(one.start + len(one.text) - two.start <= overlap for one, two in pairwise(chunks))
    assert chunks == Chunker(size, overlap).split(Document("a", text))


def test_chunks_end_where_people_do() -> None:
    text = "One one one. Two two two.\n\nThree three. Four four four four. Five five"
    texts = [chunk.text for chunk in Chunker(40, 10).split(Document("a", text))]
    assert texts == ["One one one. Two two two.\n\n", "two.\n\nThree three. Four four four four. ", "four. Five five"]
    assert [chunk.text for chunk in Chunker(100, 10).split(Document("a", text))] == [text]
    assert [chunk.text for chunk in Chunker(4, 1).split(Document("a", "abcdefghij"))] == ["abcd", "efgh", "ij"]


@pytest.mark.parametrize(("size", "overlap"), [(1, 0), (10, 5), (10, -1)])
def test_chunk_sizes_that_make_no_sense_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ConfigurationError):
        Chunker(size, overlap)


def test_fusion_is_the_sum_of_reciprocal_ranks() -> None:
    ranking = fuse([["a", "b", "c"], ["c", "a", "d"]])
    exact = {"a": 1 / 61 + 1 / 62, "b": 1 / 62, "c": 1 / 63 + 1 / 61, "d": 1 / 63}
    assert [key for key, _ in ranking] == ["a", "c", "b", "d"]
    assert dict(ranking) == pytest.approx({key: score / (2 / 61) for key, score in exact.items()})
    assert fuse([["x", "y"]])[0] == ("x", 1.0)
    assert fuse([["x"], ["x"]]) == [("x", 1.0)]
    assert fuse([[], []]) == []


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -0.0]) | st.sampled_from("ab1")
METADATA = st.dictionaries(
    st.sampled_from(["a", "b", "a.b"]), SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.just("b"), SCALARS)
)
FILTERS = st.dictionaries(st.sampled_from(["a", "b", "a.b"]), SCALARS | st.lists(SCALARS, min_size=1, max_size=2))


@given(metadata=METADATA, filters=FILTERS)
def test_digests_decide_as_a_plain_comparison_does(metadata: dict[str, Any], filters: dict[str, Any]) -> None:
    def same(one: Any, other: Any) -> bool:
        return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)

    wanted = normalize_filters(filters)
    leaves = list(flatten(metadata))
    expected = all(
        any(where == path and same(value, item) for where, item in leaves for value in values)
        for path, values in wanted.items()
    )
    held = facets(metadata)
    assert all(held.intersection(values) for values in conditions(wanted)) == expected


@given(st.text())
def test_words_hold_no_syntax(text: str) -> None:
    found = words(text)
    assert all(word.isalnum() and len(word) <= 255 for word in found)
    assert len(found) == len(set(found))


def test_a_long_query_is_searched_for_a_bounded_number_of_words() -> None:
    assert words(" ".join(f"w{number % 150}" for number in range(900))) == [f"w{number}" for number in range(MAX_WORDS)]


def test_words_are_distinct_and_lower_case() -> None:
    assert words("How do I re-set how_my PASS-word? Cafe\u0301 caf\xe9") == [
        "how", "do", "i", "re", "set", "my", "pass", "word", "caf\xe9",
    ]  # fmt: skip


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 8), st.booleans())
def test_the_matrix_finds_what_a_plain_search_finds(seed: int, count: int, limit: int, filtered: bool) -> None:
    random = np.random.default_rng(seed)
    owners = np.sort(random.integers(1, 12, count))
    vectors = encode(random.normal(size=(count, 5)), count, embedder="e")
    rows = [(int(owner), 100 + number, vectors[number]) for number, owner in enumerate(owners)]
    query = unit(random.normal(size=5), embedder="e")
    allowed = {int(owner) for owner in owners[::2]} if filtered else None
    best: dict[int, tuple[float, int]] = {}
    for owner, chunk, blob in rows:
        cosine = float(np.frombuffer(blob, "<f4") @ query)
        if (allowed is None or owner in allowed) and cosine > 0:
            best[owner] = max(best.get(owner, (0.0, 0)), (cosine, chunk))
    expected = sorted(((owner, chunk, score) for owner, (score, chunk) in best.items()), key=lambda row: -row[2])
    found = Matrix.build(rows).search(query, limit, allowed)
    assert [row[:2] for row in found] == [row[:2] for row in expected[:limit]]
    assert [row[2] for row in found] == pytest.approx([row[2] for row in expected[:limit]], abs=1e-6)


def test_vectors_of_another_length_are_refused() -> None:
    matrix = Matrix.build([(1, 1, np.ones(4, "<f4").tobytes())])
    with pytest.raises(RagError, match="3 dimensions, the stored ones have 4"):
        matrix.search(unit([1, 2, 3], embedder="e"), 1, None)
    with pytest.raises(RagError, match="differ in length"):
        Matrix.build([(1, 1, bytes(16)), (2, 2, bytes(12)), (3, 3, bytes(4)), (4, 4, bytes(4))])


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    matrix = Matrix.build([(1, 1, np.ones(100, "<f4").tobytes())])
    cache = MatrixCache(matrix.nbytes * 2)
    for key in "abc":
        cache.put(key, "stamp", matrix)
        assert key == "c" or cache.get("a", "stamp") is matrix
    assert cache.get("b", "stamp") is None
    assert cache.get("a", "stamp") is matrix
    assert cache.get("c", "later") is None
